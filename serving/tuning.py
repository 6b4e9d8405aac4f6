"""Which configuration of text_classifier is the cheapest that holds an SLO: candidates, and the choice among those measured.

Pure functions; `serving.tune` does the measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Slo:
    p99_ms: float
    rate: float = 0.0  # texts/s that have to be held at that; 0: as many as it takes to be cheap


@dataclass(frozen=True)
class Candidate:
    engine: str  # a variant
    instances: int  # Python processes, each with an engine of its own
    threads: int  # of each engine

    @property
    def cores(self) -> int:
        """What it costs: cores that are busy under full load."""
        return self.instances * self.threads


@dataclass(frozen=True)
class Level:
    """One load on one candidate, over all rounds."""

    clients: int
    texts_per_second: float
    p99_ms: float


@dataclass(frozen=True)
class Measured:
    candidate: Candidate
    levels: tuple[Level, ...]

    def best(self, slo: Slo) -> Level | None:
        """The highest load whose p99 holds."""
        holding = [one for one in self.levels if one.p99_ms <= slo.p99_ms]
        return max(holding, key=lambda one: one.texts_per_second, default=None)

    def per_core(self, slo: Slo) -> float:
        """Texts a second for each core, at the highest load that holds; 0 where none does."""
        level = self.best(slo)
        return level.texts_per_second / self.candidate.cores if level else 0.0


def candidates(engines: Sequence[str], cores: int) -> list[Candidate]:
    """Every way to divide up to `cores` in powers of two; fewest cores first, then in the order of `engines`."""
    powers = [2**power for power in range(cores.bit_length()) if 2**power <= cores]
    splits = {(instances, threads) for instances in powers for threads in powers if instances * threads <= cores}
    splits |= {(1, cores)}  # of a number of cores that is no power of two
    found = [Candidate(engine, instances, threads) for engine in engines for instances, threads in splits]
    return sorted(found, key=lambda one: (one.cores, engines.index(one.engine), one.instances))


def enough(measured: Sequence[Measured], following: Candidate, slo: Slo) -> bool:
    """Whether `following` cannot be the choice any more: the rate is held by one that costs less."""
    held = [one.candidate.cores for one in holding(measured, slo)]
    return bool(slo.rate and held) and following.cores > min(held)


def holding(measured: Sequence[Measured], slo: Slo) -> list[Measured]:
    """Those that hold p99 at the rate, or where none is asked for at any load; the cheapest first.

    For a rate the cheapest has the fewest cores, then the fewest processes, each of which holds the model. Without one it is
    the one with the most texts a second for each core.
    """
    able = [(one, one.best(slo)) for one in measured]
    found = [one for one, level in able if level and level.texts_per_second >= slo.rate]
    if not slo.rate:
        return sorted(found, key=lambda one: (-one.per_core(slo), one.candidate.cores))
    return sorted(found, key=lambda one: (one.candidate.cores, one.candidate.instances, -one.per_core(slo)))


def reason(chosen: Measured, measured: Sequence[Measured], slo: Slo) -> str:
    """Why that one, in a sentence or two, from the figures."""
    level, candidate = chosen.best(slo), chosen.candidate
    if level is None:
        raise ValueError("the chosen one does not hold the SLO")
    holds = "1 core holds" if candidate.cores == 1 else f"{candidate.cores} cores hold"
    said = f"{holds} {level.texts_per_second:.0f} texts/s at a p99 of {level.p99_ms:.0f} ms"
    if slo.rate:
        cheaper = [one for one in measured if one.candidate.cores < candidate.cores]
        most = max((one.best(slo) for one in cheaper), key=lambda one: one.texts_per_second if one else 0.0, default=None)
        below = f"{most.texts_per_second:.0f} texts/s" if most else "none"
        return f"{said}; with fewer cores, the most that hold it is {below}" if cheaper else f"{said}; nothing is cheaper"
    return f"{said}, which is {chosen.per_core(slo):.0f} for each core; {_largest(measured, slo)}"


def _largest(measured: Sequence[Measured], slo: Slo) -> str:
    levels = [(one, one.best(slo)) for one in measured]
    most, level = max(((one, level) for one, level in levels if level), key=lambda pair: pair[1].texts_per_second)
    cores = f"{most.candidate.cores} core{'s' if most.candidate.cores > 1 else ''}"
    return f"the most at all is {level.texts_per_second:.0f} texts/s, with {cores}"
