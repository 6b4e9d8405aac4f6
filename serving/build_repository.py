"""Compile verified artifacts into a Triton model repository for the embedded server. No server and no GPU is needed.

Reads bundle/ and artifacts/, writes model_repository/: `text_classifier` (text → label; of a tagger, words → a label each) and
`bert_<variant>` (ids → logits). An artifact without a passing parity verdict for exactly its hash is refused.

    python -m serving.build_repository --run runs/demo
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

from export import artifact
from export.artifact import Artifact
from serving import repository_rules
from serving.model_config import ModelConfig, Tensor
from serving.records import MAX_BATCH, REPOSITORY, TEXT_MODEL
from train import bundle, errors, manifest
from train.bundle import Bundle
from train.errors import ManifestError, ParityError

_BACKEND = Path(__file__).parent / "backend"
_TOKENIZER = Path(__file__).parents[1] / "train" / "tokenizer.py"
_PROVIDER = "CPUExecutionProvider"  # what the embedded server's Python models run on
_FASTEST_FIRST = ("ort_int8", "ort_fp32", "onnx_fp32")


def main() -> int:
    arguments = _parse()
    source = bundle.load(arguments.run / "bundle")
    passed = [one for one in artifact.all_passed(arguments.run, source.sha256) if _PROVIDER in one.variant.providers]
    chosen = _choose(passed, arguments.engine, arguments.run)
    target = arguments.run / "model_repository"
    with manifest.atomic_directory(target) as building:
        for one in passed:
            write_model(building, _ids_config(one, source), "ids_model.py", one, source, _PROVIDER)
        write_model(building, text_config(source), "text_model.py", chosen, source, _PROVIDER)
        facts = {
            "bundle_sha256": source.sha256,
            TEXT_MODEL: chosen.variant.name,
            "models": {f"bert_{one.variant.name}": one.sha256 for one in passed},
        }
        _refuse_errors(building)
        manifest.seal(building, REPOSITORY, facts)
    print(f"repository  {target}: {TEXT_MODEL} (on {chosen.variant.name}), " + ", ".join(facts["models"]))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    parser.add_argument("--engine", choices=_FASTEST_FIRST, help="variant behind text_classifier; default: the fastest that passed")
    return parser.parse_args()


def _choose(passed: list[Artifact], wanted: str | None, run: Path) -> Artifact:
    names = {one.variant.name: one for one in passed}
    for name in (wanted,) if wanted else _FASTEST_FIRST:
        if name in names:
            return names[name]
    raise ParityError(
        "no engine for text_classifier",
        expected=wanted or " or ".join(_FASTEST_FIRST),
        found=f"passing artifacts: {', '.join(names) or 'none'}",
        where=str(run / "artifacts"),
        mend=f"make export RUN={run}",
    )


def _refuse_errors(repository: Path) -> None:
    """Raises ManifestError for what a server would stumble over; the last good repository then stays."""
    found = [one for one in repository_rules.check(repository).findings if one.severity == "error"]
    if found:
        raise ManifestError(
            f"the repository that was built is not sound: {found[0].model}: {found[0].rule}",
            expected=found[0].expected,
            found=found[0].found,
            where=found[0].where,
            mend="a fault of this project: please report it, with the command",
        )


def text_config(source: Bundle) -> ModelConfig:
    """What backend/text_model.py reads and answers; one answer a text, of a tagger one a word."""
    tagging = source.task == "tagging"
    names = {"single_text": ("text",), "text_pair": ("text", "text_b"), "tagging": ("words",)}[source.task]
    inputs = tuple(Tensor(name, "STRING", (-1,) if tagging else (1,), ragged=tagging) for name in names)
    outputs = (
        Tensor("label", "STRING", (-1,) if tagging else (1,)),
        Tensor("probability", "FP32", (-1,) if tagging else (1,)),
        Tensor("logits", "FP32", _logits_dims(source)),
        Tensor("truncated", "BOOL", (1,)),
        Tensor("tokens", "INT32", (1,)),
    )
    return ModelConfig(TEXT_MODEL, inputs, outputs, MAX_BATCH)


def _ids_config(one: Artifact, source: Bundle) -> ModelConfig:
    """What backend/ids_model.py reads and answers; one answer a row, of a tagger one a token."""
    names = ("input_word_ids", "input_type_ids") if source.task == "text_pair" else ("input_word_ids",)
    inputs = tuple(Tensor(name, "INT32", (-1,), ragged=True) for name in names)
    return ModelConfig(f"bert_{one.variant.name}", inputs, (Tensor("logits", "FP32", _logits_dims(source)),), MAX_BATCH)


def _logits_dims(source: Bundle) -> tuple[int, ...]:
    labels = len(source.labels)
    return (-1, labels) if source.task == "tagging" else (labels,)


def write_model(repository: Path, config: ModelConfig, model: str, one: Artifact, source: Bundle, provider: str) -> None:
    """<repository>/<name>/config.pbtxt and 1/ with everything the model needs."""
    version = repository / config.name / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(config.text(), "utf-8")
    shutil.copyfile(_BACKEND / model, version / "model.py")
    for name in ("engine.py", "microbatches.py", "metrics.py", "journal.py"):
        shutil.copyfile(_BACKEND / name, version / name)
    shutil.copyfile(_TOKENIZER, version / "tokenizer.py")
    for path in (source.vocabulary, source.directory / "labels.txt"):
        shutil.copyfile(path, version / path.name)
    _link(one.model, version / "model.onnx")
    manifest.write_json(version / "settings.json", _settings(one, source, provider))


def _settings(one: Artifact, source: Bundle, provider: str) -> dict[str, Any]:
    return {
        "task": source.task,
        "variant": one.variant.name,
        "provider": provider,
        "artifact_sha256": one.sha256,
        "max_seq_len": source.max_seq_len,
        "lower_case": source.lower_case,
        "vocabulary_sha256": source.vocabulary_sha256,
        "vocabulary_size": len(source.vocabulary.read_text("utf-8").splitlines()),
        "threads": len(os.sched_getaffinity(0)),
        "cost": artifact.verdict(one, source.sha256)["cost"],
    }


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system allows: models are large and never written again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    errors.run(main)
