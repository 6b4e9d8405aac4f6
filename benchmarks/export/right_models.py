"""Right models for the gate to judge: heads on the encoder of a finished run, exported as it was.

The encoder reads texts that are mixed of two of its golden texts, so that there are more of them,
and some lie between two labels. A head is fitted to some of these texts. Its reference is what the
FP32 graph answers. From there on every model goes the way of an export: conversion, gate, and
repair where the gate refuses.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy import optimize, special
from scipy.cluster import vq

from benchmarks import harness
from export.graph import canonical
from export.graph.bert import Array, Bert, Dense
from export.runtime.conversion import REPAIRED_FOR
from export.session import open_onnx
from export.variant import export_variant
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import NOT_ASKED, Bundle, Golden, Probes, Reference
from slipway.contract.parity.comparison import Measured
from slipway.contract.parity.probabilities import Logits, Numbers
from slipway.contract.ragged import Ragged, infer_rows
from slipway.contract.variants import VARIANTS
from slipway.errors import ConversionError

CONVERTED = ("ort_fp32", "ort_int8", "onnx_fp16")
_BATCH = 32
_FITTED = 2000  # answers that a head is fitted to
_UNBALANCED = (1.0, 0.19, 0.06)  # of each class's rows: about 80, 15 and 5 % of all
_DECAY, _STEPS = 1e-3, 200  # of fitting
_TAGS = 8


@dataclass(frozen=True)
class RightModel:
    """A model in one variant, and all rows that golden rows of a re-run are drawn from."""

    encoder: str  # the run it is of
    head: str
    reference: Reference
    candidate: Artifact
    whole: Measured  # what the gate measured on all rows
    diagnosis: list[str]  # what it said to that

    @property
    def repaired(self) -> bool:
        """Whether it was converted as the export does after a refusal."""
        return REPAIRED_FOR in self.candidate.facts

    @property
    def name(self) -> str:
        return f"{self.encoder}, {self.head}, {self.candidate.variant.name}"


@dataclass(frozen=True)
class Head:
    """What a head is fitted to. labels: of each text, tagger: of each token; NOT_ASKED: none."""

    name: str
    labels: Numbers
    tagger: bool = False
    scale: float = 1.0  # of the logits


def of_run(run: Path, work: Path) -> Iterator[RightModel]:
    """Yield the run's own variants, copied to `work`, where the gate may write its verdicts."""
    source = bundle.load(run / "bundle")
    reference = bundle.load_reference(source)
    for name in CONVERTED:
        kept, copy = artifact.load(run / "artifacts" / name), work / "artifacts" / name
        if not copy.is_dir():
            copy.mkdir(parents=True)
            for file in (kept.model, kept.directory / artifact.MANIFEST):
                manifest.link(file, copy / file.name)
        yield _model(run.name, "its own", reference, copy, kept.directory / artifact.PARITY)


def on_encoder(run: Path, work: Path, texts: int) -> Iterator[RightModel]:
    """Yield each of `heads` on the run's encoder in each variant, made in `work`.

    `texts` are mixed, and then those that have the ids of others are left out.
    """
    source = bundle.load(run / "bundle")
    bert = encoder(artifact.load(run / "artifacts" / "onnx_fp32").model)
    rows = mixed(bundle.load_golden(source).ids, texts, source.max_seq_len)
    probes = bundle.load_probes(source)
    pooled = features(bert, rows)
    for number, head in enumerate(heads(bert, rows, pooled)):
        own = replace(bert, pooler=None) if head.tagger else bert
        known = features(own, rows) if head.tagger else pooled
        headed = with_head(own, fit(known, head.labels), head.scale)
        directory = work / f"head_{number}"
        reference = _reference(directory, source, headed, head, rows, probes)
        yield from _exported(run.name, head, headed, reference, directory / "artifacts")


def encoder(model: Path) -> Bert:
    """Return the classifier in a canonical graph. Raises ConversionError for another."""
    bert = canonical.read(model)
    if bert is None or bert.pooler is None:
        raise ConversionError(
            "heads are put on a BERT classifier here",
            expected="the canonical graph of a classifier",
            found="another graph",
            where=str(model),
            fix="choose another --encoder",
        )
    return bert


def mixed(ids: Ragged, texts: int, longest: int) -> Ragged:
    """Return rows that begin as a row of `ids` does and end as another, cut to `longest` tokens."""
    random = np.random.default_rng(0)

    def mix(first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.int32]:
        begin = first[1 : random.integers(2, len(first))]
        end = second[random.integers(1, len(second)) : -1]
        return np.concatenate([first[:1], np.concatenate([begin, end])[: longest - 2], first[-1:]])

    return Ragged.of(mix(ids[a], ids[b]) for a, b in random.integers(0, len(ids), (texts, 2)))


def features(bert: Bert, rows: Ragged) -> Logits:
    """Return what a head reads, in FP32: [rows, hidden], tagger: [tokens, hidden]."""
    identity = Dense(np.eye(bert.hidden, dtype=np.float32), np.zeros(bert.hidden, np.float32))
    return answers(replace(bert, classifier=identity), rows)


def answers(bert: Bert, rows: Ragged) -> Logits:
    """Return the logits of the FP32 graph."""
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.onnx"
        onnx.save(canonical.write(bert), model)
        with open_onnx(model) as session:
            return infer_rows(session.infer, rows, _BATCH)


