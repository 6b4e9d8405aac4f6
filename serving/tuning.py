"""The cheapest configuration of text_classifier that holds an SLO.

Pure functions; `serving.tuning_rounds` does the measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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


def configurations(engines: Sequence[str], cores: int) -> list[Configuration]:
    """Return every way to divide up to `cores` in powers of two, and one engine on all cores.

    Fewest cores come first, then the order of `engines`.
    """
    powers = [2**power for power in range(cores.bit_length()) if 2**power <= cores]
    splits = {(instances, threads) for instances in powers for threads in powers if instances * threads <= cores}
    splits |= {(1, cores)}  # where their number is no power of two
    ways = [Configuration(engine, instances, threads) for engine in engines for instances, threads in splits]
    return sorted(ways, key=lambda way: (way.cores, engines.index(way.engine), way.instances))


def too_dear(measured: Sequence[MeasuredConfiguration], following: Configuration, slo: Slo) -> bool:
    """Return whether one that costs less than `following` holds the rate, so it is not needed."""
    held = [candidate.configuration.cores for candidate in holding(measured, slo)]
    return bool(slo.rate and held) and following.cores > min(held)


def holding(measured: Sequence[MeasuredConfiguration], slo: Slo) -> list[MeasuredConfiguration]:
    """Return those that hold p99 at the rate, or without a rate at any load; the cheapest first.

    For a rate the cheapest has the fewest cores, then the fewest processes, because each holds the
    model. Without one it has the most texts/s for each core.
    """
    best = [(candidate, candidate.best(slo)) for candidate in measured]
    able = [candidate for candidate, level in best if level and level.texts_per_second >= slo.rate]

    def cost(candidate: MeasuredConfiguration) -> tuple[float, ...]:
        way, per_core = candidate.configuration, candidate.per_core(slo)
        return (way.cores, way.instances, -per_core) if slo.rate else (-per_core, way.cores)

    return sorted(able, key=cost)


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
