"""An encoder out of a Hugging Face directory: made into a TF Hub module once, beside the bundle.

It is made in a process of its own: TensorFlow would stay in the memory of whoever waits for the
ranks.

    python -m train.model.hugging_face_encoder DIRECTORY TARGET "slipway train RUN"
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from slipway import errors
from slipway.contract import manifest
from slipway.encoder import hugging_face
from slipway.errors import EncoderError

RECORD = "encoder.json"
_OTHER_WEIGHTS = (".bin", ".h5", ".ckpt", ".pt", ".msgpack")  # pickles among them, which can run code when they are read
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def is_one(handle: str) -> bool:
    """Return whether an encoder's handle is such a directory."""
    directory = Path(handle)
    return (directory / hugging_face.CONFIG).is_file() and not (directory / "saved_model.pb").is_file()


def module(handle: str, target: Path, again: str) -> str:
    """Return the TF Hub module made of the directory; one of the same files is kept.

    `again` is the command to run again. Ends the process as the one that makes it did, if that
    failed: it has said why.
    """
    directory = Path(handle)
    vocabulary(directory, again)  # refused before TensorFlow is loaded
    lower_case(directory, again)
    _check_weights(directory, again)
    made = target / RECORD
    if _made_of(made) != _sha256(directory):
        print(f"encoder   making a TF Hub module of {handle}", flush=True)
        command = [sys.executable, "-m", "train.model.hugging_face_encoder", str(directory), str(target), again]
        if status := subprocess.run(command, check=False).returncode:
            sys.exit(status)
    return str(target)


def _made_of(record: Path) -> str:
    """Return the sha256 in the record of a module; "" where there is none, or it was cut off."""
    try:
        return str(json.loads(record.read_text("utf-8")).get("sha256"))
    except (OSError, ValueError, AttributeError):
        return ""


def main() -> int:
    directory, target, again = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    with manifest.atomic_directory(target) as building:
        pieces = "".join(f"{piece}\n" for piece in vocabulary(directory, again)).encode()
        own = hugging_face.write_encoder(directory, pieces, lower_case(directory, again), building, again)
        manifest.seal(building, RECORD, {"made_from": directory.name, "sha256": _sha256(directory), "pooler": own})
    if not own:
        print("          it has no pooler: one of random weights is trained with the head", flush=True)
    return 0


def vocabulary(directory: Path, again: str) -> list[str]:
    """Return the word pieces of vocab.txt, or of tokenizer.json. Raises EncoderError."""
    file, tokenizer = directory / "vocab.txt", _json(directory / "tokenizer.json")
    model = tokenizer.get("model") or {}
    if file.is_file():
        pieces = file.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n").removesuffix("\n").split("\n")
    elif model.get("type") == "WordPiece" and isinstance(model.get("vocab"), dict):
        pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    else:
        raise _refused(directory, "vocab.txt, or a tokenizer.json of WordPiece", str(model.get("type") or "neither"), again)
    if missing := [piece for piece in _SPECIAL if piece not in pieces] or ([] if pieces[0] == "[PAD]" else ["[PAD] first"]):
        raise _refused(directory, f"a BERT's word pieces, {', '.join(_SPECIAL)} among them", f"no {', '.join(missing)}", again)
    return pieces


def lower_case(directory: Path, again: str) -> bool:
    """Return whether the encoder was trained on texts in lower case, as its tokenizer's files say.

    Raises EncoderError where they do not say, or say what training does not do.
    """
    config, tokenizer = _json(directory / "tokenizer_config.json"), _json(directory / "tokenizer.json")
    normalizer = tokenizer.get("normalizer") or {}
    lower = config.get("do_lower_case", normalizer.get("lowercase"))
    strip = config.get("strip_accents", normalizer.get("strip_accents"))
    if not isinstance(lower, bool):
        file = directory / "tokenizer_config.json"
        fix = f'write "do_lower_case": true or false into {file}, as the encoder was trained, then: {again}'
        raise _refused(directory, "do_lower_case in tokenizer_config.json", "nothing of it, nor in tokenizer.json", again, fix)
    if strip is not None and strip != lower:
        found = f"do_lower_case {lower}, strip_accents {strip}"
        raise _refused(directory, "accents taken away where texts are in lower case, and kept elsewhere", found, again)
    return lower


def _check_weights(directory: Path, again: str) -> None:
    """Raise EncoderError where files of safetensors are missing, with what writes them."""
    if not (missing := hugging_face.missing_weights(directory)):
        return
    there = sorted(path.name for path in directory.iterdir() if path.suffix in _OTHER_WEIGHTS)
    load, path = "from transformers import AutoModel; AutoModel.from_pretrained", json.dumps(str(directory))
    code = f"{load}({path}{', from_tf=True' if there and there[0].endswith('.h5') else ''}).save_pretrained({path})"
    write = f"in a Python with transformers and PyTorch: python -c {shlex.quote(code)}, which writes them beside, then: {again}"
    fix = write if there else f"download {', '.join(missing)} again, then: {again}"
    raise _refused(directory, f"the weights as safetensors: {', '.join(missing)}", ", ".join(there) or "none", again, fix)


def _json(path: Path) -> dict[str, Any]:
    """Return what the file holds; nothing where there is none. Raises EncoderError."""
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}
    except (ValueError, TypeError) as error:  # cut, or a pointer of Git LFS
        raise _refused(path.parent, f"JSON in {path.name}", str(error), f"download {path.name} again") from error


def _sha256(directory: Path) -> str:
    files = ("vocab.txt", "tokenizer.json", "tokenizer_config.json")
    there = [directory / name for name in files if (directory / name).is_file()]
    return " ".join([hugging_face.sha256(directory), *map(manifest.sha256, there)])


def _refused(directory: Path, expected: str, found: str, again: str, fix: str = "") -> EncoderError:
    return EncoderError(
        "the Hugging Face directory cannot be trained as an encoder",
        expected=expected,
        found=found,
        where=str(directory),
        fix=fix or f"with another --encoder: {again}",
    )


if __name__ == "__main__":
    errors.run(main, again=sys.argv[3])
