"""How often does the gate call a right model worse, and how often does it leave one undecided?

Puts heads of two to forty labels on the encoder of a finished run: its own, and others fitted to a
part of its golden texts, some with margins that INT8 cannot keep. Converts them as the export does,
answers the other golden texts, and judges samples of those. Writes
benchmarks/records/false_alarms.json:

    python -m benchmarks.export.false_alarms --run runs/demo
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy import optimize, special
from scipy.cluster import vq

from benchmarks import harness
from benchmarks.harness import Signed, Table
from export.graph import canonical, fused
from export.graph.bert import Array, Bert, Dense
from export.precision import fp16_repair, int8, int8_repair
from export.session import open_onnx
from slipway import errors, provenance
from slipway.contract import artifact, bundle
from slipway.contract.bundle import Golden
from slipway.contract.parity import comparison, judgement
from slipway.contract.parity.comparison import Comparison
from slipway.contract.parity.probabilities import Logits, Numbers, Probabilities
from slipway.contract.ragged import Ragged, infer_rows, random_batches
from slipway.contract.variants import VARIANTS, Limits
from slipway.errors import ConversionError

SIZES = (500, 1000, 2000, 4000)  # golden rows of a re-run
_BATCH = 32
_UNBALANCED = (1.0, 0.19, 0.06)  # of each class's rows: about 80, 15 and 5 % of all
_SHUFFLED = 0.9  # of the labels of the near-random head
_DECAY, _STEPS = 1e-3, 200  # of fitting
HEADS = (
    "the run's own",
    "one label against the rest",
    "3 labels of 80, 15 and 5 %",
    "20 clusters",
    "40 clusters",
    "4 labels, 90 % of them random",
)
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Head:
    """A classifier on the encoder's pooled output."""

    name: str
    kernel: Array  # [hidden + 1, labels], the bias in the last row
    labels: Numbers  # of the golden rows; −1: not used

    @property
    def count(self) -> int:
        """Return the number of its labels."""
        return int(self.kernel.shape[1])

    def logits(self, features: Logits) -> Logits:
        """Return its FP32 logits [rows, labels] of pooled outputs [rows, hidden]."""
        return np.asarray(features @ self.kernel[:-1] + self.kernel[-1])


@dataclass(frozen=True)
class Tally:
    """The verdicts on samples of so many rows."""

    size: int
    passed: int
    undecided: int
    worse: int
    worse_in: dict[str, int]  # limit → samples that are shown not to hold it


@dataclass(frozen=True)
class HeadRow:
    """A head in a variant: what it changes in all its rows, and the verdicts on samples."""

    head: str
    labels: int
    variant: str
    repaired: bool  # converted as the export does after a refusal
    rows: int
    flips: int
    lost: int
    gained: int
    accuracy: float  # of the reference
    probabilities: Probabilities | None
    right: bool  # these rates, without bounds, are within the limits
    tallies: list[Tally]


@dataclass(frozen=True)
class FalseAlarms(Signed):
    samples: int  # of every size, for every head and variant
    heads: list[HeadRow]


@dataclass(frozen=True)
class Built:
    """Heads on the encoder in one variant, their logits side by side."""

    variant: str
    repaired: bool
    model: Path
    heads: list[Head]


def main() -> int:
    arguments = _parse()
    work = arguments.work or arguments.run / "false_alarms"
    work.mkdir(parents=True, exist_ok=True)
    golden = bundle.load_golden(bundle.load(arguments.run / "bundle"))
    bert = _encoder(artifact.load(arguments.run / "artifacts" / "onnx_fp32").model)
    fitted, judged = np.split(np.random.default_rng(0).permutation(len(golden.texts)), [arguments.fit_rows])
    features = _kept(work / "pooled.npy", lambda: pooled(bert, golden.ids, work))
    targets = _kept(work / "targets.npy", lambda: make_targets(golden.labels, features, fitted))
    counts = targets.max(axis=1) + 1  # labels of each head
    kernels = _kept(work / "kernels.npy", lambda: make_kernels(bert.classifier, features[fitted], targets[:, fitted], counts))
    heads = list(map(Head, HEADS, split(kernels, counts), targets))

    def judged_in(built: Built) -> list[HeadRow]:
        rows = judged[: arguments.fp16_rows] if built.variant == "onnx_fp16" else judged
        answers = _kept(built.model.with_suffix(".npy"), lambda: answer(built, golden.ids.take(rows)))
        return judge(built, answers, features[rows], rows, golden.ids.lengths, arguments.samples)

    in_int8 = judged_in(in_8_bits(bert, heads, work))
    beyond = [head for head, row in zip(heads, in_int8, strict=True) if not row.right]
    again = [row for head in beyond for row in judged_in(repaired(bert, head, features, golden, work))]
    rows = [*in_int8, *again, *judged_in(in_16_bits(bert, heads, golden, work))]
    record = FalseAlarms(samples=arguments.samples, heads=rows, **provenance.record("onnxruntime", "numpy", "scipy"))
    harness.finish(arguments.record, record, table(record))
    return 0


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "false_alarms.json")
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, with onnx_fp32 exported")
    parser.add_argument("--work", type=Path, help="where models and answers lie; those that are there count; default: in the run")
    parser.add_argument("--fit-rows", type=int, default=1000, help="golden rows that heads are fitted to; default: %(default)s")
    parser.add_argument("--fp16-rows", type=int, default=3000, help="rows that FP16, slow on a CPU, answers; default: %(default)s")
    parser.add_argument("--samples", type=int, default=20, help="re-runs of every size; default: %(default)s")
    return parser.parse_args()


