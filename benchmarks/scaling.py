"""What each of training's choices gains on this machine: compression, sparse-to-dense, ranks, XLA, bucketing, precision.

Short jobs of real ranks, one core each (on GPUs: one GPU each), every round all settings in random order. Some 15 minutes here:

    make scaling                                   → benchmarks/scaling.json, runs/scaling.html
    python -m benchmarks.scaling --quick           → runs/scaling.json, to see that it works
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from benchmarks import training_runs
from benchmarks.training_runs import Effort, Setting, Times, setting
from train import errors, flags, manifest, provenance, terminal
from train.corpus import Corpus
from train.job import Job
from train.ranks import Ranks

RECORD = Path(__file__).parent / "scaling.json"
_FULL, _QUICK = Effort(rounds=2, rows=384, epochs=2), Effort(rounds=1, rows=64, epochs=2)
_ONE_LENGTH = 64  # tokens: XLA compiles for every length anew, so with and without it are compared on one
_WEAK_TARGET = 0.97
_WEAK = "weak scaling, four times the rows a step"  # fewer all-reduces for as much work
_OURS, _ALONE, _LONG, _LONG_ALONE = "ours", "1 rank", "long steps", "1 rank, long steps"
_LONGER = 4  # micro-batches of a long step
# What is compared: name, ours, theirs, and how many times as fast ours ought to be for a ratio of 1.
_COMPARED = (
    ("fp16", "fp16", "plain", 1),
    ("sparse to dense", "sparse to dense", "plain", 1),
    ("both", "fp16 + sparse to dense", "plain", 1),
    ("LazyAdam", _OURS, "plain", 1),
    ("weak scaling", _OURS, _ALONE, 2),
    (_WEAK, _LONG, _LONG_ALONE, 2),
    ("bucketing", _OURS, "shuffled", 1),
    ("XLA", "one length, XLA", "one length", 1),
    ("bfloat16", "bfloat16", _OURS, 1),
    ("float16 (AMP)", "float16", _OURS, 1),
    ("NCCL_P2P_DISABLE=1", "no P2P", _OURS, 1),
)


def main() -> int:
    arguments = _parse()
    effort = _QUICK if arguments.quick else _FULL
    found = training_runs.sampled(flags.corpus_of(arguments), effort.rows)
    job = flags.job_of(arguments, found, checkpoints="", evaluate=False)
    chosen, skipped = settings(found, job, effort, gpus=_gpus())
    times = training_runs.run(chosen, effort.rounds)
    record = {
        "effort": dataclasses.asdict(effort),
        "ratios": ratios(times),
        "weak_scaling_target": _WEAK_TARGET,
        "rows": training_runs.rows(chosen, times),
        "skipped": skipped,
        "job": dataclasses.asdict(job),
        "generated_corpus": found.generated,
        **provenance.record("tensorflow", "tf_keras", "horovod", "numpy"),
    }
    out = arguments.out or (Path("runs/scaling.json") if arguments.quick else RECORD)
    for path in (out, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_json(out, record)
    plot(record).write_html(arguments.plot)
    _show(record)
    print(f"record    {out}\nplot      {arguments.plot}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="few steps, one round: no result, only a try")
    parser.add_argument("--out", type=Path, help="the record; default: of record, or of a quick try under runs/")
    parser.add_argument("--plot", type=Path, default=Path("runs/scaling.html"))
    flags.add(parser)
    return parser.parse_args()


def _gpus() -> int:
    from train.keras2 import tf

    return len(tf.config.list_physical_devices("GPU"))


def settings(found: Corpus, job: Job, effort: Effort, gpus: int) -> tuple[list[Setting], list[dict[str, str]]]:
    """What is run on a machine with so many GPUs, and what is not, with the reason."""
    cores = 0 if gpus else 1  # a rank on a GPU is not pinned
    one, two = (Ranks(processes=count, cores_per_rank=cores) for count in (1, 2))
    half = training_runs.every_second(found)

    def of(
        name: str, ranks: Ranks = two, corpus: Corpus = found, environment: dict[str, str] | None = None, **changed: Any
    ) -> Setting:
        return setting(name, corpus, dataclasses.replace(job, **changed), ranks, effort, **(environment or {}))

    plain: dict[str, Any] = {"optimizer": "adamw", "compression": "none", "sparse_as_dense": False}
    one_length: dict[str, Any] = {"padding": "fixed", "max_seq_len": min(_ONE_LENGTH, job.max_seq_len)}
    chosen = [
        of("plain", **plain),
        of("fp16", **{**plain, "compression": "fp16"}),
        of("sparse to dense", **{**plain, "sparse_as_dense": True}),
        of("fp16 + sparse to dense", **{**plain, "compression": "fp16", "sparse_as_dense": True}),
        of(_OURS),
        of(_ALONE, one, half),
        of(_LONG, accumulation=_LONGER * job.accumulation),
        of(_LONG_ALONE, one, half, accumulation=_LONGER * job.accumulation),
        of("shuffled", batches="shuffled"),
        of("one length", **one_length),
        of("one length, XLA", **one_length, xla=True),
        of("bfloat16", amp="bfloat16"),
    ]
    on_gpus = [of("float16", amp="float16"), of("no P2P", environment={"NCCL_P2P_DISABLE": "1"})]
    if gpus >= two.processes:
        return [*chosen, *on_gpus], []
    return chosen, [{"setting": one.name, "reason": f"needs 2 GPUs, this machine has {gpus}"} for one in on_gpus]


def ratios(times: Times) -> list[dict[str, Any]]:
    """Every comparison whose two settings were run: examples/s of ours ÷ theirs (÷ what is expected of more ranks)."""
    return [
        {"name": name, "ours": ours, "theirs": theirs, **training_runs.faster(times, ours, theirs, expected)}
        for name, ours, theirs, expected in _COMPARED
        if ours in times and theirs in times
    ]


def plot(record: dict[str, Any]) -> go.Figure:
    """The ratios with their intervals; 1 is "makes no difference"."""
    shown = record["ratios"][::-1]
    ratio = [row["ratio"] for row in shown]
    above, below = ([abs(row["interval"][end] - row["ratio"]) for row in shown] for end in (1, 0))
    figure = go.Figure(layout={"template": "plotly_white", "title": {"text": "Training: examples/s with ÷ without"}})
    bars = {"type": "data", "array": above, "arrayminus": below, "symmetric": False}
    figure.add_scatter(x=ratio, y=[row["name"] for row in shown], mode="markers", error_x=bars, marker={"size": 10})
    figure.add_vline(x=1, line_dash="dot")
    figure.update_xaxes(title="ratio, 95 % interval")
    return figure


def _show(record: dict[str, Any]) -> None:
    table = terminal.table(
        "Training: examples/s", "setting", "ranks", "examples/s", "first step, s", "GB a rank", left=("setting",)
    )
    for row in record["rows"]:
        speed = f"{row['examples_per_second']['median']:.1f}"
        memory = f"{row['peak_memory_bytes'] / 1e9:.2f}"
        table.add_row(row["setting"], str(row["ranks"]), speed, f"{row['first_step_seconds']:.1f}", memory)
    terminal.console().print(table)
    table = terminal.table("Ratios", "what", "ratio", "95 %", left=("what",))
    for row in record["ratios"]:
        low, high = row["interval"]
        table.add_row(row["name"], f"{row['ratio']:.3f}", f"{low:.3f} to {high:.3f}")
    for row in record["skipped"]:
        table.add_row(row["setting"], "skipped", row["reason"])
    terminal.console().print(table)
    for weak in (row for row in record["ratios"] if row["name"].startswith("weak scaling")):
        verdict = "met" if weak["ratio"] >= record["weak_scaling_target"] else "MISSED"
        print(f"{verdict}  {weak['name']} ≥ {record['weak_scaling_target']}: {weak['ratio']:.3f}")


if __name__ == "__main__":
    errors.run(main)
