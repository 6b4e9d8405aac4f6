"""Models for the embedded Triton, which has only the Python backend.

They are complete in their version directories but for numpy, onnxruntime and tokenizers. They
answer golden rows themselves before they are ready: a failing warm-up sample can end this Triton,
or leave it waiting for ever (docs/log/serving.md).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serving.model_config import Instances, ModelConfig, Tensor
from serving.repository import engines, model_files
from slipway.contract import artifact, manifest, tokenizer
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.records import MAX_BATCH, TEXT_MODEL

PROVIDER = engines.PROVIDER  # of the embedded server's Python models

# Two engines of a thread each answer 1.4 times as many texts a second as one of two threads; a text
# alone takes as long in INT8, 1.6 times as long in FP32 (docs/log/serving.md). Each holds the
# model, so there are not more:
_MOST_INSTANCES = 4

BACKEND = Path(__file__).parents[1] / "backend"
TOKENIZER = Path(tokenizer.__file__)
_WITH_ENGINE = ("engine.py", "metrics.py", "inputs.py", "outputs.py")
_BESIDE = {
    "text_model.py": _WITH_ENGINE,
    "ids_model.py": _WITH_ENGINE,
    "tokenize_model.py": ("inputs.py", "outputs.py"),
    "answer_model.py": ("outputs.py",),
}
_LABELS = "labels.txt"
COUNTS = (Tensor("truncated", "BOOL", (1,)), Tensor("tokens", "INT32", (1,)))


@dataclass(frozen=True)
class Share:
    """text_classifier's share of the machine: processes with an engine each, and their threads."""

    instances: int = 0  # 0: one a core, up to _MOST_INSTANCES
    threads: int = 0  # of each engine; 0: all cores, divided among the instances

    @property
    def processes(self) -> int:
        return self.instances or min(cores(), _MOST_INSTANCES)

    @property
    def threads_each(self) -> int:
        return self.threads or max(1, cores() // self.processes)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def write_text_model(
    repository: Path,
    converted: Artifact,
    source: Bundle,
    golden: Golden,
    share: Share,
    priorities: int = 0,
    name: str = TEXT_MODEL,
    provider: str = PROVIDER,
) -> None:
    """Write text_classifier, or a model of another name, on that artifact."""
    config = text_config(source)
    batching = replace(config.batching, priorities=priorities)
    config = replace(config, name=name, instances=Instances(count=share.processes), batching=batching)
    write_model(repository, config, "text_model.py", converted, source, golden, provider, share.threads_each)


def write_ids_model(repository: Path, converted: Artifact, source: Bundle, golden: Golden, threads: int) -> None:
    """Write bert_<variant>. It has one process: it is for parity and for clients that tokenize."""
    write_model(repository, ids_config(converted, source), "ids_model.py", converted, source, golden, threads=threads)


def text_inputs(source: Bundle) -> tuple[Tensor, ...]:
    tagging = source.task == "tagging"
    names = {"single_text": ("text",), "text_pair": ("text", "text_b"), "tagging": ("words",)}[source.task]
    return tuple(Tensor(name, "STRING", (-1,) if tagging else (1,), ragged=tagging) for name in names)


def answer_outputs(source: Bundle) -> tuple[Tensor, ...]:
    """Return the outputs of the answers. Classifier: one a text; tagger: one a word."""
    dims = (-1,) if source.task == "tagging" else (1,)
    return (Tensor("label", "STRING", dims), Tensor("probability", "FP32", dims), logits_output(source))


def text_config(source: Bundle) -> ModelConfig:
    """Describe the inputs and outputs of backend/text_model.py."""
    return ModelConfig(TEXT_MODEL, text_inputs(source), (*answer_outputs(source), *COUNTS), MAX_BATCH)


def ids_inputs(source: Bundle) -> tuple[Tensor, ...]:
    names = ("input_word_ids", "input_type_ids") if source.task == "text_pair" else ("input_word_ids",)
    return tuple(Tensor(name, "INT32", (-1,), ragged=True) for name in names)


def ids_config(converted: Artifact, source: Bundle) -> ModelConfig:
    """Describe the inputs and outputs of backend/ids_model.py."""
    return ModelConfig(f"bert_{converted.variant.name}", ids_inputs(source), (logits_output(source),), MAX_BATCH)


