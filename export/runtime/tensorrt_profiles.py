"""TensorRT's optimization profiles, an engine's machine, and its timing cache. Pure functions."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway import errors
from slipway.contract.bundle import Bundle, Golden
from slipway.errors import ConversionError

Lengths = NDArray[np.int64]
_TILE = 16  # tokens; kernels work in tiles, so lengths within one cost about the same
MOST_ROWS = 32  # in one run of an engine: what the gate and the server batch
# Of sequence lengths; each adds two profiles, and with them minutes to the build and memory to
# every context.
_MOST_RANGES = 3


@dataclass(frozen=True)
class Profile:
    """An optimization profile: least and largest (batch, sequence), and the one it is tuned for."""

    least: tuple[int, int]
    best: tuple[int, int]
    most: tuple[int, int]

    def holds(self, batch: int, sequence: int) -> bool:
        return self.least[0] <= batch <= self.most[0] and self.least[1] <= sequence <= self.most[1]


def for_bundle(source: Bundle, golden: Golden) -> list[Profile]:
    """Plan the profiles for texts as long as the golden ones."""
    return plan_profiles(golden.ids.lengths, source.max_seq_len, MOST_ROWS)


def plan_profiles(lengths: Lengths, max_seq_len: int, max_batch: int) -> list[Profile]:
    """Plan profiles for texts of these `lengths` [rows], tokens. The first accepts every shape.

    TensorRT is fastest at the shape a profile is tuned for, and loses with the distance from it,
    nobody says how fast. So the lengths are cut into the fewest ranges whose texts are, on average,
    within a tile of the length their range is tuned for: exactly the k-medians of the histogram.
    Each range is tuned once for a single text and once for a full batch.
    """
    ranges = _ranges(np.minimum(lengths, max_seq_len), max_seq_len)
    median = int(np.median(np.minimum(lengths, max_seq_len)))
    profiles = [Profile((1, 1), (max_batch, _rounded(median, max_seq_len)), (max_batch, max_seq_len))]
    for first, best, last in ranges:
        profiles.append(Profile((1, first), (1, best), (1, last)))
        if len(ranges) > 1:
            profiles.append(Profile((1, first), (max_batch, best), (max_batch, last)))
    return list(dict.fromkeys(profiles))


def _rounded(tokens: int, max_seq_len: int) -> int:
    return min(-(-tokens // _TILE) * _TILE, max_seq_len)


def _ranges(lengths: Lengths, max_seq_len: int) -> list[tuple[int, int, int]]:
    """Return (first, tuned for, last) tokens of the fewest ranges that are fine enough."""
    tiles, counts = np.unique(np.minimum(-(-lengths // _TILE) * _TILE, max_seq_len), return_counts=True)

    def tuned(start: int, stop: int) -> tuple[int, float]:
        """Return tiles[start:stop]'s weighted median and the texts' summed distance from it."""
        middle = np.searchsorted(np.cumsum(counts[start:stop]), counts[start:stop].sum() / 2)
        best = tiles[start:stop][middle]
        return int(best), float((counts[start:stop] * np.abs(tiles[start:stop] - best)).sum())

    def parts(cuts: tuple[int, ...]) -> list[tuple[int, int]]:
        return list(zip((0, *cuts), (*cuts, len(tiles)), strict=True))

    def distance(cuts: tuple[int, ...]) -> float:
        return sum(tuned(*part)[1] for part in parts(cuts))

    most = min(_MOST_RANGES, len(tiles))
    for number in range(1, most + 1):
        cuts = min(combinations(range(1, len(tiles)), number - 1), key=distance)
        if distance(cuts) / len(lengths) <= _TILE or number == most:
            break
    firsts = [1, *(int(tiles[cut - 1]) + 1 for cut in cuts)]
    lasts = [*(first - 1 for first in firsts[1:]), max_seq_len]
    return [(first, tuned(*part)[0], last) for first, part, last in zip(firsts, parts(cuts), lasts, strict=True)]


def choose(profiles: list[Profile], batch: int, sequence: int) -> int:
    """Return the number of the profile that holds the shape and is tuned nearest to it, by ratio.

    Raises ConversionError when none holds it.
    """
    holding = [number for number, profile in enumerate(profiles) if profile.holds(batch, sequence)]
    if not holding:
        largest = max(profile.most for profile in profiles)
        raise ConversionError(
            "the engine was not built for this shape",
            expected=f"at most {largest[0]} texts of {largest[1]} tokens",
            found=f"{batch} texts of {sequence} tokens",
            where="the engine's optimization profiles",
            fix="send smaller batches, or build with a larger max_seq_len",
        )

    def away(number: int) -> float:
        best = profiles[number].best
        return abs(log(batch / best[0])) + abs(log(sequence / best[1]))

    return min(holding, key=away)


@dataclass(frozen=True)
class Fingerprint:
    """The machine an engine was built on and for: kernels are compiled and timed on its GPU.

    The GPU's name is part of it, because two models of one compute capability differ in their
    number of cores.
    """

    tensorrt: str  # its build: 10.16.1.11
    gpu: str  # NVIDIA H200
    compute_capability: str  # 9.0
    system: str  # Linux x86_64
    driver: str  # 580.65.06

    @staticmethod
    def of(facts: dict[str, Any]) -> Fingerprint:
        """Read one out of a manifest. A field that is not recorded there equals no other."""
        return Fingerprint(**{field.name: str(facts.get(field.name, "not recorded")) for field in fields(Fingerprint)})

    def facts(self) -> dict[str, str]:
        return asdict(self)


def differences(recorded: Fingerprint, here: Fingerprint) -> dict[str, tuple[str, str]]:
    """Return each field that differs → (recorded, here)."""
    pairs = {name: (value, here.facts()[name]) for name, value in recorded.facts().items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def refuse_elsewhere(recorded: Fingerprint, here: Fingerprint, engine: Path) -> None:
    """Raise ConversionError when the run's artifacts/<variant>/<engine> is another machine's."""
    if different := differences(recorded, here):
        raise ConversionError(
            "the engine was built for another machine",
            expected=", ".join(f"{name} {pair[0]}" for name, pair in different.items()),
            found=", ".join(f"{name} {pair[1]}" for name, pair in different.items()),
            where=str(engine),
            fix=f"build it here: {errors.command('export', engine.parents[2])}",
        )


def timing_cache(artifacts: Path, here: Fingerprint) -> Path:
    """Return the file of this machine's kernel timings. Variants share it; it outlives them.

    Timings of another GPU, driver or TensorRT would choose the wrong kernels: each machine has its
    own file.
    """
    key = "-".join(here.facts().values())
    return artifacts / ".timing" / (re.sub(r"[^A-Za-z0-9.]+", "-", key) + ".cache")
