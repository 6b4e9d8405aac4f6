"""Which loads a benchmark runs, and about how long that takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serving import client, embedded_models
from serving.bench_repository import Subject
from serving.records import TEXT_MODEL
from train import provenance

NETWORK, SYSTEM, CUDA = "network", "system_shared_memory", "cuda_shared_memory"
# Requests that a window should hold. Three windows of a closed loop in five rounds have the 368 that a p99 needs, also where pace
# was overrated, as that of one client is by two; of those at random more, which come in bursts.
_IN_TURN, _AT_RANDOM = 50, 100
_WINDOWS = 3.6  # of perf_analyzer in one run: three, and what lies between them
_STARTING = 0.2  # seconds of its own start and end
_BEFORE, _ENGINE = 25, 4  # seconds until all models are loaded and warm, and of the engine alone


@dataclass(frozen=True)
class Setting:
    """How much is measured."""

    name: str  # quick, full; own when a flag changed something
    rounds: int
    texts: int  # golden texts sent in turn
    window_ms: int  # the shortest; longer where a window would not hold the requests it should
    concurrency: tuple[int, ...]  # clients in the closed loops
    shares: tuple[float, ...]  # of the capacity, offered at random
    lengths: tuple[int, ...]  # tokens of the texts that are all of one length
    everything: bool  # every subject under every load, or each once and text_classifier more

    @property
    def middle(self) -> int:
        """The load under which all are compared."""
        return self.concurrency[len(self.concurrency) // 2]


SETTINGS = {
    "quick": Setting("quick", 5, 1000, 400, (1, 16, 64), (0.7, 1.1), (64,), False),
    "full": Setting("full", 5, 1000, 600, (1, 4, 16, 64), (0.5, 0.7, 0.9, 1.1), (16, 64, 128), True),
}


@dataclass(frozen=True)
class Planned:
    """One row of the record: a closed loop of so many clients, or a share of the capacity that arrives at random."""

    subject: str
    kind: str
    protocol: str
    transport: str
    lengths: str | int  # own, or tokens
    concurrency: int | None
    share: float | None = None

    @property
    def id(self) -> str:
        load = f"r{self.share:.0%}".removesuffix("%") if self.share else str(self.concurrency)
        return f"{self.subject}/{self.protocol}/{self.transport}/{self.lengths}/{load}"

    @property
    def requests(self) -> int:
        """That a window should hold: of a closed loop one of every client at least."""
        return max(self.concurrency, _IN_TURN) if self.concurrency else _AT_RANDOM


def plan(setting: Setting, subjects: Sequence[Subject], longest: int, gpu: bool) -> list[Planned]:
    """Every load, once; the closed loops first. No text is longer than `longest` tokens."""
    lengths = [tokens for tokens in setting.lengths if tokens <= longest]
    first_ids = next((one.name for one in subjects if one.kind == "ids"), "")
    loads: list[Planned] = []
    for one in subjects:
        for protocol, transport, sweep in _ways(one, setting, gpu, first_ids):
            loads += [Planned(one.name, one.kind, protocol, transport, "own", clients) for clients in sweep]
        if one.name == TEXT_MODEL or (setting.everything and one.baseline):
            loads += [Planned(one.name, one.kind, "grpc", NETWORK, tokens, setting.middle) for tokens in lengths]
    at_random = [one for one in subjects if one.name == TEXT_MODEL or (setting.everything and one.name == first_ids)]
    return loads + [
        Planned(one.name, one.kind, "grpc", NETWORK, "own", None, share) for one in at_random for share in setting.shares
    ]


def with_loads(setting: Setting, subjects: Sequence[Subject]) -> tuple[list[Subject], dict[str, str]]:
    """Those that the setting measures; and why not the others."""
    names = {one.subject for one in plan(setting, subjects, longest=0, gpu=False)}
    others = [one.name for one in subjects if one.name not in names]
    return [one for one in subjects if one.name in names], dict.fromkeys(others, "the full setting measures it: BENCH=full")


def _ways(one: Subject, setting: Setting, gpu: bool, first_ids: str) -> list[tuple[str, str, tuple[int, ...]]]:
    """Protocol, transport and numbers of clients of a subject's closed loops."""
    sweep, alone = setting.concurrency, (setting.middle,)
    shared_memory = sweep if setting.everything else alone
    if one.name == TEXT_MODEL or (setting.everything and not one.baseline):
        ways = [*((protocol, NETWORK, sweep) for protocol in client.PROTOCOLS), ("grpc", SYSTEM, shared_memory)]
    elif one.kind == "text":
        ways = [("grpc", NETWORK, sweep if setting.everything else alone)]
    else:
        ways = [("grpc", NETWORK, alone), ("grpc", SYSTEM, alone)] if one.name == first_ids else []
    return [*ways, ("grpc", CUDA, shared_memory)] if gpu and one.kind == "ids" and ways else ways


def cost_card(setting: Setting, planned: Sequence[Planned], subjects: Sequence[Subject]) -> str:
    """About how long it takes, from a guess: a core answers 75 texts a second, of a baseline 12."""
    slow = {one.name for one in subjects if one.baseline}
    once = [_STARTING + _WINDOWS * max(setting.window_ms / 1000, _seconds(one, slow, embedded_models.cores())) for one in planned]
    minutes = (_BEFORE + setting.rounds * (sum(once) + _ENGINE * (len(subjects) if setting.everything else 1))) / 60
    calls = f"{setting.rounds} rounds of {len(planned)} loads on {len(subjects)} models, and the engine alone"
    return f"benchmark   {setting.name}: {calls}, about {minutes:.0f} minutes"


def _seconds(one: Planned, slow: set[str], cores: int) -> float:
    """Seconds that a window of the load takes, at a guess."""
    return one.requests / ((one.share or 1) * cores * (12 if one.subject in slow else 75))


def key(setting: Setting, planned: Sequence[Planned], repository_sha256: str) -> dict[str, Any]:
    """What has to be the same for measurements to belong to one benchmark, as JSON gives it back."""
    machine = provenance.machine()
    facts = {
        "repository_sha256": repository_sha256,
        "setting": asdict(setting),
        "planned": [one.id for one in planned],
        "machine": [machine["cpu"], machine["cores"]],
        "commit": provenance.commit(),  # what a measurement holds may be another
    }
    return dict(json.loads(json.dumps(facts)))
