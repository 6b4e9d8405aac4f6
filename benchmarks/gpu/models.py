"""The models that are measured: one Bert as every variant, written and compared by the export.

A Bert of a well-known size has random weights from a seed and answers random ids, as long as AG
News' texts; a run's has its trained weights and its golden texts. The names of variants and
contenders in records are here too.
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

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.gpu import variants
from benchmarks.gpu.device import Device
from benchmarks.models import make
from export.graph import canonical, fused
from export.graph.bert import Bert
from export.parity import gate
from export.precision import fp16
from export.session import open_onnx
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden, Probes, Reference
from slipway.contract.parity import bounds
from slipway.contract.parity.comparison import Invariance, Precision
from slipway.contract.parity.judgement import Failure
from slipway.contract.ragged import Feed, Logits, Ragged, infer_rows
from slipway.contract.variants import VARIANTS, Variant
from slipway.errors import ConversionError

_LENGTHS = harness.RECORDS / "ag_news_lengths.json"
_LONGEST = 128  # tokens, where those lengths were cut
_PROBE_ROWS = 64
_BATCH = 32
# Rows compared with random weights: rounding alone flips near ties, and one flip in 512 rows
# exceeds the bound on the loss.
ROWS = 2048
RANDOM = None  # in place of a text: of random ids there is none
REFERENCE = VARIANTS["onnx_fp32"]
MEASURED = (VARIANTS["ort_fp32"], VARIANTS["onnx_fp16"], *variants.LAYOUTS)

FUSED, STARTS, PACKED = variants.FUSED.name, variants.STARTS.name, variants.PACKED.name
PADDED = (FUSED, STARTS)
CAPTURED = {f"{name} + CUDA graph": name for name in PADDED}  # contender → variant that is captured
PEER, COMPILED = "PyTorch", "PyTorch compiled"
AS_THEY_COME, SORTED = ORDERS = ("as they come", "length-sorted")  # orders of AG News' texts
LATE = "no time was left"  # the reason in `skipped`
Lengths = NDArray[np.int64]


@dataclass(frozen=True)
class GpuModel:
    """A Bert with a file for every variant, and the FP32 answers they are compared with."""

    name: str
    bert: Bert
    provider: str  # of ONNX Runtime
    files: dict[str, Path]  # variant → its ONNX file; variants that this machine can run
    skipped: dict[str, str]  # variant → why it has none
    reference: Bundle
    golden: Golden  # with the FP32 answers
    probes: Probes


@dataclass(frozen=True)
class EngineVerdict:
    """A contender's answers compared with FP32's; only the gate fills the last three."""

    variant: str
    passed: bool
    failures: list[Failure]
    rows: int
    flips: int
    non_finite_rows: int
    flip_rate_bound: float
    accuracy_loss_bound: float
    logit_difference_max: float
    compared_on: str = ""
    invariance: Invariance | None = None
    precision: Precision | None = None


@dataclass(frozen=True)
class Flops:
    """Multiplications and additions of matrices, by ONNX operator.

    Projections to query, key and value belong to Attention, and what follows it to MatMul and Gemm.
    """

    attention: float
    matmul: float

    @property
    def total(self) -> float:
        return self.attention + self.matmul


def flops(bert: Bert, lengths: Lengths, *, first_token_only: bool = True, first_query_only: bool = False) -> Flops:
    """Count what a Bert computes on a batch in matrix products; nothing else counts.

    `lengths` [rows] are the tokens computed of each row, padding included where it is computed.
    `first_token_only`: the last layer computes only the first token of each row after its
    attention, as our graphs do.
    `first_query_only`: its attention, too, has that token as its only query, as the canonical graph
    has.
    """
    hidden, fed = bert.hidden, int(bert.layers[0].intermediate.bias.shape[0])
    rows, tokens, pairs = len(lengths), float(lengths.sum()), float(np.square(lengths).sum())
    layers = len(bert.layers)
    after = 2 * hidden**2 + 4 * hidden * fed  # output projection and the two feed-forward products, a token
    short = int(first_token_only and bert.pooler is not None)
    attention = layers * (6 * hidden**2 * tokens + 4 * hidden * pairs)
    if first_query_only and bert.pooler is not None:
        attention -= 2 * hidden**2 * (tokens - rows) + 4 * hidden * (pairs - tokens)
    matmul = after * (tokens * (layers - short) + rows * short)
    labels = 2 * hidden * int(bert.classifier.bias.shape[0])
    head = rows * (2 * hidden**2 + labels) if bert.pooler else tokens * labels
    return Flops(attention, matmul + head)


@contextmanager
def random(size: str, device: Device, rows: int) -> Iterator[GpuModel]:
    """Make a Bert of one of SIZES; `rows` are compared, or as many as the limits need."""
    bert = make(size)
    least = max(bounds.least_rows(variant.limits) for variant in MEASURED)
    with tempfile.TemporaryDirectory(prefix="slipway-gpu-") as scratch:
        directory = Path(scratch)
        files, skipped = _write(bert, directory, device)
        ids = random_rows(bert, ag_news_lengths(max(rows, least)))
        longest = min(_LONGEST, len(bert.position_embeddings))
        with open_onnx(files[REFERENCE.name], providers=(device.provider,)) as session:
            compared_with = reference(session.infer, ids, longest, directory)
        yield GpuModel(size, bert, device.provider, files, skipped, *vars(compared_with).values())


def reference(infer: Callable[[Feed], Logits], ids: Ragged, longest: int, directory: Path) -> Reference:
    """Write what the gate needs of a bundle into `directory`: random ids and FP32's answers.

    `longest` is in tokens. Some of the rows are the probe rows too: there is no vocabulary.
    """
    logits = infer_rows(infer, ids, _BATCH)
    golden = Golden([RANDOM] * len(ids), ids, logits.argmax(axis=1), logits)
    some = golden.take(np.arange(min(_PROBE_ROWS, len(ids))))
    probes = Probes([], some.ids, some.logits)
    bundle.write_golden(directory, golden)
    bundle.write_probes(directory, probes)
    (directory / "labels.txt").write_text("".join(f"label {i}\n" for i in range(logits.shape[1])), "utf-8")
    return Reference(Bundle(directory, "random weights", {"max_seq_len": longest}), golden, probes)


@contextmanager
def of_run(run: Path, device: Device) -> Iterator[GpuModel]:
    """Read the Bert of a run from bundle/ and artifacts/onnx_fp32/, and what else was exported.

    Raises ManifestError, ConversionError.
    """
    source = bundle.load(run / "bundle")
    origin = artifact.load(run / "artifacts" / REFERENCE.name)
    bert = canonical.read(origin.model)
    if bert is None:
        raise ConversionError(
            f"{run} cannot be measured",
            expected="the canonical graph of a BERT, from which the fused and the packed graph are written",
            found="another graph: the encoder was not recognised",
            where=str(origin.model),
            fix="leave --run out, to measure BERTs of well-known sizes",
        )
    with tempfile.TemporaryDirectory(prefix="slipway-gpu-") as scratch:
        files, skipped = _write(bert, Path(scratch), device, run / "artifacts")
        yield GpuModel(
            run.name, bert, device.provider, files, skipped, source, bundle.load_golden(source), bundle.load_probes(source)
        )


def _write(bert: Bert, directory: Path, device: Device, exported: Path | None = None) -> tuple[dict[str, Path], dict[str, str]]:
    """Write each variant's file, or copy it from `exported`: FP16 may have been repaired.

    Returns variant → file, and variant → why it has none.
    """
    files, skipped = {}, {}
    for variant, graph in _graphs(bert).items():
        if variant == variants.PACKED and device.kind == "cpu":
            skipped[variant.name] = variants.WHY_NOT_ON_CPU
            continue
        files[variant.name] = directory / variant.name / variant.model_file
        files[variant.name].parent.mkdir()
        if exported and (exported / variant.name).is_dir():
            shutil.copyfile(artifact.load(exported / variant.name).model, files[variant.name])
        else:
            onnx.save(graph(), files[variant.name])
    return files, skipped


def _graphs(bert: Bert) -> dict[Variant, Callable[[], onnx.ModelProto]]:
    """Return each graph's writer: one at a time, each as large as the model; inputs made once."""
    canonical_model, halved = canonical.write(bert), fp16.bert(bert)
    return {
        REFERENCE: lambda: canonical_model,
        VARIANTS["ort_fp32"]: lambda: fused.write(bert),
        VARIANTS["onnx_fp16"]: lambda: fp16.convert(canonical_model),
        **{variant: partial(variants.write, variant, halved) for variant in variants.LAYOUTS},
    }


