"""The values that command-line flags may have: types for argparse that say what they expected."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def count(most: int) -> Callable[[str], int]:
    """Return argparse's type of a whole number from 1 to `most`."""

    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a number from 1 to {most}, found {text}")
        return int(text)

    return number


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
    return value
