"""The models that are measured: one Bert as every variant, written by the export's own code, compared by the export's own gate.

A Bert of a well-known size has random weights from a seed and answers to random ids, as long as AG News' texts; a run's has
its trained weights and its golden texts.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks import random_bert
from benchmarks.gpu.device import Device
from export import artifact, canonical_graph, comparison, fused_graph, gate, gpu_variants, half, runner
from export.artifact import Artifact
from export.bert import Bert
from export.variants import VARIANTS, Variant
from train import bundle, manifest
from train.bundle import Bundle, Golden
from train.errors import ConversionError
from train.ragged import Feed, Logits, Ragged, infer_rows

_LENGTHS = Path(__file__).with_name("ag_news_lengths.json")
_LONGEST = 128  # tokens, where those lengths were cut
_BATCH = 32
# Compared, of random weights: rounding alone flips near ties, and one flip among 512 rows is beyond the bound on the loss.
ROWS = 2048
RANDOM = "random ids"  # in place of a text
REFERENCE = VARIANTS["onnx_fp32"]
MEASURED = (VARIANTS["ort_fp32"], VARIANTS["onnx_fp16"], *gpu_variants.LAYOUTS)


@dataclass(frozen=True)
class Model:
    name: str
    bert: Bert
    provider: str  # that the device runs it with
    files: dict[str, Path]  # variant → its ONNX file, of those this machine can run
    skipped: dict[str, str]  # variant → why it has none
    reference: Bundle  # golden rows, and the FP32 answers to them
    golden: Golden


@contextmanager
def random(size: str, device: Device, rows: int) -> Iterator[Model]:
    """A Bert of `random_bert.SIZES`, in a temporary directory. `rows`: to compare, at least as many as the limits ask for."""
    bert = random_bert.make(size)
    least = max(comparison.least_rows(variant.limits) for variant in MEASURED)
    with tempfile.TemporaryDirectory(prefix="slipway-gpu-") as scratch:
        directory = Path(scratch)
        files, skipped = _write(bert, directory, device)
        ids = random_rows(bert, ag_news_lengths(max(rows, least)))
        longest = min(_LONGEST, len(bert.position_embeddings))
        with runner.open_onnx(files[REFERENCE.name], providers=(device.provider,)) as session:
            source, golden = reference(session.infer, ids, longest, directory)
        yield Model(size, bert, device.provider, files, skipped, source, golden)


def reference(infer: Callable[[Feed], Logits], ids: Ragged, longest: int, directory: Path) -> tuple[Bundle, Golden]:
    """What a bundle has for the gate, of random ids: FP32's answers to them. Written into `directory`; `longest` in tokens."""
    logits = infer_rows(infer, ids, _BATCH)
    golden = Golden([RANDOM] * len(ids), ids, logits.argmax(axis=1), logits)
    bundle.write_golden(directory, golden)
    (directory / "labels.txt").write_text("".join(f"label {i}\n" for i in range(logits.shape[1])), "utf-8")
    return Bundle(directory, "random weights", {"max_seq_len": longest}), golden


@contextmanager
def of_run(run: Path, device: Device) -> Iterator[Model]:
    """The Bert of runs/<name>, from its bundle/ and artifacts/onnx_fp32/, and the other variants that were exported.

    Raises ManifestError, ConversionError.
    """
    source = bundle.load(run / "bundle")
    origin = artifact.load(run / "artifacts" / REFERENCE.name)
    bert = canonical_graph.read(origin.model)
    if bert is None:
        raise ConversionError(
            f"{run} cannot be measured",
            expected="the canonical graph of a BERT, which the fused and the packed one are written from",
            found="a graph that is not ours: the encoder was not recognised",
            where=str(origin.model),
            fix="leave --run out, to measure BERTs of well-known sizes",
        )
    with tempfile.TemporaryDirectory(prefix="slipway-gpu-") as scratch:
        files, skipped = _write(bert, Path(scratch), device, run / "artifacts")
        yield Model(run.name, bert, device.provider, files, skipped, source, bundle.load_golden(source))


def _write(bert: Bert, directory: Path, device: Device, exported: Path | None = None) -> tuple[dict[str, Path], dict[str, str]]:
    """Variant → its file. Those under `exported` are copied: an FP16 graph may have been repaired, and verdicts lie beside them."""
    files, skipped = {}, {}
    for variant, graph in _graphs(bert).items():
        if variant == gpu_variants.PACKED and device.kind == "cpu":
            skipped[variant.name] = gpu_variants.WHY_NOT_ON_CPU
            continue
        files[variant.name] = directory / variant.name / variant.model_file
        files[variant.name].parent.mkdir()
        if exported and (exported / variant.name).is_dir():
            shutil.copyfile(artifact.load(exported / variant.name).model, files[variant.name])
        else:
            onnx.save(graph(), files[variant.name])
    return files, skipped


def _graphs(bert: Bert) -> dict[Variant, Callable[[], onnx.ModelProto]]:
    """One is made at a time, since each is as large as the model; what several are made from is made once."""
    canonical, halved = canonical_graph.write(bert), half.bert(bert)
    return {
        REFERENCE: lambda: canonical,
        VARIANTS["ort_fp32"]: lambda: fused_graph.write(bert),
        VARIANTS["onnx_fp16"]: lambda: half.convert(canonical),
        **{variant: partial(gpu_variants.write, variant, halved) for variant in gpu_variants.LAYOUTS},
    }


def parity(model: Model) -> list[dict[str, Any]]:
    """The gate's record of every variant that has a file, without its lists of rows."""
    left_out = ("flipped_rows", "by_class", "by_length", "cost", "command", "versions", "machine", "commit")
    found = [compared(model, variant)[1] for variant in MEASURED if variant.name in model.files]
    return [{name: value for name, value in record.items() if name not in left_out} for record in found]


def compared(model: Model, variant: Variant) -> tuple[Artifact, dict[str, Any]]:
    """The variant as an artifact, though without a manifest, and the gate's record of it, which lies beside its file.

    It is compared on the device, also when it is meant for others too.
    """
    here = dataclasses.replace(variant, providers=(model.provider,))
    made = Artifact(model.files[variant.name].parent, here, manifest.sha256(model.files[variant.name]), {})
    return made, gate.check(made, model.reference)


def ag_news_lengths(rows: int) -> NDArray[np.int64]:
    """Tokens of `rows` texts drawn from AG News' own lengths, the same ones each time."""
    counted = json.loads(_LENGTHS.read_text("utf-8"))["texts"]
    lengths, weights = np.array(list(counted), np.int64), np.array(list(counted.values()), float)
    return np.random.default_rng(0).choice(lengths, rows, p=weights / weights.sum())


def random_rows(bert: Bert, lengths: NDArray[np.int64], seed: int = 0) -> Ragged:
    """Fresh ids for rows of these lengths, cut at the model's positions; never 0, which is padding."""
    words, positions = len(bert.word_embeddings), len(bert.position_embeddings)
    draw = np.random.default_rng(seed)
    return Ragged.of([draw.integers(1, words, min(int(length), positions), np.int32) for length in lengths])