def _encoder(model: Path) -> Bert:
    bert = canonical.read(model)
    if bert is None or bert.pooler is None:
        raise ConversionError(
            "heads are put on a BERT classifier here",
            expected="the canonical graph of a classifier",
            found="another graph",
            where=str(model),
            fix="choose another --run",
        )
    return bert


def _kept(path: Path, compute: Callable[[], NDArray[T]]) -> NDArray[T]:
    """Return the array in `path`, which is computed where there is none."""
    if not path.is_file():
        np.save(path, compute())
    kept: NDArray[T] = np.load(path)
    return kept


def pooled(bert: Bert, rows: Ragged, work: Path) -> Logits:
    """Return the encoder's pooled output [rows, hidden] in FP32: the logits of a head of ones."""
    identity = Dense(np.eye(bert.hidden, dtype=np.float32), np.zeros(bert.hidden, np.float32))
    onnx.save(canonical.write(replace(bert, classifier=identity)), work / "pooled.onnx")
    with open_onnx(work / "pooled.onnx") as session:
        return infer_rows(session.infer, rows, _BATCH)


def make_targets(labels: Numbers, features: Logits, fitted: Numbers) -> Numbers:
    """Return the labels [heads, rows] that each head is fitted to and judged by; −1: not used."""
    random = np.random.default_rng(0)
    kept = np.zeros(int(labels.max()) + 1)
    kept[: len(_UNBALANCED)] = _UNBALANCED
    any_label = random.integers(0, len(kept), len(labels))
    return np.stack(
        [
            labels,
            labels == labels.max(),
            np.where(random.random(len(labels)) < kept[labels], labels, -1),
            *(_clusters(features, fitted, count) for count in (20, 40)),
            np.where(random.random(len(labels)) < _SHUFFLED, any_label, labels),
        ]
    )


def _clusters(features: Logits, fitted: Numbers, count: int) -> Numbers:
    centres, _ = vq.kmeans2(features[fitted].astype(np.float64), count, minit="++", seed=0)
    return np.asarray(vq.vq(features, centres)[0], np.int64)


def make_kernels(own: Dense, features: Logits, targets: Numbers, counts: Numbers) -> Array:
    """Return all heads' kernels side by side, their biases in the last row; the first is `own`."""
    fits = [fit(features[labels >= 0], labels[labels >= 0], count) for labels, count in zip(targets[1:], counts[1:], strict=True)]
    return np.concatenate([np.vstack([own.kernel, own.bias]), *fits], axis=1)


def fit(features: Logits, labels: Numbers, count: int) -> Array:
    """Fit a softmax regression to features [rows, hidden]; return its [hidden + 1, labels]."""
    rows, hidden = features.shape
    truth = np.eye(count)[labels]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        kernel, bias = np.split(flat.reshape(hidden + 1, -1), [hidden])
        log_p = special.log_softmax(features @ kernel + bias, axis=1)
        error = (np.exp(log_p) - truth) / rows
        slope = np.vstack([features.T @ error + _DECAY * kernel, error.sum(axis=0)])
        return float(_DECAY / 2 * (kernel * kernel).sum() - (truth * log_p).sum() / rows), slope.ravel()

    start = np.zeros((hidden + 1) * count)
    best = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return np.asarray(best.x.reshape(hidden + 1, -1), np.float32)


def split(columns: Array, counts: Sequence[int] | Numbers) -> list[Array]:
    """Return the shares of what lies side by side, so many columns each."""
    return np.split(columns, np.cumsum(counts)[:-1], axis=1)


def in_8_bits(bert: Bert, heads: list[Head], work: Path) -> Built:
    """Convert all heads at once: each column of a kernel has its own scale."""
    source, target = work / "ort_fp32.onnx", work / "ort_int8.onnx"
    if not target.is_file():
        onnx.save(fused.write(_with(bert, heads)), source)
        print(int8.convert(source, target))
    return Built("ort_int8", False, target, heads)


def repaired(bert: Bert, head: Head, features: Logits, golden: Golden, work: Path) -> Built:
    """Convert a head that INT8 does not keep, as the export's second attempt does."""
    name = f"repaired_{HEADS.index(head.name)}"
    source, target = work / f"{name}_fp32.onnx", work / f"{name}.onnx"
    if not target.is_file():
        onnx.save(fused.write(_with(bert, [head])), source)
        own = replace(golden, labels=head.labels, logits=head.logits(features))
        print(f"{head.name}: {int8_repair.convert(source, target, own, VARIANTS['ort_int8'].limits.precision_share)}")
    return Built("ort_int8", True, target, [head])


