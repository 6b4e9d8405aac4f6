"""Energy of the whole processor, as Linux reads it out of RAPL: of all that runs on it, not of the served model alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_POWERCAP = Path("/sys/class/powercap")


def packages(powercap: Path = _POWERCAP) -> list[Path]:
    """A counter for each processor, those this user may read."""
    found = sorted(powercap.glob("intel-rapl:[0-9]*/energy_uj"))
    return [one for one in found if one.parent.name.count(":") == 1 and os.access(one, os.R_OK)]  # not the zones in a package


def joules(powercap: Path = _POWERCAP) -> list[tuple[float, float]]:
    """Every counter, and where it begins anew."""
    return [
        (int(one.read_text("utf-8")) / 1e6, int(one.with_name("max_energy_range_uj").read_text("utf-8")) / 1e6)
        for one in packages(powercap)
    ]


def spent(before: list[tuple[float, float]], after: list[tuple[float, float]]) -> float | None:
    """Joules between two readings; None where there is no counter."""
    pairs = zip(before, after, strict=True)
    return sum((now - then) % most if most else now - then for (then, most), (now, _) in pairs) if before else None


def readable(powercap: Path = _POWERCAP) -> dict[str, Any]:
    if packages(powercap):
        return {"readable": True, "why": "RAPL's counters of whole processors: all that ran on them, the clients too"}
    there = sorted(powercap.glob("intel-rapl:[0-9]*"))
    return {
        "readable": False,
        "why": f"{there[0]}/energy_uj is for root alone" if there else f"no counter in {powercap}: a virtual machine has none",
    }
