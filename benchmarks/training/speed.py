"""How much faster is training than the example that this project replaces; what do options gain?

The example padded every text to 256 tokens and did not sort by length; it also had AdamW, FP16
compression and dense gradients of the embeddings. Short jobs of real ranks, every round all
settings in random order:

    python -m benchmarks.training.speed             7 minutes → records/training_speed.json
    python -m benchmarks.training.speed --scaling  15 minutes → records/scaling.json (make scaling)

--scaling measures ranks, compression, sparse-to-dense, XLA, length buckets and precision, with one
core a rank (on GPUs: one GPU). With --quick either takes a few steps and writes into runs/, to see
that it works.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import RECORDS, Signed, Table, Target
from benchmarks.training import jobs
from benchmarks.training.jobs import Effort, JobSetting, SettingRow, Times, setting
from slipway import errors, provenance
from slipway.statistics import Ratio
from train import options, settings
from train.data.corpus import Corpus
from train.distributed.ranks import Ranks
from train.job import Job

_FULL, _FULL_SCALING = Effort(rounds=2, rows=256, epochs=2), Effort(rounds=2, rows=384, epochs=2)
QUICK = Effort(rounds=1, rows=64, epochs=2)
_LONGEST = 256  # tokens, as the example's
_STEPS_AS_EXAMPLE = 3  # all are of one shape, so few will do; the first is not timed
_ONE_LENGTH = 64  # tokens: XLA compiles for every length anew, so with and without it are compared on one
_WEAK_TARGET = 0.97
_LONGER = 4  # micro-batches of a long step
OURS, FED, _EXAMPLE, _ADAMW, _BFLOAT16 = "ours", "fed as the example", "all as the example", "AdamW", "bfloat16"
_ALONE, _LONG, _LONG_ALONE = "1 rank", "long steps", "1 rank, long steps"


@dataclass(frozen=True)
class SettingPair:
    """Two settings, and how many times as fast `ours` has to be for a ratio of 1."""

    name: str
    ours: str
    theirs: str
    expected: float = 1.0


EXAMPLE = tuple(
    SettingPair("", ours, other)
    for ours, other in [*((ours, FED) for ours in (OURS, _EXAMPLE, _ADAMW, _BFLOAT16)), (OURS, _EXAMPLE), (OURS, _ADAMW)]
)
SCALING = (
    SettingPair("fp16", "fp16", "plain"),
    SettingPair("sparse to dense", "sparse to dense", "plain"),
    SettingPair("both", "fp16 + sparse to dense", "plain"),
    SettingPair("LazyAdam", OURS, "plain"),
    SettingPair("weak scaling", OURS, _ALONE, 2),
    SettingPair("weak scaling, four times the rows a step", _LONG, _LONG_ALONE, 2),  # fewer all-reduces, the same work
    SettingPair("bucketing", OURS, "shuffled"),
    SettingPair("XLA", "one length, XLA", "one length"),
    SettingPair("bfloat16", _BFLOAT16, OURS),
    SettingPair("float16 (AMP)", "float16", OURS),
    SettingPair("NCCL_P2P_DISABLE=1", "no P2P", OURS),
)


@dataclass(frozen=True)
class Gain(Ratio):
    """Examples/s of ours ÷ theirs."""

    ours: str
    theirs: str
    name: str = ""


@dataclass(frozen=True)
class SkippedSetting:
    setting: str
    reason: str


@dataclass(frozen=True)
class JobSpeeds(Signed):
    effort: Effort
    ratios: list[Gain]
    rows: list[SettingRow]
    job: dict[str, Any]
    generated_corpus: bool
    targets: list[Target] = field(default_factory=list)
    skipped: list[SkippedSetting] = field(default_factory=list)


def main() -> int:
    arguments = _parse()
    effort = QUICK if arguments.quick else _FULL_SCALING if arguments.scaling else _FULL
    corpus = jobs.sampled(settings.corpus_of(arguments), effort.rows)
    job = settings.job_of(arguments, corpus, checkpoints="", evaluate=False)
    skipped: list[SkippedSetting] = []
    if arguments.scaling:
        chosen, skipped = scaling_settings(corpus, job, effort, gpus=_gpus())
    else:
        chosen = example_settings(corpus, job, settings.ranks_of(arguments), effort)
    times = jobs.run(chosen, effort.rounds)
    rows = jobs.rows(chosen, times)
    record = JobSpeeds(
        effort=effort,
        ratios=gains(SCALING if arguments.scaling else EXAMPLE, times),
        rows=rows,
        job=dataclasses.asdict(job),
        generated_corpus=corpus.generated,
        targets=[] if arguments.scaling else targets(times, rows),
        skipped=skipped,
        **provenance.record("tensorflow", "tf_keras", "horovod", "numpy"),
    )
    harness.finish(arguments.record, record, (scaling_table if arguments.scaling else table)(record))
    for target in record.targets:
        print(target)
    return int(not all(target.met for target in record.targets))


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "training_speed.json")
    parser.add_argument("--scaling", action="store_true", help="measure what each option gains, into scaling.json")
    parser.add_argument("--quick", action="store_true", help="few steps, one round: no result, only a try, under runs/")
    options.add_job(parser)
    length = parser.get_default("max_seq_len")
    parser.set_defaults(run=Path("runs/training_speed"), record=None, max_seq_len=None)
    arguments = parser.parse_args()
    if arguments.max_seq_len is None:
        arguments.max_seq_len = length if arguments.scaling else _LONGEST
    directory = Path("runs") if arguments.quick else RECORDS
    arguments.record = arguments.record or directory / ("scaling.json" if arguments.scaling else "training_speed.json")
    return arguments


def _gpus() -> int:
    from slipway.tensorflow import tf

    return len(tf.config.list_physical_devices("GPU"))


def example_settings(corpus: Corpus, job: Job, ranks: Ranks, effort: Effort) -> list[JobSetting]:
    """Return the job and others; the second differs in the example's feeding alone."""
    fed = dataclasses.replace(job, padding="fixed", batches="shuffled", epochs=effort.epochs, max_steps=_STEPS_AS_EXAMPLE)
    example = dataclasses.replace(fed, optimizer="adamw", compression="fp16", sparse_as_dense=True)
    return [
        setting(OURS, corpus, job, ranks, effort),
        JobSetting(FED, corpus, fed, ranks, untimed=1),
        JobSetting(_EXAMPLE, corpus, example, ranks, untimed=1),
        setting(_ADAMW, corpus, dataclasses.replace(job, optimizer="adamw"), ranks, effort),
        setting(_BFLOAT16, corpus, dataclasses.replace(job, amp="bfloat16"), ranks, effort),
    ]


