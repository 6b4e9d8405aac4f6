"""The search of `slipway tune`: which configurations there are, what each holds, which is cheapest.

They are served by the embedded Triton, one after the other, and the load on each rises until its
p99 is too high.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serving.load import perf_analyzer
from serving.load.perf_analyzer import Load, LoadResult
from serving.repository import embedded
from serving.repository.embedded import Share
from serving.server import triton
from serving.server.triton import Server
from slipway.contract import manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.records import REPOSITORY, TEXT_MODEL

_CLIENTS = (1, 2, 4, 8, 16, 32, 64)
_MOST_ROUNDS = 3
# With fewer requests a 99th percentile is one or two of them: the load is run again, at most so
# often.
_LEAST_REQUESTS, _MOST_RUNS = 200, 3
# Shares of the best load that are offered at random where no rate is asked for: the first is what
# one would plan for, the others are what is left of it when texts come at random.
_SHARES = (0.7, 0.5, 0.35)
_KEPT_UP = 0.9  # share of what was sent that has to be answered meanwhile, or the queue grows
_SENT = 0.8  # share of the rate that has to be sent: with less the client cannot keep up
# Texts at random come in bursts: a window has so many at least, or so many seconds.
_REQUESTS_A_WINDOW, _LONGEST_WINDOW = 100, 5
_MOST_OPEN_TRIES = 3  # configurations with texts that arrive at random, where a rate is asked for


@dataclass(frozen=True)
class Slo:
    """A service level objective."""

    p99_ms: float  # 99 of 100 texts are answered within it
    rate: float = 0.0  # texts/s that have to be held at that; 0: as many as it takes to be cheap


@dataclass(frozen=True)
class Configuration:
    """A way to serve text_classifier."""

    engine: str  # a variant
    instances: int  # Python processes, each with an engine of its own
    threads: int  # of each engine

    @property
    def cores(self) -> int:
        """Cores that are busy under full load: what it costs."""
        return self.instances * self.threads


@dataclass(frozen=True)
class Level:
    """One load on one configuration."""

    clients: int  # 0: texts arrive at random
    texts_per_second: float
    p99_ms: float  # infinite: a call failed, or a request was not answered

    def to_json(self) -> dict[str, float | None]:
        """Return the load for JSON, which knows no infinity."""
        return {**asdict(self), "p99_ms": self.p99_ms if np.isfinite(self.p99_ms) else None}


@dataclass(frozen=True)
class MeasuredConfiguration:
    """A configuration with its loads, each over all rounds."""

    configuration: Configuration
    levels: tuple[Level, ...]

    def best(self, slo: Slo) -> Level | None:
        """Return the load of most texts/s whose p99 holds."""
        holding = [level for level in self.levels if level.p99_ms <= slo.p99_ms]
        return max(holding, key=lambda level: level.texts_per_second, default=None)

    def per_core(self, slo: Slo) -> float:
        """Return the texts/s for each core at the best load; 0 where none holds."""
        level = self.best(slo)
        return level.texts_per_second / self.configuration.cores if level else 0.0


@dataclass
class Trials:
    """The results of one configuration, for every load in every round."""

    configuration: Configuration
    results: dict[int, list[list[LoadResult]]] = field(default_factory=dict)  # by clients, and round
    ready_seconds: list[float] = field(default_factory=list)

    def requests(self, clients: int) -> int:
        return sum(result.latencies.size for results in self.results[clients] for result in results)

    def failures(self) -> list[str]:
        every = (result for rounds in self.results.values() for results in rounds for result in results)
        return [result.failure for result in every if result.failure]

    def measured(self) -> MeasuredConfiguration:
        """Return the median round of each load, so that one disturbed round does not decide."""
        levels = tuple(_median_level(clients, rounds) for clients, rounds in self.results.items())
        return MeasuredConfiguration(self.configuration, levels)


@dataclass(frozen=True)
class OpenTrial:
    """A configuration under texts that arrive at random."""

    configuration: Configuration
    rate: float  # texts/s that were asked for
    sent: float  # texts/s that were sent
    level: Level
    held: bool  # the SLO was held, and the client and the server kept up
    command: str

    def to_json(self) -> dict[str, Any]:
        offered = {"rate": self.rate, "sent": self.sent, "held": self.held, "command": self.command}
        return {**asdict(self.configuration), **offered, **self.level.to_json()}


@dataclass(frozen=True)
class TuningSetup:
    """Everything that all configurations are measured with."""

    run: Path
    source: Bundle
    golden: Golden
    artifacts: dict[str, Artifact]
    inputs: Path
    slo: Slo
    window_ms: int


def configurations(engines: Sequence[str], cores: int) -> list[Configuration]:
    """Return every division of up to `cores` in powers of two; fewest cores first."""
    powers = [2**power for power in range(cores.bit_length()) if 2**power <= cores]
    splits = {(instances, threads) for instances in powers for threads in powers if instances * threads <= cores}
    splits |= {(1, cores)}  # where their number is no power of two
    ways = [Configuration(engine, instances, threads) for engine in engines for instances, threads in splits]
    return sorted(ways, key=lambda way: (way.cores, engines.index(way.engine), way.instances))


def measure_configurations(setup: TuningSetup, ways: list[Configuration], ends: float) -> list[Trials]:
    """Measure each in turn, again while there is time; what was not tried is not returned."""
    trials: dict[Configuration, Trials] = {}
    longest = 0.0
    for number in range(_MOST_ROUNDS):
        for way in ways:
            started = time.monotonic()
            if trials and started + longest > ends:
                return list(trials.values())
            if number == 0 and too_dear([tried.measured() for tried in trials.values()], way, setup.slo):
                break
            if number == 0 or way in trials:
                tried = trials.setdefault(way, Trials(way))
                _raise_load(setup, tried)
                longest = max(longest, time.monotonic() - started)
                level = tried.measured().best(setup.slo)
                best = f"{level.texts_per_second:.0f} texts/s at {level.p99_ms:.0f} ms" if level else "no load holds"
                print(f"            {way.engine}, {way.instances} × {way.threads} threads: {best}", flush=True)
    return list(trials.values())


def _raise_load(setup: TuningSetup, tried: Trials) -> None:
    """Measure one round of one configuration."""
    with _served(setup, tried.configuration) as server:
        tried.ready_seconds.append(server.ready_seconds)
        for clients in _CLIENTS:
            results = _run_until_enough(_closed_loop(setup, server, clients), setup.inputs)
            tried.results.setdefault(clients, []).append(results)
            if _level(clients, results).p99_ms > setup.slo.p99_ms:
                break


@contextmanager
def _served(setup: TuningSetup, way: Configuration) -> Iterator[Server]:
    """Serve text_classifier alone, so configured, and warm; in the run, for its links."""
    with tempfile.TemporaryDirectory(prefix=".tuning-", dir=setup.run) as scratch:
        repository = Path(scratch) / "model_repository"
        repository.mkdir()
        variant, share = setup.artifacts[way.engine], Share(way.instances, way.threads)
        embedded.write_text_model(repository, variant, setup.source, setup.golden, share)
        manifest.seal(repository, REPOSITORY, {TEXT_MODEL: way.engine, "models": {}})
        with triton.running(repository) as server:
            perf_analyzer.run(_closed_loop(setup, server, clients=2), setup.inputs)  # not counted
            yield server


def _closed_loop(setup: TuningSetup, server: Server, clients: int) -> Load:
    return Load(TEXT_MODEL, "grpc", server.grpc, clients, setup.window_ms)


def _run_until_enough(load: Load, inputs: Path) -> list[LoadResult]:
    """Run the load until a 99th percentile can be read from it, or a call fails."""
    results: list[LoadResult] = []
    while len(results) < _MOST_RUNS and sum(result.latencies.size for result in results) < _LEAST_REQUESTS:
        results.append(perf_analyzer.run(replace(load, seed=len(results)), inputs))
        if results[-1].failure:
            break
    return results


def _level(clients: int, results: list[LoadResult]) -> Level:
    """Return a load in one round. It holds nothing if a call failed or a request got no answer."""
    if any(result.failure or result.errors for result in results):
        return Level(clients, 0.0, float("inf"))
    latencies = np.concatenate([result.latencies for result in results])
    rate = float(np.median([result.throughput for result in results]))
    return Level(clients, rate, float(np.percentile(latencies, 99)))


def _median_level(clients: int, rounds: list[list[LoadResult]]) -> Level:
    levels = [_level(clients, results) for results in rounds]
    p99s = [level.p99_ms for level in levels]
    p99 = float(np.percentile(p99s, 50, method="higher"))  # there is no mean with an infinity
    return Level(clients, float(np.median([level.texts_per_second for level in levels])), p99)


def too_dear(measured: Sequence[MeasuredConfiguration], following: Configuration, slo: Slo) -> bool:
    """Return whether one that costs less than `following` holds the rate, so it is not needed."""
    held = [candidate.configuration.cores for candidate in holding(measured, slo)]
    return bool(slo.rate and held) and following.cores > min(held)


def holding(measured: Sequence[MeasuredConfiguration], slo: Slo) -> list[MeasuredConfiguration]:
    """Return those that hold the SLO, cheapest first: fewest cores, or most texts/s a core."""
    best = [(candidate, candidate.best(slo)) for candidate in measured]
    able = [candidate for candidate, level in best if level and level.texts_per_second >= slo.rate]

    def cost(candidate: MeasuredConfiguration) -> tuple[float, ...]:
        way, per_core = candidate.configuration, candidate.per_core(slo)
        return (way.cores, way.instances, -per_core) if slo.rate else (-per_core, way.cores)

    return sorted(able, key=cost)


def choose(setup: TuningSetup, trials: list[Trials]) -> tuple[MeasuredConfiguration | None, list[OpenTrial]]:
    """Return the cheapest that holds the SLO also when texts arrive at random, and all tried so."""
    opened = []
    for candidate, rate in _open_rates(holding([tried.measured() for tried in trials], setup.slo), setup.slo):
        opened.append(_try_open(setup, candidate.configuration, rate))
        if opened[-1].held:
            return candidate, opened
    return None, opened


def _open_rates(holding: list[MeasuredConfiguration], slo: Slo) -> list[tuple[MeasuredConfiguration, float]]:
    """Return what is tried with texts that arrive at random until one holds, and the texts/s."""
    if slo.rate:
        return [(candidate, slo.rate) for candidate in holding[:_MOST_OPEN_TRIES]]
    best = [(candidate, candidate.best(slo)) for candidate in holding[:1]]
    return [(candidate, share * level.texts_per_second) for candidate, level in best if level for share in _SHARES]


def _try_open(setup: TuningSetup, way: Configuration, rate: float) -> OpenTrial:
    window = max(setup.window_ms, round(1000 * min(_REQUESTS_A_WINDOW / rate, _LONGEST_WINDOW)))
    with _served(setup, way) as server:
        load = replace(_closed_loop(setup, server, clients=2), rate=rate, window_ms=window)
        results = _run_until_enough(load, setup.inputs)
    level, sent = _level(0, results), float(np.median([result.sent for result in results]))
    kept_up = sent >= _SENT * rate and level.texts_per_second >= _KEPT_UP * sent
    held = level.p99_ms <= setup.slo.p99_ms and kept_up
    return OpenTrial(way, rate, sent, level, held, results[0].command)


def reason(chosen: MeasuredConfiguration, measured: Sequence[MeasuredConfiguration], slo: Slo) -> str:
    """Return why that one was chosen, in a sentence or two."""
    level, cores = chosen.best(slo), chosen.configuration.cores
    if level is None:
        raise ValueError("the chosen one does not hold the SLO")
    holds = "1 core holds" if cores == 1 else f"{cores} cores hold"
    figures = f"{holds} {level.texts_per_second:.0f} texts/s at a p99 of {level.p99_ms:.0f} ms"
    if not slo.rate:
        return f"{figures}, which is {chosen.per_core(slo):.0f} for each core; {_largest(measured, slo)}"
    cheaper = [candidate.best(slo) for candidate in measured if candidate.configuration.cores < cores]
    if not cheaper:
        return f"{figures}; nothing is cheaper"
    most = max((best.texts_per_second for best in cheaper if best), default=None)
    below = "none" if most is None else f"{most:.0f} texts/s"
    return f"{figures}; with fewer cores, the most that hold it is {below}"


def _largest(measured: Sequence[MeasuredConfiguration], slo: Slo) -> str:
    levels = [(candidate.configuration.cores, candidate.best(slo)) for candidate in measured]
    cores, most = max(((cores, level.texts_per_second) for cores, level in levels if level), key=lambda pair: pair[1])
    return f"the most at all is {most:.0f} texts/s, with {cores} core{'s' if cores > 1 else ''}"