def parity(model: GpuModel) -> list[EngineVerdict]:
    """Let the gate judge every variant that has a file."""
    return [compared(model, variant)[1] for variant in MEASURED if variant.name in model.files]


def compared(model: GpuModel, variant: Variant) -> tuple[Artifact, EngineVerdict]:
    """Return the variant as an artifact without a manifest, and the gate's verdict beside it.

    It is compared on the device, even when the variant is meant for others too.
    """
    here = dataclasses.replace(variant, providers=(model.provider,))
    file = model.files[variant.name]
    sha256 = manifest.sha256(file)
    built = Artifact(file.parent, here, sha256, {"files": {file.name: sha256}})
    gate.check(built, Reference(model.reference, model.golden, model.probes))
    return built, harness.read(EngineVerdict, built.directory / artifact.PARITY)


def ag_news_lengths(rows: int) -> Lengths:
    """Draw the tokens of `rows` texts from AG News' own lengths, the same ones each time."""
    counted = json.loads(_LENGTHS.read_text("utf-8"))["texts"]
    lengths, weights = np.array(list(counted), np.int64), np.array(list(counted.values()), float)
    return np.random.default_rng(0).choice(lengths, rows, p=weights / weights.sum())


def random_rows(bert: Bert, lengths: Lengths, seed: int = 0) -> Ragged:
    """Draw ids, never 0 (padding), for rows of these lengths, cut at the model's positions."""
    words, positions = len(bert.word_embeddings), len(bert.position_embeddings)
    draw = np.random.default_rng(seed)
    return Ragged.of([draw.integers(1, words, min(int(length), positions), np.int32) for length in lengths])
