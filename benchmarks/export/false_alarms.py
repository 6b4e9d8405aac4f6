"""How often does the gate call a right model worse, and how often does it leave one undecided?

Every re-run draws golden rows, with replacement as from a larger population, and lets the whole
gate judge an artifact by them: batches, probes, neighbours, repetition and all. The models are a
run's own and heads on the encoder of another (right_models.py). What a re-run measured is added to
reruns.jsonl in the working directory; those that lie there count, so that a run can go on, and are
judged by today's limits. Writes benchmarks/records/false_alarms.json:

    python -m benchmarks.export.false_alarms --run runs/demo --encoder runs/tiny
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.export import right_models
from benchmarks.export.right_models import RightModel
from benchmarks.harness import Signed, Table
from export.parity import gate
from slipway import errors, provenance
from slipway.contract.bundle import Golden, Reference
from slipway.contract.parity import judgement
from slipway.contract.parity.bounds import loss_least
from slipway.contract.parity.comparison import Measured
from slipway.contract.parity.judgement import Failure
from slipway.contract.parity.probabilities import Probabilities
from slipway.contract.records import from_json
from slipway.contract.variants import VARIANTS, Variant

SIZES = (500, 1000, 2000, 4000)  # golden rows of a re-run
# Re-runs as a share of --samples, for each size. A model of full size takes a minute, FP16 on a CPU
# several; and FP32 and FP16 hardly change an answer.
OF_RUN = {"ort_fp32": (0.2, 0.15, 0.1, 0.05), "ort_int8": (0.5, 0.4, 0.25, 0.2), "onnx_fp16": (0.1, 0.0, 0.0, 0.0)}
OF_HEAD = {"ort_fp32": (0.25,) * 4, "ort_int8": (1.0,) * 4, "onnx_fp16": (0.25,) * 4}


@dataclass(frozen=True)
class Task:
    """A re-run to be done."""

    model: str
    size: int  # golden rows
    number: int


@dataclass(frozen=True)
class Rerun:
    """What the gate measured on golden rows that were drawn; the verdict follows from it."""

    task: Task
    variant: str
    measured: Measured
    seconds: float

    @property
    def failures(self) -> list[Failure]:
        """Every limit that was not held, judged anew as whoever reads parity.json does."""
        return judgement.judge_artifact(self.measured, VARIANTS[self.variant])


@dataclass(frozen=True)
class Tally:
    """The verdicts by so many rows."""

    size: int
    passed: int
    undecided: int
    worse: int
    worse_in: dict[str, int]  # limit → re-runs that are shown not to hold it
    undecided_in: dict[str, int]


@dataclass(frozen=True)
class ModelRow:
    """A model: what it changes in all rows, and the verdicts of re-runs."""

    encoder: str
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
    beyond: list[str]  # limits that these rates, without bounds, are beyond; none: it is right
    verdict: str  # on all rows
    why: str
    diagnosis: list[str]
    tallies: list[Tally]


@dataclass(frozen=True)
class FalseAlarms(Signed):
    models: list[ModelRow]


def main() -> int:
    arguments = _parse()
    work = arguments.work or arguments.encoder / "false_alarms"
    of_run = list(right_models.of_run(arguments.run, work / "run"))
    heads = list(right_models.on_encoder(arguments.encoder, work, arguments.texts))
    done = work / "reruns.jsonl"
    planned = [(model, task) for model in of_run for task in tasks(model, OF_RUN, arguments.samples)]
    planned_of_heads = [(model, task) for model in heads for task in tasks(model, OF_HEAD, arguments.samples)]
    for model, task in [*remaining(planned_of_heads, read(done)), *remaining(planned, read(done))]:  # the slow ones last
        add(done, rerun(model, task))
    asked = {task for _, task in [*planned, *planned_of_heads]}
    reruns = [rerun for rerun in read(done) if rerun.task in asked]
    rows = [model_row(model, reruns) for model in [*of_run, *heads]]
    record = FalseAlarms(models=rows, **provenance.record("onnxruntime", "numpy", "scipy"))
    harness.finish(arguments.record, record, table(record))
    return 0


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "false_alarms.json")
    parser.add_argument("--run", type=Path, required=True, help="the run whose own variants are judged")
    parser.add_argument("--encoder", type=Path, required=True, help="the run, a small one, whose encoder heads are put on")
    parser.add_argument("--work", type=Path, help="where models and verdicts lie; those that are there count; default: in ENCODER")
    parser.add_argument("--texts", type=int, default=16000, help="that golden rows of heads are drawn from; default: %(default)s")
    parser.add_argument("--samples", type=int, default=20, help="re-runs of a head in INT8, of every size; default: %(default)s")
    return parser.parse_args()


def tasks(model: RightModel, shares: Mapping[str, Sequence[float]], samples: int) -> Iterator[Task]:
    """Yield the re-runs of a model: of each size its variant's share of `samples`, rounded up."""
    for size, share in zip(SIZES, shares[model.candidate.variant.name], strict=True):
        yield from (Task(model.name, size, number) for number in range(math.ceil(share * samples)))


def remaining(planned: Iterable[tuple[RightModel, Task]], done: Iterable[Rerun]) -> list[tuple[RightModel, Task]]:
    """Return what is not done yet, the first re-run of every model before the second of any."""
    already = {rerun.task for rerun in done}
    left = [(model, task) for model, task in planned if task not in already]
    return sorted(left, key=lambda pair: pair[1].number)


