"""What lies at the path that `--saved-model` names: a SavedModel, what holds one, or another kind.

People name the directory above, the file beside, or the form that another library reads. Each is
told by what it is. Beside a SavedModel lie often its vocabulary and its labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.import_savedmodel.vocabulary import TOKENIZER, is_vocabulary
from slipway.encoder import hugging_face
from slipway.errors import ConversionError

_MODEL = "saved_model.pb"
_DEEP = (".", "*", "*/*", "*/*/*")  # where it may lie below the given path
_HEAD = 8  # bytes that tell a file's kind
_PYTORCH = "weights of PyTorch"
_KERAS = "a model of Keras"
_KINDS = {  # ending → what such a file is
    ".keras": _KERAS,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".safetensors": "weights without a graph (safetensors)",
    ".bin": _PYTORCH,
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".onnx": "an ONNX graph",
    ".tflite": "a model of TensorFlow Lite",
    ".index": "a checkpoint of TensorFlow, weights without a graph",
    ".ckpt": "a checkpoint, weights without a graph",
    ".meta": "a checkpoint of TensorFlow 1",
    ".pbtxt": "a graph in text form",
    ".pb": "a frozen graph, which has no signature",
}
_HOW = {  # what it is → how to make a SavedModel of it
    _KERAS: "in the Python that trained it: tf.saved_model.save(keras.models.load_model(PATH), 'SAVED'), with the logits as output",
    _PYTORCH: "load it with the library that wrote it, as a TensorFlow model, and save that one as a SavedModel",
}
_SAVE = "save the model itself as a SavedModel: tf.saved_model.save(model, 'SAVED')"
_AS_SAFETENSORS = (
    "in a Python with transformers: AutoModelForSequenceClassification.from_pretrained(PATH).save_pretrained('SAVED'), "
    "which writes safetensors, and the vocabulary beside them"
)
_HUGGING_FACE = (
    "in a Python with transformers and TensorFlow: TFAutoModelForSequenceClassification.from_pretrained(PATH)"
    ".save_pretrained('SAVED', saved_model=True)"
)


@dataclass(frozen=True)
class Source:
    """A SavedModel, and the files that lie beside it.

    `weights_alone`: in its place lies a Hugging Face directory, of which a SavedModel can be made.
    """

    saved_model: Path
    vocabulary: Path | None
    labels: Path | None  # labels.txt, or a config.json with id2label
    weights_alone: bool = False


def find(path: Path, again: Callable[[Path], str]) -> Source:
    """Return the SavedModel at or below a path; `again` is the command with another path.

    Raises ConversionError for anything else, by what it is.
    """
    if path.name == _MODEL and path.is_file():
        path = path.parent
    if not path.is_dir():
        raise _other_kind(path, again)
    directories = sorted({model.parent for pattern in _DEEP for model in path.glob(f"{pattern}/{_MODEL}")})
    if (path / _MODEL).is_file():
        directories = [path]
    weights_alone = (
        not directories and hugging_face.has_weights(path) and hugging_face.is_supported(read_json(path / "config.json"))
    )
    if weights_alone:
        directories = [path]
    if not directories:
        raise _without_model(path, again)
    if len(directories) > 1:
        raise ConversionError(
            "several SavedModels lie there",
            expected="one, or the path of one",
            found=", ".join(str(directory) for directory in directories),
            where=str(path),
            fix=again(directories[-1]),
        )
    [model] = directories
    places = [model, *(parent for parent in model.parents if parent.is_relative_to(path))]
    vocabularies = [place / name for name in ("vocab.txt", TOKENIZER) for place in places] + [
        asset for asset in model.glob("assets/*vocab*") if is_vocabulary(asset)
    ]
    labels = [place / name for place in places for name in ("labels.txt", "config.json")]
    return Source(
        saved_model=model,
        vocabulary=next((file for file in vocabularies if file.is_file()), None),
        labels=next((file for file in labels if file.is_file() and label_lines(file)), None),
        weights_alone=weights_alone,
    )


def refuse_other_problems(found: Source, again: str) -> None:
    """Raise ConversionError where a config.json beside the model says that it is no choice."""
    for path in (found.saved_model, *found.saved_model.parents[:2]):
        problem = read_json(path / "config.json").get("problem_type")
        if problem in ("multi_label_classification", "regression"):
            raise ConversionError(
                "the model is not one of a choice between labels",
                expected="one label a text, with probabilities that sum to 1",
                found=f"problem_type {problem}",
                where=str(path / "config.json"),
                fix=f"train a model of one choice, or one model a label with the labels no and yes; then {again}",
            )


def label_lines(path: Path) -> list[str]:
    """Return the labels of a labels.txt, or of a config.json's `id2label`, if it has any."""
    if path.suffix != ".json":
        return path.read_text("utf-8-sig").removesuffix("\n").split("\n")  # splitlines would also split at U+2028
    names = read_json(path).get("id2label")
    try:
        numbered = {int(number): str(name) for number, name in dict(names).items()} if names else {}
    except (TypeError, ValueError):
        return []
    return [numbered[number] for number in sorted(numbered)] if sorted(numbered) == list(range(len(numbered))) else []


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one where there is no such file, or no object in it."""
    try:
        read = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _other_kind(path: Path, again: Callable[[Path], str]) -> ConversionError:
    """Return the error for a path that is no directory."""
    if not path.exists():
        above = next(parent for parent in path.absolute().parents if parent.is_dir())
        near = sorted(model.parent for pattern in _DEEP for model in above.glob(f"{pattern}/{_MODEL}"))
        return _no_saved_model(
            path,
            f"no such path; {above} is the last directory of it that is there",
            again(near[0]) if len(near) == 1 else again(Path("DIRECTORY")),
        )
    kind = _KINDS.get(path.suffix, "a file")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if path.suffix not in _KINDS and head.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        return _no_saved_model(path, "an archive", f"unpack it; {again(path.parent / path.stem.removesuffix('.tar'))}")
    return _no_saved_model(path, kind, f"{_HOW.get(kind, _SAVE)}; then {again(Path('SAVED'))}")


def _without_model(path: Path, again: Callable[[Path], str]) -> ConversionError:
    """Return the error for a directory with no SavedModel in it or below."""
    config = read_json(path / "config.json")
    if "model_type" in config or "architectures" in config:
        weights = sorted(file.name for file in path.iterdir() if file.suffix in _KINDS)
        kind = config.get("model_type") or ", ".join(config["architectures"])
        found = f"a Hugging Face directory ({kind}) with {', '.join(weights) or 'no weights'}"
        how = _AS_SAFETENSORS if hugging_face.is_supported(config) else _HUGGING_FACE
        return _no_saved_model(path, found, f"{how}; then {again(Path('SAVED'))}")
    kinds = [(file, _KINDS[file.suffix]) for file in sorted(path.iterdir()) if file.suffix in _KINDS]
    if kinds:
        file, kind = kinds[0]
        return _no_saved_model(path, f"{file.name}, {kind}", f"{_HOW.get(kind, _SAVE)}; then {again(Path('SAVED'))}")
    names = sorted(file.name for file in path.iterdir())[:5]
    return _no_saved_model(path, f"a directory with {', '.join(names) or 'nothing'}", again(Path("DIRECTORY")))


def _no_saved_model(path: Path, found: str, fix: str) -> ConversionError:
    return ConversionError(
        "this is not a SavedModel",
        expected=f"a directory with {_MODEL} and variables/, or one above it",
        found=found,
        where=str(path),
        fix=fix,
    )