def in_16_bits(bert: Bert, heads: list[Head], golden: Golden, work: Path) -> Built:
    source, target = work / "onnx_fp32.onnx", work / "onnx_fp16.onnx"
    if not target.is_file():
        onnx.save(canonical.write(_with(bert, heads)), source)
        print(fp16_repair.convert(source, target, golden))
    return Built("onnx_fp16", False, target, heads)


def _with(bert: Bert, heads: list[Head]) -> Bert:
    kernel = np.concatenate([head.kernel for head in heads], axis=1)
    return replace(bert, classifier=Dense(kernel[:-1], kernel[-1]))


def answer(built: Built, rows: Ragged) -> Logits:
    """Return all heads' logits, side by side, of the rows in the gate's batches."""
    with open_onnx(built.model, providers=VARIANTS[built.variant].providers) as session:
        return infer_rows(session.infer, rows, random_batches(rows.lengths, _BATCH))


@dataclass(frozen=True)
class Rows:
    """A head's logits [rows, labels], the FP32 encoder's and a variant's."""

    reference: Logits
    answers: Logits
    labels: Numbers
    lengths: Numbers

    def compare(self, drawn: Numbers) -> Comparison:
        names = [f"label {number}" for number in range(self.reference.shape[1])]
        return comparison.compare(self.reference[drawn], self.answers[drawn], self.labels[drawn], self.lengths[drawn], names)


def judge(built: Built, answers: Logits, features: Logits, rows: Numbers, lengths: Numbers, samples: int) -> list[HeadRow]:
    """Judge samples of each head's answers; `answers` and `features` are those of `rows`."""
    judged = []
    for head, logits in zip(built.heads, split(answers, [head.count for head in built.heads]), strict=True):
        used = head.labels[rows] >= 0
        numbers = rows[used]
        own = Rows(head.logits(features[used]), logits[used], head.labels[numbers], lengths[numbers])
        judged.append(_judge(built, head, own, samples))
    return judged


def _judge(built: Built, head: Head, rows: Rows, samples: int) -> HeadRow:
    limits = VARIANTS[built.variant].limits
    whole = rows.compare(np.arange(len(rows.labels)))
    return HeadRow(
        head=head.name,
        labels=head.count,
        variant=built.variant,
        repaired=built.repaired,
        rows=whole.rows,
        flips=whole.flips,
        lost=whole.lost,
        gained=whole.gained,
        accuracy=whole.accuracy_reference,
        probabilities=whole.probabilities,
        right=is_right(whole, limits),
        tallies=[tally(rows, limits, size, samples) for size in SIZES],
    )


def is_right(whole: Comparison, limits: Limits) -> bool:
    """Return whether the rates themselves are within the limits: what a gate with endless rows
    would see.
    """
    found = whole.probabilities
    return (
        found is not None
        and whole.flips / whole.rows <= limits.flip_rate
        and whole.accuracy_loss <= limits.accuracy_loss_bound
        and abs(found.slope - 1) <= limits.slope
        and found.difference_mean <= limits.probability_mean
        and found.difference_p99 <= limits.probability_p99
    )


def tally(rows: Rows, limits: Limits, size: int, samples: int) -> Tally:
    """Judge samples of `size` rows, drawn with replacement, as from a larger population."""
    random = np.random.default_rng(size)
    verdicts: Counter[str] = Counter()
    worse_in: Counter[str] = Counter()
    for _ in range(samples):
        failures = judgement.judge(rows.compare(random.integers(0, len(rows.labels), size)), limits)
        verdicts[judgement.verdict(failures)] += 1
        worse_in.update({failure.what for failure in failures if failure.shown})
    passed, undecided, worse = (verdicts[name] for name in (judgement.PASSED, judgement.UNDECIDED, judgement.WORSE))
    return Tally(size, passed, undecided, worse, dict(worse_in.most_common()))


def table(record: FalseAlarms) -> Table:
    columns = ("head", "variant", "labels changed", "accuracy lost", *(f"{size:,} rows" for size in SIZES), "within the limits")
    right = [row for row in record.heads if row.right]
    alarms = sum(tally.worse for row in right for tally in row.tallies)
    runs = record.samples * len(SIZES) * len(right)
    note = (
        f"Passed, not decided and worse of {record.samples} samples of so many rows. Of models within the limits, "
        f"{alarms} of {runs} samples were called worse. {record.signature}"
    )
    return Table("False alarms", columns, [cells(row) for row in record.heads], note)


def cells(row: HeadRow) -> tuple[str, ...]:
    variant = f"{row.variant}, repaired" if row.repaired else row.variant
    verdicts = (f"{tally.passed}, {tally.undecided}, {tally.worse}" for tally in row.tallies)
    lost = f"{(row.lost - row.gained) / row.rows:.2%}"
    return row.head, variant, f"{row.flips} of {row.rows:,}", lost, *verdicts, "yes" if row.right else "no"


if __name__ == "__main__":
    errors.run(main)
