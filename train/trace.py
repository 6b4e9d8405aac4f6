"""The time of every kind of operation, read from the trace that TensorBoard shows.

The trace is the protobuf `plugins/profile/<when>/<host>.xplane.pb`, which TensorFlow can read
without TensorBoard's profiler. A plane is a device, a line of it a thread or a stream, an event on
it an interval; an operation's event is named `name in the graph:kind`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HOST, _GPU = "/host:CPU", "/device:GPU"
_PICO = 1e-12


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
