"""Commands as a person runs them in this checkout: `slipway …` or `python …`, outputs captured."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
Once = Callable[[str, Callable[[Path], object]], Path]  # the fixture `once`


def command(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python …`."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def slipway(*words: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `slipway …`, whatever its end."""
    return command("-m", "slipway.cli", *words, environment=environment)


def succeed(*arguments: object) -> str:
    """Run `python …`; return what it printed. It has to exit with 0."""
    return _output(command(*arguments))


def slipway_output(*words: object) -> str:
    """Run `slipway …`; return what it printed. It has to exit with 0."""
    return _output(slipway(*words))


def _output(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
