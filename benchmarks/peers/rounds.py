"""Every subject under every load, in turn, round by round; and what the rounds say of one beside another."""

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
from benchmarks.peers.subjects import Subject
from benchmarks.ratios import ratio
from serving import busy_machine, intervals
from train.errors import ServerError

_MOST_TRIES = 2  # of one window, while others disturb it
_FOR_A_VERDICT = 5  # rounds in which neither was disturbed
# What of a round is compared, and whether more of it is better.
_MEASURES: tuple[tuple[str, Callable[[Window], float], bool], ...] = (
    ("texts_per_second", lambda one: one.texts_per_second, True),
    ("p99_ms", lambda one: float(np.percentile(one.latencies, 99)), False),
)


@dataclass(frozen=True)
class Plan:
    concurrency: list[int]  # texts in flight, one load each
    rounds: int
    seconds: float  # of a window


@dataclass(frozen=True)
class Round:
    window: Window
    machine: dict[str, Any]  # meanwhile, as busy_machine.between has it
    why: list[str]  # it does not count; empty where it does


Pair = tuple[Round, Round]  # ours and a peer's
Load = tuple[str, int]  # the subject's name, texts in flight
Rounds = dict[Load, list[Round]]
Starts = dict[Load, list[list[Round]]]  # of each start of the servers its rounds


def measure(
    client: Executor, found: list[Subject], texts: list[str], plan: Plan, order: random.Random
) -> tuple[Rounds, dict[str, str]]:
    """The rounds of every subject and load; and why a peer has none: it failed. Raises ServerError where one of ours does."""
    measured: Rounds = defaultdict(list)
    failed: dict[str, str] = {}
    for number in range(plan.rounds):
        for concurrency in plan.concurrency:
            for one in order.sample(found, len(found)):
                try:
                    measured[one.name, concurrency].append(_round(client, one, texts, concurrency, plan.seconds))
                except ServerError as error:
                    if one.ours:
                        raise
                    failed[one.name] = f"failed with {concurrency} texts in flight: {error.found}"
            found = [one for one in found if one.name not in failed]
        print(f"  round {number + 1} of {plan.rounds}", flush=True)
    return {load: _judged(own) for load, own in measured.items()}, failed


def _judged(own: list[Round]) -> list[Round]:
    """With the clocks of all rounds beside each other."""
    why = busy_machine.disturbed([one.machine for one in own])
    return [replace(one, why=found) for one, found in zip(own, why, strict=True)]


def _round(client: Executor, subject: Subject, texts: list[str], concurrency: int, seconds: float) -> Round:
    """The first window that was not disturbed, or the last of those tried."""
    bodies = [subject.protocol.body(text) for text in texts]
    for _ in range(_MOST_TRIES):
        before = busy_machine.look(_children())
        window = client.submit(closed_loop.window, subject.url, bodies, concurrency, seconds).result()
        machine = busy_machine.between(before, busy_machine.look(_children()))
        [why] = busy_machine.disturbed([machine])
        if not why:
            break
    return Round(window, machine, why)


def _children() -> Iterable[Any]:
    """The servers, all of them, and the client."""
    return busy_machine.tree(os.getpid())[1:]


def row(name: str, concurrency: int, starts: list[list[Round]]) -> dict[str, Any]:
    """One subject under one load: of each start its rounds, disturbed ones too; percentiles over the requests of all."""
    every = [one for rounds in starts for one in rounds]
    pooled = np.concatenate([one.window.latencies for one in every])
    return {
        "subject": name,
        "concurrency": concurrency,
        "texts_per_second": [[one.window.texts_per_second for one in rounds] for rounds in starts],
        **{name: [[one.machine[name] for one in rounds] for rounds in starts] for name in ("others_share", "steal_share", "mhz")},
        "disturbed": sum(bool(one.why) for one in every),
        **{f"p{percentile}_ms": float(np.percentile(pooled, percentile)) for percentile in (50, 99)},
        "requests": int(pooled.size),
        "client_cpu_ms": float(np.median([one.window.client_cpu_ms for one in every])),
    }


def comparisons(names: tuple[list[str], list[str]], loads: list[int], starts: Starts) -> list[dict[str, Any]]:
    """Each of ours ("a") against each peer ("b") under every load: texts/s, and the p99 of a round. Ratios are a ÷ b."""
    found = []
    for a, b, concurrency in itertools.product(*names, loads):
        sides = starts[a, concurrency], starts[b, concurrency]
        pairs = [list(zip(mine, theirs, strict=True)) for mine, theirs in zip(*sides, strict=True)]
        for measure, figure, more_is_better in _MEASURES:
            named = {"a": a, "b": b, "concurrency": concurrency, "measure": measure}
            found.append({**named, **_compared(pairs, figure, more_is_better)})
    return found


def _compared(pairs: list[list[Pair]], figure: Callable[[Window], float], more_is_better: bool) -> dict[str, Any]:
    """`pairs`: of each start the rounds of both. Those in which one was disturbed do not count."""
    whole = [[pair for pair in start if not pair[0].why and not pair[1].why] for start in pairs]
    counted = sum(map(len, whole))
    if why := _too_few(whole, pairs, tail=not more_is_better):
        return {"rounds": counted, "ratio": None, "interval": None, "verdict": "invalid run", "why": why}
    ours, theirs = ([np.array([figure(pair[side].window) for pair in start]) for start in whole] for side in (0, 1))
    found = ratio(ours, theirs)
    verdict, why = intervals.verdict(found["ratio"], found["interval"], more_is_faster=more_is_better)
    return {"rounds": counted, **found, "verdict": verdict, "why": why}


def _too_few(whole: list[list[Pair]], pairs: list[list[Pair]], *, tail: bool) -> str:
    """Why the undisturbed pairs, of each start, are not enough; of a `tail`, a p99, the requests of either side, too."""
    counted = sum(map(len, whole))
    if counted < _FOR_A_VERDICT or not all(whole):
        few = f"{counted} of {sum(map(len, pairs))} rounds undisturbed, {_FOR_A_VERDICT} are needed, and one of each start"
        return "; ".join([few, *[why for start in pairs for pair in start for side in pair for why in side.why][:1]])
    fewest = min(sum(pair[side].window.latencies.size for start in whole for pair in start) for side in (0, 1))
    needed = intervals.needed(99)
    return f"p99 needs {needed} requests, there are {fewest}" if tail and fewest < needed else ""
