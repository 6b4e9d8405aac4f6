"""Options that several commands share, and the types of their values: each is written once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

_LAST_PORT = 65535


def run(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """Add RUN, the run's directory."""
    parser.add_argument("run", type=Path, metavar="RUN", nargs=nargs, help="the run's directory, for example runs/demo")


def repository(parser: argparse.ArgumentParser) -> None:
    """Add --repository, where versions are published."""
    parser.add_argument(
        "--repository",
        type=Path,
        default=Path("model_repository"),
        help="where versions are published; default: %(default)s",
    )


def port(parser: argparse.ArgumentParser, default: int = 8000) -> None:
    """Add --port: HTTP's; gRPC and metrics are the next two."""
    parser.add_argument("--port", type=_port, default=default, help="HTTP; gRPC and metrics are the next two; default: %(default)s")


def count(most: int, least: int = 1) -> Callable[[str], int]:
    """Return a type for argparse: a whole number from `least` to `most`."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a number from {least} to {most}, found {text}")
        return int(text)

    return number


def positive(text: str) -> float:
    """Read a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
    return value


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, found {text}")
    return value


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _LAST_PORT - 2:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to {_LAST_PORT - 2}, found {text}")
    return int(text)