def read(path: Path) -> list[Rerun]:
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return [from_json(Rerun, json.loads(line)) for line in lines]


def add(path: Path, rerun: Rerun) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(rerun), ensure_ascii=False) + "\n")


def rerun(model: RightModel, task: Task) -> Rerun:
    """Let the gate judge the model's artifact by golden rows that are drawn."""
    whole = model.reference
    record = gate.check(model.candidate, Reference(whole.bundle, draw(model, task), whole.probes))
    why = judgement.reason(record.failures) if record.failures else "passed"
    print(f"{task.model}, {task.size} rows, {task.number}: {why}", flush=True)
    return Rerun(task, model.candidate.variant.name, record.measured, round(record.seconds, 2))


def draw(model: RightModel, task: Task) -> Golden:
    """Draw the golden rows of a re-run, others for each."""
    random = np.random.default_rng([task.number, task.size, *task.model.encode()])
    return model.reference.golden.take(random.integers(0, len(model.reference.golden.ids), task.size))


def model_row(model: RightModel, reruns: list[Rerun]) -> ModelRow:
    whole, variant = model.whole, model.candidate.variant
    failures = judgement.judge_artifact(whole, variant)
    own = [rerun for rerun in reruns if rerun.task.model == model.name]
    return ModelRow(
        encoder=model.encoder,
        head=model.head,
        labels=model.reference.golden.logits.shape[1],
        variant=variant.name,
        repaired=model.repaired,
        rows=whole.rows,
        flips=whole.flips,
        lost=whole.lost,
        gained=whole.gained,
        accuracy=whole.accuracy_reference,
        probabilities=whole.probabilities,
        beyond=beyond(whole, variant),
        verdict=judgement.verdict(failures),
        why=judgement.reason(failures) if failures else "",
        diagnosis=model.diagnosis,
        tallies=[tally(own, size) for size in SIZES],
    )


def beyond(whole: Measured, variant: Variant) -> list[str]:
    """Return the limits that the rates themselves are beyond, without bounds: what a gate with
    endless rows would see. None: the model is right.

    Of a class, which may have few rows, the loss counts that is certain.
    """
    limits, moved, precision = variant.limits, whole.probabilities, whole.precision
    if moved is None or precision is None:
        return ["nothing was measured"]
    groups = [group for group in (*whole.by_class, *whole.by_length) if group.labelled]
    lost = {group.group: loss_least(group.lost, group.gained, group.labelled) for group in groups}
    rates = {
        "flip rate": (whole.flips / whole.rows, limits.flip_rate),
        "accuracy loss": (whole.accuracy_loss, limits.accuracy_loss_bound),
        **{f"accuracy loss in {group}": (loss, limits.group_loss) for group, loss in lost.items()},
        "|slope − 1|": (abs(moved.slope - 1), limits.slope),
        "mean |Δp|": (moved.difference_mean, limits.probability_mean),
        "99th percentile of |Δp|": (moved.difference_p99, limits.probability_p99),
        f"share not {variant.precision}": (1 - precision.weights.get(variant.precision, 0.0), 1 - limits.precision_share),
    }
    return [f"{name} {rate:.2%}" for name, (rate, limit) in rates.items() if not rate <= limit]


def tally(reruns: Iterable[Rerun], size: int) -> Tally:
    """Count the verdicts of the re-runs of `size` rows, and in what they did not pass."""
    failed = [rerun.failures for rerun in reruns if rerun.task.size == size]
    verdicts = Counter(map(judgement.verdict, failed))
    worse_in = Counter(what for failures in failed for what in {failure.what for failure in failures if failure.shown})
    undecided_in = Counter(what for failures in failed for what in {failure.what for failure in failures if not failure.shown})
    passed, undecided, worse = (verdicts[name] for name in (judgement.PASSED, judgement.UNDECIDED, judgement.WORSE))
    return Tally(size, passed, undecided, worse, dict(worse_in.most_common()), dict(undecided_in.most_common()))


def table(record: FalseAlarms) -> Table:
    columns = ("model", "variant", "labels changed", "accuracy lost", *(f"{size:,} rows" for size in SIZES), "within the limits")
    right = [tally for row in record.models if not row.beyond for tally in row.tallies]
    runs = sum(tally.passed + tally.undecided + tally.worse for tally in right)
    note = (
        "Passed, not decided and worse, of re-runs of the whole gate on so many rows. Of models within the limits, "
        f"{sum(tally.worse for tally in right)} of {runs} re-runs were called worse. {record.signature}"
    )
    return Table("False alarms", columns, [cells(row) for row in record.models], note)


def cells(row: ModelRow) -> tuple[str, ...]:
    variant = f"{row.variant}, repaired" if row.repaired else row.variant
    counts = ((tally.passed, tally.undecided, tally.worse) for tally in row.tallies)
    verdicts = (", ".join(map(str, numbers)) if any(numbers) else "–" for numbers in counts)
    lost = f"{(row.lost - row.gained) / row.rows:.2%}"
    return (
        f"{row.encoder}: {row.head}",
        variant,
        f"{row.flips} of {row.rows:,}",
        lost,
        *verdicts,
        f"no: {row.beyond[0]}" if row.beyond else "yes",
    )


if __name__ == "__main__":
    errors.run(main)