def scaling_settings(corpus: Corpus, job: Job, effort: Effort, gpus: int) -> tuple[list[JobSetting], list[SkippedSetting]]:
    """Return the settings that run with so many GPUs, and those that do not, with the reason."""
    cores = 0 if gpus else 1  # a rank on a GPU is not pinned
    single, pair = (Ranks(processes=count, cores_per_rank=cores) for count in (1, 2))
    whole = partial(_changed, corpus=corpus, job=job, ranks=pair, effort=effort)
    half = partial(_changed, corpus=jobs.every_second(corpus), job=job, ranks=single, effort=effort)
    plain: dict[str, Any] = {"optimizer": "adamw", "compression": "none", "sparse_as_dense": False}
    one_length: dict[str, Any] = {"padding": "fixed", "max_seq_len": min(_ONE_LENGTH, job.max_seq_len)}
    chosen = [
        whole("plain", **plain),
        whole("fp16", **{**plain, "compression": "fp16"}),
        whole("sparse to dense", **{**plain, "sparse_as_dense": True}),
        whole("fp16 + sparse to dense", **{**plain, "compression": "fp16", "sparse_as_dense": True}),
        whole(OURS),
        half(_ALONE),
        whole(_LONG, accumulation=_LONGER * job.accumulation),
        half(_LONG_ALONE, accumulation=_LONGER * job.accumulation),
        whole("shuffled", batches="shuffled"),
        whole("one length", **one_length),
        whole("one length, XLA", **one_length, xla=True),
        whole(_BFLOAT16, amp="bfloat16"),
    ]
    on_gpus = [
        whole("float16", amp="float16"),
        dataclasses.replace(whole("no P2P"), environment={"NCCL_P2P_DISABLE": "1"}),
    ]
    if gpus >= pair.processes:
        return [*chosen, *on_gpus], []
    return chosen, [SkippedSetting(left.name, f"needs 2 GPUs, this machine has {gpus}") for left in on_gpus]


