"""Profile training steps: write a TensorBoard trace, and show the operations that took longest.

Takes the options of training that describe data, model and optimization. The steps are those of one
rank, in one process.

    python -m train.profile_step --run runs/agnews  → profile.json and tensorboard/plugins/profile/
    tensorboard --logdir runs/agnews/tensorboard    (package tensorboard-plugin-profile)
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from train import errors, flags, manifest, provenance, rehearsal, terminal
from train.trace import Operation, newest_trace, read_operations

if TYPE_CHECKING:
    from train.loop import Loop

_STEPS, _UNTIMED = 8, 3
_SHOWN = 20


@dataclass(frozen=True)
class StepProfile:
    """The operations of the profiled steps, the longest first."""

    steps: int
    seconds: float
    operation_seconds: float  # of all operations
    matmul_share: float  # of matrix products, in operation_seconds
    operations: list[Operation]


def main() -> int:
    arguments = _parse()
    corpus = flags.corpus_of(arguments)
    job = rehearsal.in_one_process(flags.job_of(arguments, corpus, checkpoints="", evaluate=False), corpus)
    logs, out = arguments.run / "tensorboard", arguments.run / "profile.json"
    with rehearsal.open_loop(corpus, job) as loop:
        steps, seconds = _write_trace(loop, logs)
    operations = read_operations(newest_trace(logs))
    matmul_share = sum(operation.share for operation in operations if operation.is_matmul)
    profile = StepProfile(steps, seconds, sum(operation.seconds for operation in operations), matmul_share, operations)
    manifest.write_json(out, {**asdict(profile), **provenance.record("tensorflow", "tf_keras", "horovod")})
    _show(profile)
    print(f"trace     {newest_trace(logs)}\nrecord    {out}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, default=Path("runs/agnews"), help="where trace and table go")
    flags.add(parser)
    parser.set_defaults(max_steps=_STEPS)
    return parser.parse_args()


def _write_trace(loop: Loop, logs: Path) -> tuple[int, float]:
    """Trace the steps that follow tracing and warm caches; return their number and seconds."""
    from train.keras2 import tf

    untimed = min(_UNTIMED, len(loop.steps) - 1)
    for number in range(untimed):
        loop.take(number)
    with tf.profiler.experimental.Profile(str(logs)):
        started = time.monotonic()
        for number in range(untimed, len(loop.steps)):
            with tf.profiler.experimental.Trace("train", step_num=number, _r=1):  # _r: a step, for TensorBoard's overview
                loop.take(number)
        return len(loop.steps) - untimed, time.monotonic() - started


def _show(profile: StepProfile) -> None:
    title = f"{profile.steps} steps, by operation"
    table = terminal.table(title, "operation", "ms a step", "share", "count", left=("operation",))
    for row in profile.operations[:_SHOWN]:
        milliseconds = 1e3 * row.seconds / profile.steps
        table.add_row(row.kind, f"{milliseconds:.2f}", f"{row.share:.1%}", f"{row.count / profile.steps:.0f}")
    terminal.console().print(table)
    print(f"\nmatmul    {profile.matmul_share:.1%} of the time of all operations")


if __name__ == "__main__":
    errors.run(main)
