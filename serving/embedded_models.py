"""Models for the embedded Triton, which has the Python backend alone: `text_classifier` and `bert_<variant>`.

Each is complete in its version directory, but for numpy, onnxruntime and tokenizers. They answer golden rows before they are ready,
by themselves: a warm-up sample of Triton's own that fails can end this Triton, or leave it waiting for ever (docs/log.md).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export import artifact
from export.artifact import Artifact
from serving.model_config import Instances, ModelConfig, Tensor
from serving.records import MAX_BATCH, TEXT_MODEL
from train import bundle, manifest
from train.bundle import Bundle

PROVIDER = "CPUExecutionProvider"  # what the embedded server's Python models run on
CUDA = "CUDAExecutionProvider"  # and can run on, as the benchmark has them do where there is a GPU
# What may stand behind text_classifier: each has passed the gate. How much faster INT8 is: benchmarks/README.md.
FASTEST_FIRST = ("ort_int8", "ort_fp32", "onnx_fp32")

# Two engines of a thread each answer 1.4 times as many texts a second as one of two threads; one text alone takes as long in
# INT8, in FP32 1.6 times (docs/log.md). Each holds the model, hence not more:
_MOST_INSTANCES = 4

BACKEND = Path(__file__).parent / "backend"
TOKENIZER = Path(__file__).parents[1] / "train" / "tokenizer.py"
BESIDE_TEXT = ("microbatches.py", "metrics.py", "golden.py", "journal.py", "inputs.py", "texts.py", "labels.py")
_BESIDE = {
    "text_model.py": BESIDE_TEXT,
    "ids_model.py": ("microbatches.py", "metrics.py", "golden.py", "journal.py", "inputs.py"),
}


@dataclass(frozen=True)
class Share:
    """How text_classifier uses the machine: Python processes with an engine each, and the threads of each engine."""

    instances: int = 0  # 0: one a core, up to _MOST_INSTANCES
    threads: int = 0  # 0: all cores, divided among the instances

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
    one: Artifact,
    source: Bundle,
    share: Share,
    priorities: int = 0,
    name: str = TEXT_MODEL,
    provider: str = PROVIDER,
) -> None:
    """text_classifier, or one of another name, on that artifact."""
    config = text_config(source)
    config = replace(
        config,
        name=name,
        instances=Instances(count=share.processes),
        batching=replace(config.batching, priorities=priorities),
    )
    write_model(repository, config, "text_model.py", one, source, provider, share.threads_each)


def write_ids_model(repository: Path, one: Artifact, source: Bundle) -> None:
    """bert_<variant> on that artifact. One process: it is for parity and for clients that tokenize."""
    write_model(repository, ids_config(one, source), "ids_model.py", one, source, PROVIDER)


def text_inputs(source: Bundle) -> tuple[Tensor, ...]:
    tagging = source.task == "tagging"
    names = {"single_text": ("text",), "text_pair": ("text", "text_b"), "tagging": ("words",)}[source.task]
    return tuple(Tensor(name, "STRING", (-1,) if tagging else (1,), ragged=tagging) for name in names)


def answer_outputs(source: Bundle) -> tuple[Tensor, ...]:
    """One answer a text, of a tagger one a word."""
    dims = (-1,) if source.task == "tagging" else (1,)
    return (Tensor("label", "STRING", dims), Tensor("probability", "FP32", dims), Tensor("logits", "FP32", logits_dims(source)))


COUNTS = (Tensor("truncated", "BOOL", (1,)), Tensor("tokens", "INT32", (1,)))


def text_config(source: Bundle) -> ModelConfig:
    """What backend/text_model.py reads and answers."""
    return ModelConfig(TEXT_MODEL, text_inputs(source), (*answer_outputs(source), *COUNTS), MAX_BATCH)


def ids_inputs(source: Bundle) -> tuple[Tensor, ...]:
    names = ("input_word_ids", "input_type_ids") if source.task == "text_pair" else ("input_word_ids",)
    return tuple(Tensor(name, "INT32", (-1,), ragged=True) for name in names)


def ids_config(one: Artifact, source: Bundle) -> ModelConfig:
    """What backend/ids_model.py reads and answers; one answer a row, of a tagger one a token."""
    return ModelConfig(f"bert_{one.variant.name}", ids_inputs(source), (Tensor("logits", "FP32", logits_dims(source)),), MAX_BATCH)


def logits_dims(source: Bundle) -> tuple[int, ...]:
    labels = len(source.labels)
    return (-1, labels) if source.task == "tagging" else (labels,)


def warmup_rows(source: Bundle) -> dict[str, int]:
    """The golden rows that a version is tried with: the shortest and the longest."""
    lengths = bundle.load_golden(source).ids.lengths
    return {"shortest": int(lengths.argmin()), "longest": int(lengths.argmax())}


def write_model(
    repository: Path, config: ModelConfig, model: str, one: Artifact, source: Bundle, provider: str, threads: int = 0
) -> None:
    """<repository>/<name>/ with config.pbtxt, and 1/ with everything the model needs."""
    version = config.write(repository)
    copy_modules(version, model, *_BESIDE[model], engine="engine.py")
    copy_vocabulary(version, source)
    manifest.link(one.model, version / "model.onnx")
    settings = {
        "variant": one.variant.name,
        "provider": provider,
        "artifact_sha256": one.sha256,
        "threads": threads or cores(),
        "cost": artifact.verdict(one, source.sha256)["cost"],
        "golden": golden_ids(source),
        **text_settings(source),
    }
    manifest.write_json(version / "settings.json", settings)


def golden_ids(source: Bundle) -> list[dict[str, list[int]]]:
    golden = bundle.load_golden(source).ids
    rows = [slice(*golden.offsets[row : row + 2]) for row in warmup_rows(source).values()]
    return [{"ids": golden.ids[row].tolist(), "types": golden.types[row].tolist()} for row in rows]


def copy_modules(version: Path, model: str, *beside: str, engine: str = "") -> None:
    """backend/<model> as model.py, the modules it imports, and an `engine` as engine.py."""
    engines = [(engine, "engine.py")] if engine else []
    for name, target in ((model, "model.py"), *engines, *((name, name) for name in beside)):
        shutil.copyfile(BACKEND / name, version / target)


def copy_vocabulary(version: Path, source: Bundle) -> None:
    """What turns texts into ids, and answers into labels."""
    shutil.copyfile(TOKENIZER, version / "tokenizer.py")
    for path in (source.vocabulary, source.directory / "labels.txt"):
        shutil.copyfile(path, version / path.name)


def text_settings(source: Bundle) -> dict[str, Any]:
    return {
        "task": source.task,
        "max_seq_len": source.max_seq_len,
        "lower_case": source.lower_case,
        "vocabulary_sha256": source.vocabulary_sha256,
        "vocabulary_size": len(source.vocabulary.read_bytes().splitlines()),  # of a str, they would also be split at U+2028
    }
