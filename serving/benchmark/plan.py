"""The loads of a benchmark, and about how long they take."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serving.benchmark.record import MeasuredModel
from serving.repository import embedded
from slipway import provenance
from slipway.client.transport import PROTOCOLS
from slipway.contract.records import TEXT_MODEL

NETWORK, SYSTEM, CUDA = "network", "system_shared_memory", "cuda_shared_memory"
# Requests that a window should hold. Three windows of a closed loop in five rounds hold the 368
# that a p99 needs, even where the pace was overrated by two, as that of one client is. An open
# loop has more, because its requests come in bursts.
_CLOSED_REQUESTS, _OPEN_REQUESTS = 50, 100
_WINDOWS = 3.6  # of perf_analyzer in one call: three, and what lies between them
_STARTING = 0.2  # seconds that perf_analyzer takes to start and end
_LONGEST_WINDOW = 5000  # ms
WARM_CLIENTS, WARM_MS = 2, 300  # of the first requests, which are not counted
_LOADING, _ENGINE = 25.0, 4.0  # seconds until all models are loaded and warm, and of an engine alone


@dataclass(frozen=True)
class BenchSetting:
    """The size of a benchmark."""

    name: str  # quick, full; own when an option changed something
    rounds: int
    texts: int  # golden texts sent in turn
    window_ms: int  # the shortest; longer where a window would hold too few requests
    concurrency: tuple[int, ...]  # clients of the closed loops
    shares: tuple[float, ...]  # of the capacity, offered at random
    lengths: tuple[int, ...]  # tokens of the texts that share a length
    everything: bool  # every subject under every load; else each under one, text_classifier under all

    @property
    def middle(self) -> int:
        """Clients of the closed loop that all text subjects share."""
        return self.concurrency[len(self.concurrency) // 2]


SETTINGS = {
    "quick": BenchSetting("quick", 5, 1000, 400, (1, 16, 64), (0.7, 1.1), (64,), False),
    "full": BenchSetting("full", 5, 1000, 600, (1, 4, 16, 64), (0.5, 0.7, 0.9, 1.1), (16, 64, 128), True),
}


@dataclass(frozen=True)
class Planned:
    """A load, one row of the record: a closed loop, or an open one at a share of the capacity."""

    subject: str
    kind: str  # text, ids
    protocol: str
    transport: str
    lengths: str | int  # own, or tokens
    concurrency: int | None  # None: open
    share: float | None = None  # None: closed

    @property
    def id(self) -> str:
        load = f"r{self.share:.0%}".removesuffix("%") if self.share else str(self.concurrency)
        return f"{self.subject}/{self.protocol}/{self.transport}/{self.lengths}/{load}"

    @property
    def requests(self) -> int:
        """Requests that a window should hold: in a closed loop at least one of every client."""
        return max(self.concurrency, _CLOSED_REQUESTS) if self.concurrency else _OPEN_REQUESTS


def plan_loads(setting: BenchSetting, subjects: Sequence[MeasuredModel], longest: int, gpu: bool) -> list[Planned]:
    """Return every load once, the closed loops first. No text is longer than `longest` tokens."""
    lengths = [tokens for tokens in setting.lengths if tokens <= longest]
    first_ids = next((subject.name for subject in subjects if subject.kind == "ids"), "")
    closed: list[Planned] = []
    opened: list[Planned] = []
    for subject in subjects:
        name, kind = subject.name, subject.kind
        for protocol, transport, sweep in _ways(subject, setting, gpu, first_ids):
            closed += [Planned(name, kind, protocol, transport, "own", clients) for clients in sweep]
        if name == TEXT_MODEL or (setting.everything and subject.baseline):
            closed += [Planned(name, kind, "grpc", NETWORK, tokens, setting.middle) for tokens in lengths]
        if name == TEXT_MODEL or (setting.everything and name == first_ids):
            opened += [Planned(name, kind, "grpc", NETWORK, "own", None, share) for share in setting.shares]
    return closed + opened


def order(planned: Sequence[Planned], number: int) -> list[Planned]:
    """Return the loads as round `number` has them: the closed loops at random, then the open ones,
    whose rates depend on the others.
    """
    closed, opened = [load for load in planned if not load.share], [load for load in planned if load.share]
    shuffled = random.Random(number)
    return [*shuffled.sample(closed, len(closed)), *shuffled.sample(opened, len(opened))]


def window(setting: BenchSetting, planned: Planned, pace: float | None) -> int:
    """Return the ms of a window that holds the load's requests at `pace` texts/s; None: unknown."""
    return max(setting.window_ms, min(_LONGEST_WINDOW, round(1000 * planned.requests / (pace or math.inf))))


def load_seconds(window_ms: float) -> float:
    """Return about how long one call of perf_analyzer takes."""
    return _STARTING + _WINDOWS * window_ms / 1000


def with_loads(setting: BenchSetting, subjects: Sequence[MeasuredModel]) -> tuple[list[MeasuredModel], dict[str, str]]:
    """Return the subjects that the setting measures; and why it does not measure the others."""
    names = {load.subject for load in plan_loads(setting, subjects, longest=0, gpu=False)}
    others = [subject.name for subject in subjects if subject.name not in names]
    return [subject for subject in subjects if subject.name in names], dict.fromkeys(others, "only --setting full measures it")


def _ways(subject: MeasuredModel, setting: BenchSetting, gpu: bool, first_ids: str) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return protocol, transport and numbers of clients of a subject's closed loops."""
    sweep, middle = setting.concurrency, (setting.middle,)
    shared_memory = sweep if setting.everything else middle
    if subject.name == TEXT_MODEL or (setting.everything and not subject.baseline):
        ways = [*((protocol, NETWORK, sweep) for protocol in PROTOCOLS), ("grpc", SYSTEM, shared_memory)]
    elif subject.kind == "text":
        ways = [("grpc", NETWORK, sweep if setting.everything else middle)]
    else:
        ways = [("grpc", NETWORK, middle), ("grpc", SYSTEM, middle)] if subject.name == first_ids else []
    return [*ways, ("grpc", CUDA, shared_memory)] if gpu and subject.kind == "ids" and ways else ways


def cost_card(setting: BenchSetting, planned: Sequence[Planned], subjects: Sequence[MeasuredModel]) -> str:
    """Return a line on how long it takes, guessing 75 texts/s a core and 12 for a baseline."""
    slow = {subject.name for subject in subjects if subject.baseline}
    cores = embedded.cores()
    seconds = _ENGINE * (len(subjects) if setting.everything else 1)  # of one round
    for load in planned:
        rate = (load.share or 1) * cores * (12 if load.subject in slow else 75)
        seconds += load_seconds(max(setting.window_ms, 1000 * load.requests / rate))
    minutes = (_LOADING + setting.rounds * seconds) / 60
    calls = f"{setting.rounds} rounds of {len(planned)} loads on {len(subjects)} models, and the engine alone"
    return f"benchmark   {setting.name}: {calls}, about {minutes:.0f} minutes"


def journal_key(setting: BenchSetting, planned: Sequence[Planned], repository_sha256: str) -> dict[str, Any]:
    """Return what has to be the same for measurements to belong to one benchmark, as from JSON."""
    machine = provenance.machine()
    facts = {
        "repository_sha256": repository_sha256,
        "setting": asdict(setting),
        "planned": [load.id for load in planned],
        "machine": [machine["cpu"], machine["cores"]],
        "commit": provenance.commit(),  # what a measurement holds may be another
    }
    return dict(json.loads(json.dumps(facts)))