def heads(bert: Bert, rows: Ragged, pooled: Logits) -> Iterator[Head]:
    """Yield heads of many and few labels, of clear ones and of such as are near to chance."""
    random = np.random.default_rng(0)
    own = (pooled @ bert.classifier.kernel + bert.classifier.bias).argmax(axis=1)
    count = len(bert.classifier.bias)
    kept = np.zeros(count)
    kept[: len(_UNBALANCED)] = _UNBALANCED
    yield Head(f"{count} labels", own)
    yield Head("the same, logits a tenth as large", own, scale=0.1)
    yield Head("one label against the rest", (own == own.max()).astype(np.int64))
    yield Head("3 labels of 80, 15 and 5 %", np.where(random.random(len(own)) < kept[own], own, NOT_ASKED))
    for number in (20, 40, 80):
        yield Head(f"{number} clusters", _clusters(pooled, number))
    middle = pooled[:, :2].sum(axis=1)  # of two units, no direction in particular
    yield Head("2 labels, parted at the median", (middle > np.median(middle)).astype(np.int64))
    any_label = random.integers(0, count, len(own))
    yield Head(f"{count} labels, 90 % of them random", np.where(random.random(len(own)) < 0.9, any_label, own))
    yield Head("10 labels, all of them random", random.integers(0, 10, len(own)))
    tokens = features(replace(bert, pooler=None), rows)
    tags = _clusters(tokens, _TAGS)
    tags[np.concatenate([rows.offsets[:-1], rows.offsets[1:] - 1])] = NOT_ASKED  # [CLS] and [SEP]
    yield Head(f"a tagger of {_TAGS} clusters", tags, tagger=True)


def _clusters(known: Logits, count: int) -> Numbers:
    centres, _ = vq.kmeans2(known[:_FITTED].astype(np.float64), count, minit="++", seed=0)
    return np.asarray(vq.vq(known, centres)[0], np.int64)


def with_head(bert: Bert, kernel: Array, scale: float = 1.0) -> Bert:
    """Put a head [hidden + 1, labels], its bias in the last row, on the encoder."""
    return replace(bert, classifier=Dense(kernel[:-1] * np.float32(scale), kernel[-1] * np.float32(scale)))


def fit(known: Logits, labels: Numbers) -> Array:
    """Fit a softmax regression to the first of `known` [answers, hidden] that have a label.

    Returns [hidden + 1, labels], the bias in the last row.
    """
    asked = np.flatnonzero(labels != NOT_ASKED)[:_FITTED]
    known, hidden, count = known[asked], known.shape[1], int(labels.max()) + 1
    truth = np.eye(count)[labels[asked]]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        kernel, bias = np.split(flat.reshape(hidden + 1, -1), [hidden])
        log_p = special.log_softmax(known @ kernel + bias, axis=1)
        error = (np.exp(log_p) - truth) / len(asked)
        slope = np.vstack([known.T @ error + _DECAY * kernel, error.sum(axis=0)])
        return float(_DECAY / 2 * (kernel * kernel).sum() - (truth * log_p).sum() / len(asked)), slope.ravel()

    start = np.zeros((hidden + 1) * count)
    best = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return np.asarray(best.x.reshape(hidden + 1, -1), np.float32)


def _reference(directory: Path, source: Bundle, bert: Bert, head: Head, rows: Ragged, probes: Probes) -> Reference:
    """Return the head's own bundle, all texts that have a label, and the probe rows."""
    own = _bundle(directory / "bundle", source, "tagging" if head.tagger else "single_text", bert)
    golden = Golden([f"mixed text {row}" for row in range(len(rows))], rows, head.labels, answers(bert, rows))
    if not head.tagger:
        golden = golden.take(np.flatnonzero(golden.asked))
    return Reference(own, golden.distinct(), replace(probes, logits=answers(bert, probes.ids)))


def _bundle(directory: Path, source: Bundle, task: str, bert: Bert) -> Bundle:
    """Write what the gate reads of a bundle besides its rows."""
    directory.mkdir(parents=True, exist_ok=True)
    labels = [f"label {number}" for number in range(len(bert.classifier.bias))]
    (directory / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
    facts = {key: source.facts[key] for key in ("schema", "max_seq_len", "lower_case")}
    manifest.seal(directory, bundle.MANIFEST, {**facts, "task": task})
    return bundle.load(directory)


def _exported(run: str, head: Head, bert: Bert, reference: Reference, artifacts: Path) -> Iterator[RightModel]:
    """Convert the head as an export does, or take what lies there."""
    if not (artifacts / "onnx_fp32").is_dir():
        with manifest.atomic_directory(artifacts / "onnx_fp32") as building:
            onnx.save(canonical.write(bert), building / VARIANTS["onnx_fp32"].model_file)
            facts = {"schema": 1, "variant": "onnx_fp32", "bundle_sha256": reference.bundle.sha256}
            manifest.seal(building, artifact.MANIFEST, facts)
    for name in CONVERTED:
        verdict = artifacts / f"{name}.json"  # re-runs write theirs where this one was
        if not verdict.is_file():
            manifest.write_json(verdict, export_variant(VARIANTS[name], reference, artifacts).to_json())
        yield _model(run, head.name, reference, artifacts / name, verdict)


def _model(encoder: str, head: str, reference: Reference, directory: Path, verdict: Path) -> RightModel:
    diagnosis = json.loads(verdict.read_text("utf-8"))["diagnosis"]
    return RightModel(encoder, head, reference, artifact.load(directory), harness.read(Measured, verdict), diagnosis)
