"""Where a training step's time goes: a TensorBoard trace of a few steps in one process, and the operations that took longest.

Every flag of `train.finetune` that describes data, model and optimization is understood; the steps are those of one rank.

    python -m train.profile_step --run runs/agnews       → tensorboard/plugins/profile/ and profile.json there
    tensorboard --logdir runs/agnews/tensorboard         (its Profile tab wants the package tensorboard-plugin-profile)
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train import errors, flags, manifest, provenance, rehearsal, terminal, trace
from train.trace import Operation

if TYPE_CHECKING:
    from train.loop import Loop

_STEPS, _UNTIMED = 8, 3
_SHOWN = 20


def main() -> int:
    arguments = _parse()
    found = flags.corpus_of(arguments)
    job = rehearsal.long_enough(flags.job_of(arguments, found, checkpoints="", evaluate=False), found)
    logs = arguments.run / "tensorboard"
    with rehearsal.prepared(found, job) as loop:
        steps, seconds = _traced(loop, logs)
    record = {
        "steps": steps,
        "seconds": seconds,
        **summary(trace.operations(trace.newest(logs))),
        **provenance.record("tensorflow", "tf_keras", "horovod"),
    }
    manifest.write_json(arguments.run / "profile.json", record)
    _show(record)
    print(f"trace     {trace.newest(logs)}\nrecord    {arguments.run / 'profile.json'}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, default=Path("runs/agnews"), help="where trace and table go")
    flags.add(parser)
    parser.set_defaults(max_steps=_STEPS)
    return parser.parse_args()


def _traced(loop: Loop, logs: Path) -> tuple[int, float]:
    """(number, seconds) of the steps in the trace; a few that build the graph and fill caches come before."""
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


def summary(operations: list[Operation]) -> dict[str, Any]:
    """The table, and the share of matrix products in the time of all operations."""
    total = sum(one.seconds for one in operations)
    rows = [{"kind": one.kind, "seconds": one.seconds, "share": one.seconds / total, "count": one.count} for one in operations]
    return {
        "operation_seconds": total,
        "matmul_share": sum(one.seconds for one in operations if one.is_matmul) / total,
        "operations": rows,
    }


def _show(record: dict[str, Any]) -> None:
    table = terminal.table(
        f"{record['steps']} steps, by operation", "operation", "ms a step", "share", "count", left=("operation",)
    )
    for row in record["operations"][:_SHOWN]:
        milliseconds = 1e3 * row["seconds"] / record["steps"]
        table.add_row(row["kind"], f"{milliseconds:.2f}", f"{row['share']:.1%}", f"{row['count'] / record['steps']:.0f}")
    terminal.console().print(table)
    print(f"\nmatmul    {record['matmul_share']:.1%} of the time of all operations")


if __name__ == "__main__":
    errors.run(main)