def _changed(name: str, *, corpus: Corpus, job: Job, ranks: Ranks, effort: Effort, **changes: Any) -> JobSetting:
    return setting(name, corpus, dataclasses.replace(job, **changes), ranks, effort)


def gains(comparisons: tuple[SettingPair, ...], times: Times) -> list[Gain]:
    """Return every comparison whose two settings were run."""
    return [
        Gain(
            **vars(jobs.faster(times, wanted.ours, wanted.theirs, wanted.expected)),
            ours=wanted.ours,
            theirs=wanted.theirs,
            name=wanted.name,
        )
        for wanted in comparisons
        if wanted.ours in times and wanted.theirs in times
    ]


def targets(times: Times, rows: list[SettingRow]) -> list[Target]:
    """Judge what was promised. The whole interval of the ratio has to meet its target."""
    ours = next(row for row in rows if row.setting == OURS)
    faster = jobs.faster(times, OURS, FED)
    outside, memory = ours.outside_tensorflow, ours.peak_memory_bytes
    return [
        Target("≥ 6 × the examples/s of the example's feeding", faster.ratio, faster.interval[0] >= 6),
        Target("< 5 % of the step time outside TensorFlow", outside, outside < 0.05),
        Target("≤ 3 GB of memory a rank", memory / 1e9, memory <= 3e9),
    ]


def table(record: JobSpeeds) -> Table:
    columns = ("training", "examples/s (95 %)", "waste", "outside TensorFlow", "memory of a rank")
    speeds = {gain.ours: gain.text(times=" ×") for gain in record.ratios if gain.theirs == FED}
    rows = [
        (
            row.setting,
            speeds.get(row.setting, "1 ×"),
            f"{row.padding_waste:.1%}",
            f"{row.outside_tensorflow:.2%}",
            f"{row.peak_memory_bytes / 1e9:.2f} GB",
        )
        for row in record.rows
    ]
    waste = {row.setting: row.padding_waste for row in record.rows}
    saved = (1 - waste[OURS]) / (1 - waste[FED])
    others = "; ".join(f"{gain.ours} ÷ {gain.theirs}: {gain.text()}" for gain in record.ratios if gain.theirs != FED)
    effort = f"{record.effort.rows} rows an epoch, {record.effort.rounds} rounds"
    note = f"{others}. Tokens that feeding saves: {saved:.2f} ×. {effort}. {record.signature}"
    return Table("Training speed", columns, rows, note)


def scaling_table(record: JobSpeeds) -> Table:
    rows: list[tuple[str, ...]] = [(gain.name, gain.text(3), gain.ours, gain.theirs) for gain in record.ratios]
    rows += [(left.setting, f"skipped: {left.reason}") for left in record.skipped]
    note = f"Weak scaling: two ranks ÷ twice one rank, a core each; the target is {_WEAK_TARGET}. {record.signature}"
    return Table("Training options", ("what", "examples/s, with ÷ without (95 %)", "with", "without"), rows, note)


if __name__ == "__main__":
    errors.run(main)
