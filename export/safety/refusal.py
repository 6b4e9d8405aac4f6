"""The error for a model that is not safe to load."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from slipway.errors import ConversionError


def refuse(path: Path, expected: str, found: str, fix: str = "") -> NoReturn:
    """Raise ConversionError: the file `path` does not hold what is `expected` of a model."""
    raise ConversionError(
        f"{path.name} is refused: not a model that is safe to load",
        expected=expected,
        found=found,
        where=str(path),
        fix=fix or "take the model from where you trust it, or leave that part out when you save it",
    )
