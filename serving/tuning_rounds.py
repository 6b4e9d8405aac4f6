"""Measuring serving.tune's candidates: each served on the embedded Triton in turn, under loads that rise until p99 is too high."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.artifact import Artifact
from serving import embedded_models, perf_analyzer, triton, tuning
from serving.embedded_models import Share
from serving.perf_analyzer import Load, Result
from serving.records import REPOSITORY, TEXT_MODEL
from serving.triton import Server
from serving.tuning import Candidate, Level, Measured, Slo
from train import manifest
from train.bundle import Bundle

_CLIENTS = (1, 2, 4, 8, 16, 32, 64)
_MOST_ROUNDS = 3
_LEAST_REQUESTS = 200  # below these a 99th percentile is one request or two: the load is run again, at most so often:
_MOST_RUNS = 3
# Of the highest load that held, where no rate is asked for: the first is what one would plan for, the others what is left of it
# when texts come at random.
_SHARES = (0.7, 0.5, 0.35)
_KEPT_UP = 0.9  # of what was sent has to be answered meanwhile, or the queue grows
_SENT = 0.8  # of the rate has to have been sent: less is no chance of 200 requests, but a client that cannot keep up
_REQUESTS_A_WINDOW, _LONGEST_WINDOW = 100, 5  # texts at random come in bursts: so many at least, or so many seconds
_MOST_TRIES = 3  # of candidates with texts that arrive at random, where a rate is asked for


@dataclass
class Tried:
    """One candidate: what every load gave, in every round."""

    candidate: Candidate
    results: dict[int, list[list[Result]]] = field(default_factory=dict)  # by clients, and round
    ready_seconds: list[float] = field(default_factory=list)

    def requests(self, clients: int) -> int:
        return sum(one.latencies.size for results in self.results[clients] for one in results)

    def failures(self) -> list[str]:
        every = (one for rounds in self.results.values() for results in rounds for one in results)
        return [one.failure for one in every if one.failure]

    def measured(self) -> Measured:
        """A load over all rounds: the median round, since what disturbs the machine in one should not decide."""
        return Measured(self.candidate, tuple(_median(clients, rounds) for clients, rounds in self.results.items()))


@dataclass(frozen=True)
class Bench:
    """What all candidates are measured with."""

    run: Path
    source: Bundle
    artifacts: dict[str, Artifact]
    inputs: Path
    slo: Slo
    window_ms: int


def rounds(bench: Bench, found: list[Candidate], ends: float) -> list[Tried]:
    """Every candidate in turn, again and again while there is time for it; what there was no time for at all is not in it."""
    tried: dict[Candidate, Tried] = {}
    longest = 0.0
    for number in range(_MOST_ROUNDS):
        for candidate in found:
            started = time.monotonic()
            if tried and started + longest > ends:
                return list(tried.values())
            if number == 0 and tuning.enough([one.measured() for one in tried.values()], candidate, bench.slo):
                break
            if number == 0 or candidate in tried:
                one = tried.setdefault(candidate, Tried(candidate))
                _try(bench, one)
                longest = max(longest, time.monotonic() - started)
                print(f"            {_named(candidate)}: {_said(one.measured().best(bench.slo))}", flush=True)
    return list(tried.values())


def _try(bench: Bench, tried: Tried) -> None:
    """One round of one candidate: loads that rise until p99 is too high."""
    with _served(bench, tried.candidate) as server:
        tried.ready_seconds.append(server.ready_seconds)
        perf_analyzer.run(_load(bench, server, clients=2), bench.inputs)  # warms the engine up, not counted
        for clients in _CLIENTS:
            results = _enough(bench, _load(bench, server, clients))
            tried.results.setdefault(clients, []).append(results)
            if _level(clients, results).p99_ms > bench.slo.p99_ms:
                break


@contextmanager
def _served(bench: Bench, candidate: Candidate) -> Iterator[Server]:
    """text_classifier alone, so configured. The models are linked, so the directory is beside them."""
    with tempfile.TemporaryDirectory(prefix=".tuning-", dir=bench.run) as scratch:
        repository = Path(scratch) / "model_repository"
        repository.mkdir()
        one = bench.artifacts[candidate.engine]
        embedded_models.write_text_model(repository, one, bench.source, Share(candidate.instances, candidate.threads))
        manifest.seal(repository, REPOSITORY, {TEXT_MODEL: candidate.engine, "models": {}})
        with triton.running(repository) as server:
            yield server


def _load(bench: Bench, server: Server, clients: int) -> Load:
    return Load(TEXT_MODEL, "grpc", server.grpc, clients, bench.window_ms)


def _enough(bench: Bench, load: Load) -> list[Result]:
    """The load, run until a 99th percentile can be read from it."""
    results: list[Result] = []
    while len(results) < _MOST_RUNS and sum(one.latencies.size for one in results) < _LEAST_REQUESTS:
        results.append(perf_analyzer.run(replace(load, seed=len(results)), bench.inputs))
        if results[-1].failure:
            break
    return results


def _level(clients: int, results: list[Result]) -> Level:
    """One load in one round. Where a run failed, or a request was not answered, it holds nothing."""
    if any(one.failure or one.errors for one in results):
        return Level(clients, 0.0, float("inf"))
    latencies = np.concatenate([one.latencies for one in results])
    return Level(clients, float(np.median([one.throughput for one in results])), float(np.percentile(latencies, 99)))


def _median(clients: int, rounds: list[list[Result]]) -> Level:
    levels = [_level(clients, results) for results in rounds]
    rates, p99s = [one.texts_per_second for one in levels], [one.p99_ms for one in levels]
    return Level(clients, float(np.median(rates)), float(np.percentile(p99s, 50, method="higher")))  # no mean with an infinity


def choose(bench: Bench, tried: list[Tried]) -> tuple[Measured | None, list[dict[str, Any]]]:
    """The cheapest that holds the SLO, also with texts that arrive at random; and all that were tried so."""
    holding = tuning.holding([one.measured() for one in tried], bench.slo)
    tries = []
    for one, rate in _at_random(holding, bench.slo):
        results = _arriving(bench, one.candidate, rate)
        found, sent = _level(0, results), float(np.median([result.sent for result in results]))
        came = sent >= _SENT * rate and found.texts_per_second >= _KEPT_UP * sent
        held = found.p99_ms <= bench.slo.p99_ms and came
        tries.append(
            {**asdict(one.candidate), "rate": rate, "sent": sent, **figures(found), "held": held, "command": results[0].command}
        )
        if held:
            return one, tries
    return None, tries


def _at_random(holding: list[Measured], slo: Slo) -> list[tuple[Measured, float]]:
    """What is tried with texts that arrive at random, until one holds, and at how many a second."""
    if slo.rate:
        return [(one, slo.rate) for one in holding[:_MOST_TRIES]]
    levels = [(one, one.best(slo)) for one in holding[:1]]
    return [(one, share * level.texts_per_second) for one, level in levels if level for share in _SHARES]


def _arriving(bench: Bench, candidate: Candidate, rate: float) -> list[Result]:
    """The candidate under texts that arrive at random."""
    window = 1000 * min(_REQUESTS_A_WINDOW / rate, _LONGEST_WINDOW)
    with _served(bench, candidate) as server:
        closed = _load(bench, server, clients=2)
        perf_analyzer.run(closed, bench.inputs)  # warms the engine up, not counted
        return _enough(bench, replace(closed, rate=rate, window_ms=max(bench.window_ms, round(window))))


def figures(level: Level) -> dict[str, float | None]:
    """JSON knows no infinity."""
    return {"texts_per_second": level.texts_per_second, "p99_ms": level.p99_ms if np.isfinite(level.p99_ms) else None}


def _named(candidate: Candidate) -> str:
    return f"{candidate.engine}, {candidate.instances} × {candidate.threads} threads"


def _said(level: Level | None) -> str:
    return f"{level.texts_per_second:.0f} texts/s at {level.p99_ms:.0f} ms" if level else "no load holds"
