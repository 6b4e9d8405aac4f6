"""Commands as a person runs them in this checkout: `slipway …` or `python …`, outputs captured."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from slipway import cli

CHECKOUT = Path(__file__).parents[2]
Once = Callable[[str, Callable[[Path], object]], Path]  # the fixture `once`
# Commands that change nothing in the process that runs them, and would start TensorFlow or ONNX
# Runtime's tools first, for 2 to 6 s each.
_IN_PROCESS = ("import", "export", "check", "build", "publish", "promote", "rollback", "status", "lint", "report", "compare")


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
    """Run `slipway …`, whatever its end; in this process where the command lets it."""
    if words[0] in _IN_PROCESS and not environment:
        return _in_process(["slipway", *map(str, words)])
    return command("-m", "slipway.cli", *words, environment=environment)


def _in_process(words: list[str]) -> subprocess.CompletedProcess[str]:
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with (
            contextlib.chdir(CHECKOUT),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(sys, "argv", words),
            mock.patch.dict(os.environ),
            warnings.catch_warnings(action="ignore"),  # as a person's Python does, and not as pytest
        ):
            cli.main()
    except SystemExit as end:
        return subprocess.CompletedProcess(words, int(end.code or 0), out.getvalue(), err.getvalue())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def succeed(*arguments: object) -> str:
    """Run `python …`; return what it printed. It has to exit with 0."""
    return _output(command(*arguments))


def slipway_output(*words: object) -> str:
    """Run `slipway …`; return what it printed. It has to exit with 0."""
    return _output(slipway(*words))


def _output(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
