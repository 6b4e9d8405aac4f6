"""Every server under every load, in turn, round by round; and comparisons of the rounds."""

from __future__ import annotations

import itertools
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.peers import closed_loop
from benchmarks.peers.closed_loop import Window
from benchmarks.peers.subjects import MeasuredServer
from benchmarks.peers.table import LoadRow, PeerComparison
from serving.load import interference
from serving.load.interference import Disturbance
from slipway import statistics
from slipway.errors import ServerError
from slipway.statistics import ratio

_MOST_TRIES = 2  # of one window, while others disturb it
_FOR_A_VERDICT = 5  # rounds in which neither was disturbed
# Name, value of a window, and whether more is better.
_MEASURES: tuple[tuple[str, Callable[[Window], float], bool], ...] = (
    ("texts_per_second", lambda window: window.texts_per_second, True),
    ("p99_ms", lambda window: float(np.percentile(window.latencies, 99)), False),
)


@dataclass(frozen=True)
class LoadPlan:
    concurrency: list[int]  # texts in flight, one load each
    rounds: int
    seconds: float  # of a window


@dataclass(frozen=True)
class PeerRound:
    window: Window
    machine: Disturbance  # meanwhile
    why: list[str]  # reasons that it does not count; empty: it does


Pair = tuple[PeerRound, PeerRound]  # ours and a peer's, of the same round
Load = tuple[str, int]  # the subject's name, texts in flight
Rounds = dict[Load, list[PeerRound]]
Starts = dict[Load, list[list[PeerRound]]]  # for each start of the servers, its rounds


def measure(
    client: Executor, servers: list[MeasuredServer], texts: list[str], plan: LoadPlan, order: random.Random
) -> tuple[Rounds, dict[str, str]]:
    """Return the rounds of every server and load, and the peers that failed, with the reason.

    Raises ServerError when one of ours fails.
    """
    measured: Rounds = defaultdict(list)
    failed: dict[str, str] = {}
    for number in range(plan.rounds):
        for concurrency in plan.concurrency:
            for server in order.sample(servers, len(servers)):
                try:
                    measured[server.name, concurrency].append(_round(client, server, texts, concurrency, plan.seconds))
                except ServerError as error:
                    if server.ours:
                        raise
                    failed[server.name] = f"failed with {concurrency} texts in flight: {error.found}"
            servers = [server for server in servers if server.name not in failed]
        print(f"  round {number + 1} of {plan.rounds}", flush=True)
    return {load: _judged(rounds) for load, rounds in measured.items()}, failed


def _judged(rounds: list[PeerRound]) -> list[PeerRound]:
    """Judge the rounds of a load together: a clock that fell is seen beside the others'."""
    reasons = interference.disturbed([measured.machine for measured in rounds])
    return [replace(measured, why=why) for measured, why in zip(rounds, reasons, strict=True)]


def _round(client: Executor, server: MeasuredServer, texts: list[str], concurrency: int, seconds: float) -> PeerRound:
    """Return the first window that was not disturbed, or the last of those tried."""
    bodies = [server.protocol.body(text) for text in texts]
    for _ in range(_MOST_TRIES):
        before = interference.look(_children())
        window = client.submit(closed_loop.window, server.url, bodies, concurrency, seconds).result()
        machine = interference.between(before, interference.look(_children()))
        [why] = interference.disturbed([machine])
        if not why:
            break
    return PeerRound(window, machine, why)


def _children() -> Iterable[Any]:
    """Return the processes of all servers and the client."""
    return interference.tree(os.getpid())[1:]


def row(name: str, concurrency: int, starts: list[list[PeerRound]]) -> LoadRow:
    every = [measured for rounds in starts for measured in rounds]
    latencies = np.concatenate([measured.window.latencies for measured in every])
    p50, p99 = np.percentile(latencies, (50, 99))
    return LoadRow(
        subject=name,
        concurrency=concurrency,
        texts_per_second=[[measured.window.texts_per_second for measured in rounds] for rounds in starts],
        others_share=[[measured.machine.others_share for measured in rounds] for rounds in starts],
        steal_share=[[measured.machine.steal_share for measured in rounds] for rounds in starts],
        mhz=[[measured.machine.mhz for measured in rounds] for rounds in starts],
        disturbed=sum(bool(measured.why) for measured in every),
        p50_ms=float(p50),
        p99_ms=float(p99),
        requests=int(latencies.size),
        client_cpu_ms=float(np.median([measured.window.client_cpu_ms for measured in every])),
    )


def comparisons(names: tuple[list[str], list[str]], loads: list[int], starts: Starts) -> list[PeerComparison]:
    """Compare ours ("a") with peers ("b") under every load: texts/s and a round's p99, a ÷ b."""
    compared = []
    for a, b, concurrency in itertools.product(*names, loads):
        sides = starts[a, concurrency], starts[b, concurrency]
        pairs = [list(zip(ours, peers, strict=True)) for ours, peers in zip(*sides, strict=True)]
        for measure, figure, more_is_better in _MEASURES:
            verdict = _verdict(pairs, figure, more_is_better)
            compared.append(PeerComparison(a=a, b=b, concurrency=concurrency, measure=measure, **verdict))
    return compared


def _verdict(pairs: list[list[Pair]], figure: Callable[[Window], float], more_is_better: bool) -> dict[str, Any]:
    """Compare the undisturbed rounds; `pairs` has those of both sides for each start.

    Returns fields of PeerComparison.
    """
    undisturbed = [[pair for pair in start if not pair[0].why and not pair[1].why] for start in pairs]
    counted = sum(map(len, undisturbed))
    if why := _too_few(undisturbed, pairs, tail=not more_is_better):
        return {"rounds": counted, "ratio": None, "interval": None, "verdict": "invalid run", "why": why}
    ours, peers = ([np.array([figure(pair[side].window) for pair in start]) for start in undisturbed] for side in (0, 1))
    compared = ratio(ours, peers)
    verdict, why = statistics.verdict(compared.ratio, compared.interval, more_is_faster=more_is_better)
    return {"rounds": counted, **vars(compared), "verdict": verdict, "why": why}


def _too_few(undisturbed: list[list[Pair]], pairs: list[list[Pair]], *, tail: bool) -> str:
    """Return why the undisturbed rounds are too few; a `tail` (p99) needs requests, too."""
    counted = sum(map(len, undisturbed))
    if counted < _FOR_A_VERDICT or not all(undisturbed):
        few = f"{counted} of {sum(map(len, pairs))} rounds undisturbed, {_FOR_A_VERDICT} are needed, and one of each start"
        return "; ".join([few, *[why for start in pairs for pair in start for side in pair for why in side.why][:1]])
    fewest = min(sum(pair[side].window.latencies.size for start in undisturbed for pair in start) for side in (0, 1))
    needed = statistics.needed(99)
    return f"p99 needs {needed} requests, there are {fewest}" if tail and fewest < needed else ""