def logits_output(source: Bundle) -> Tensor:
    """Describe the output of logits; a classifier's names its labels for Triton's classification.

    A tagger's does not. That extension ranks all logits of a sentence in one list, whatever their
    word, and a number in it counts words and labels: the names of the first word's labels would
    stand there, and none behind the other words'.
    """
    labels = len(source.labels)
    if source.task == "tagging":
        return Tensor("logits", "FP32", (-1, labels))
    return Tensor("logits", "FP32", (labels,), labels=f"1/{_LABELS}")  # each version's own: see copy_labels


def warmup_rows(golden: Golden) -> dict[str, int]:
    """Choose the golden rows that a version is tried with: the shortest and the longest."""
    lengths = golden.ids.lengths
    return {"shortest": int(lengths.argmin()), "longest": int(lengths.argmax())}


def write_model(
    repository: Path,
    config: ModelConfig,
    model: str,
    converted: Artifact,
    source: Bundle,
    golden: Golden,
    provider: str = PROVIDER,
    threads: int = 0,
) -> None:
    """Write <repository>/<name>/ with config.pbtxt, and 1/ with everything the model needs.

    Raises ParityError where the artifact was compared elsewhere than on PROVIDER and here, though
    it is to run there, and where it lacks a file that its model refers to.
    """
    if provider == PROVIDER:
        engines.refuse_other_machine(converted, source)
    version = config.write(repository)
    copy_modules(version, model)
    copy_vocabulary(version, source)
    model_files.link_model(converted, version / "model.onnx")
    verdict = artifact.verdict(converted, source.sha256)
    settings = {
        "variant": converted.variant.name,
        "provider": provider,
        "artifact_sha256": converted.sha256,
        "threads": threads or cores(),
        "cost": verdict["cost"],
        **_start_up(verdict, provider, golden),
        **text_settings(source),
    }
    manifest.write_json(version / "settings.json", settings)


def _start_up(verdict: dict[str, Any], provider: str, golden: Golden) -> dict[str, Any]:
    """Return what a version has to answer before it is ready, with the gate's own logits.

    The benchmark also runs what was compared on the CPU on a GPU: its logits may be a little
    different, so they are left out.
    """
    if verdict["compared_on"] != provider:
        return {"start_up": start_up_rows(golden)}
    tolerance = artifact.start_up_tolerance(verdict)
    return {"start_up": verdict["start_up"], "tolerance": tolerance, "proven_on": engines.proven_on(verdict)}


def start_up_rows(golden: Golden) -> list[dict[str, Any]]:
    """Return golden rows without logits, for the settings.json of a model without a verdict."""
    chosen = {row: golden.ids.take(np.array([row])) for row in warmup_rows(golden).values()}
    return [{"text": golden.texts[row], "ids": rows.ids.tolist(), "types": rows.types.tolist()} for row, rows in chosen.items()]


def copy_modules(version: Path, model: str, *more: str) -> None:
    """Copy backend/<model> as model.py, the modules that it imports, and `more`."""
    shutil.copyfile(BACKEND / model, version / "model.py")
    for name in (*_BESIDE[model], *more):
        shutil.copyfile(BACKEND / name, version / name)


def copy_vocabulary(version: Path, source: Bundle) -> None:
    """Copy the files that turn texts into ids, and answers into labels."""
    for path in (TOKENIZER, source.vocabulary):
        shutil.copyfile(path, version / path.name)
    copy_labels(version, source)


def copy_labels(version: Path, source: Bundle) -> None:
    """Copy the labels into a version, where config.pbtxt names them: versions may differ."""
    shutil.copyfile(source.directory / _LABELS, version / _LABELS)


def text_settings(source: Bundle) -> dict[str, Any]:
    return {
        "task": source.task,
        "labels": source.labels,
        "max_seq_len": source.max_seq_len,
        **source.tokenizer_facts,
        "vocabulary_sha256": source.vocabulary_sha256,
        "vocabulary_size": len(source.vocabulary.read_bytes().splitlines()),  # of a str, they would also be split at U+2028
    }
