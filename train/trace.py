"""What a TensorFlow profile says: the time of every kind of operation, read from the trace that TensorBoard shows.

The trace is the protobuf `plugins/profile/<when>/<host>.xplane.pb`, which TensorFlow can read without TensorBoard's profiler. A
plane is a device, a line of it a thread or a stream, an event on it an interval; an operation's is named `name in the graph:kind`.
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
    """All operations of one kind."""

    kind: str  # MatMul, _FusedMatMul, Einsum, …
    seconds: float  # without the time of operations inside of them
    count: int

    @property
    def is_matmul(self) -> bool:
        return "MatMul" in self.kind or "Einsum" in self.kind


def newest(logs: Path) -> Path:
    """The trace written last below TensorBoard's directory `logs`."""
    return max(logs.glob("plugins/profile/*/*.xplane.pb"), key=lambda path: path.stat().st_mtime)


def operations(path: Path) -> list[Operation]:
    """The kinds of operations in a trace, the longest first: those of the GPUs' kernels where there are any, else of the CPU."""
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    space = XSpace()
    space.ParseFromString(path.read_bytes())
    gpus = [plane for plane in space.planes if plane.name.startswith(_GPU)]
    intervals = [one for plane in gpus for one in _kernels(plane)]
    if not gpus:
        hosts = [plane for plane in space.planes if plane.name == _HOST]
        intervals = [one for plane in hosts for line in plane.lines for one in _own(_on_thread(plane, line))]
    seconds: dict[str, list[float]] = defaultdict(list)
    for kind, duration in intervals:
        seconds[kind].append(duration * _PICO)
    found = [Operation(kind, sum(durations), len(durations)) for kind, durations in seconds.items()]
    return sorted(found, key=lambda one: -one.seconds)


def _on_thread(plane: Any, line: Any) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) in ps of the operations on a thread; other events are the runtime's own."""
    for event in line.events:
        name = plane.event_metadata[event.metadata_id].name
        kind = plane.event_metadata[event.metadata_id].display_name
        if kind and name.endswith(f":{kind}"):
            yield kind, event.offset_ps, event.offset_ps + event.duration_ps


def _own(events: Iterable[tuple[str, int, int]]) -> list[tuple[str, int]]:
    """(kind, ps) of each event, less the events inside of it: a function call's operations run while it does."""
    found: list[tuple[str, int]] = []
    open_ones: list[tuple[int, int]] = []  # (place in found, end)
    for kind, start, end in sorted(events, key=lambda event: (event[1], -event[2])):
        while open_ones and open_ones[-1][1] <= start:
            open_ones.pop()
        if open_ones:
            outer, duration = found[open_ones[-1][0]]
            found[open_ones[-1][0]] = outer, duration - (end - start)
        open_ones.append((len(found), end))
        found.append((kind, end - start))
    return found


def _kernels(plane: Any) -> Iterator[tuple[str, int]]:
    """(kind, ps) of the kernels on a GPU's streams, by the operation that started each (`tf_op`), or by its own name."""
    names = {key: value.name for key, value in plane.stat_metadata.items()}
    for line in plane.lines:
        if line.name.startswith("Stream"):
            for event in line.events:
                stats = {names[stat.metadata_id]: stat.str_value or names.get(stat.ref_value, "") for stat in event.stats}
                started_by = stats.get("tf_op") or plane.event_metadata[event.metadata_id].name
                yield started_by.rpartition(":")[2], event.duration_ps
