"""Show the operations that a training step spends its time in, read from TensorBoard's trace.

The trace is the protobuf `plugins/profile/<when>/<host>.xplane.pb`, which TensorFlow can read
without TensorBoard's profiler. A plane is a device, a line of it a thread or a stream, an event on
it an interval; an operation's event is named `name in the graph:kind`.

    slipway analyze profile runs/demo            → RUN/profile.json, RUN/tensorboard
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway import console, provenance
from slipway.contract import manifest
from train import settings
from train.analysis import trial

if TYPE_CHECKING:
    from train.engine.loop import Loop

_HOST, _GPU = "/host:CPU", "/device:GPU"
_PICO = 1e-12
_UNTIMED = 3
_SHOWN = 20


@dataclass(frozen=True)
class Operation:
    """All operations of one kind in a trace."""

    kind: str  # MatMul, _FusedMatMul, Einsum, …
    seconds: float  # without the time of operations inside of them
    share: float  # of the seconds of all operations
    count: int

    @property
    def is_matmul(self) -> bool:
        return "MatMul" in self.kind or "Einsum" in self.kind


@dataclass(frozen=True)
class StepProfile:
    """The operations of the profiled steps, the longest first."""

    steps: int
    seconds: float
    operation_seconds: float  # of all operations
    matmul_share: float  # of matrix products, in operation_seconds
    operations: list[Operation]


def profile(arguments: argparse.Namespace) -> int:
    corpus = settings.corpus_of(arguments)
    job = trial.in_one_process(settings.job_of(arguments, corpus, checkpoints="", evaluate=False), corpus)
    logs, out = arguments.run / "tensorboard", arguments.run / "profile.json"
    with trial.open_loop(corpus, job) as loop:
        steps, seconds = _write_trace(loop, logs)
    operations = read_operations(newest_trace(logs))
    matmul_share = sum(operation.share for operation in operations if operation.is_matmul)
    profile = StepProfile(steps, seconds, sum(operation.seconds for operation in operations), matmul_share, operations)
    manifest.write_json(out, {**asdict(profile), **provenance.record("tensorflow", "tf_keras", "horovod")})
    _show(profile)
    print(f"trace     {newest_trace(logs)}\nrecord    {out}")
    return 0


def _write_trace(loop: Loop, logs: Path) -> tuple[int, float]:
    """Trace the steps that follow tracing and warm caches; return their number and seconds."""
    from slipway.tensorflow import tf

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
    table = console.table(title, "operation", "ms a step", "share", "count", left=("operation",))
    for row in profile.operations[:_SHOWN]:
        milliseconds = 1e3 * row.seconds / profile.steps
        table.add_row(row.kind, f"{milliseconds:.2f}", f"{row.share:.1%}", f"{row.count / profile.steps:.0f}")
    console.console().print(table)
    print(f"\nmatmul    {profile.matmul_share:.1%} of the time of all operations")


def newest_trace(logs: Path) -> Path:
    """Return the trace written last below TensorBoard's directory `logs`."""
    return max(logs.glob("plugins/profile/*/*.xplane.pb"), key=lambda path: path.stat().st_mtime)


def read_operations(path: Path) -> list[Operation]:
    """Return the kinds of operations in a trace, the longest first: a GPU's, else the CPU's."""
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    space = XSpace()
    space.ParseFromString(path.read_bytes())
    gpus = [plane for plane in space.planes if plane.name.startswith(_GPU)]
    intervals = [kernel for plane in gpus for kernel in _kernels(plane)]
    if not gpus:
        hosts = [plane for plane in space.planes if plane.name == _HOST]
        intervals = [event for plane in hosts for line in plane.lines for event in _own_times(_on_thread(plane, line))]
    seconds: dict[str, list[float]] = defaultdict(list)
    for kind, duration in intervals:
        seconds[kind].append(duration * _PICO)
    total = sum(map(sum, seconds.values()))
    operations = [Operation(kind, sum(times), sum(times) / total, len(times)) for kind, times in seconds.items()]
    return sorted(operations, key=lambda operation: -operation.seconds)


def _on_thread(plane: Any, line: Any) -> Iterator[tuple[str, int, int]]:
    """Yield (kind, start, end) in ps of a thread's operations; other events are the runtime's."""
    for event in line.events:
        metadata = plane.event_metadata[event.metadata_id]
        kind = metadata.display_name
        if kind and metadata.name.endswith(f":{kind}"):
            yield kind, event.offset_ps, event.offset_ps + event.duration_ps


def _own_times(events: Iterable[tuple[str, int, int]]) -> list[tuple[str, int]]:
    """Return (kind, ps) of each event, less the events inside of it: a call spans what it calls."""
    own: list[tuple[str, int]] = []
    running: list[tuple[int, int]] = []  # (index in own, end) of the events around the present one
    for kind, start, end in sorted(events, key=lambda event: (event[1], -event[2])):
        while running and running[-1][1] <= start:
            running.pop()
        if running:
            outer, duration = own[running[-1][0]]
            own[running[-1][0]] = outer, duration - (end - start)
        running.append((len(own), end))
        own.append((kind, end - start))
    return own


def _kernels(plane: Any) -> Iterator[tuple[str, int]]:
    """Yield (kind, ps) of a GPU's kernels; kind: the operation that started it, or its name."""
    names = {key: value.name for key, value in plane.stat_metadata.items()}
    streams = (line for line in plane.lines if line.name.startswith("Stream"))
    for event in (event for stream in streams for event in stream.events):
        stats = {names[stat.metadata_id]: stat.str_value or names.get(stat.ref_value, "") for stat in event.stats}
        started_by = stats.get("tf_op") or plane.event_metadata[event.metadata_id].name
        yield started_by.rpartition(":")[2], event.duration_ps
