"""Commands whose streams are a terminal, a file, a pipe or nothing."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import tempfile
import threading

from tests.support.command import CHECKOUT


def on_terminal(
    words: list[str], *, stdout: str, stderr: str = "terminal", environment: dict[str, str] | None = None
) -> tuple[bytes, bytes]:
    """Run a command with streams that are a "file", a "pipe", "null" or the "terminal"; return what
    came on stdout, if it is no terminal, and what the terminal showed. It has to exit with 0.
    """
    ours, its = pty.openpty()
    with tempfile.TemporaryFile() as file:
        targets = {"file": file, "pipe": subprocess.PIPE, "null": subprocess.DEVNULL, "terminal": its}
        with subprocess.Popen(
            words,
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=targets[stdout],
            stderr=targets[stderr],
        ) as process:
            os.close(its)
            shown: list[bytes] = []
            watching = threading.Thread(target=_watch, args=(ours, shown))
            watching.start()
            out, _ = process.communicate(timeout=60)
            watching.join()
        os.close(ours)
        file.seek(0)
        assert process.returncode == 0, b"".join(shown)
        return out or file.read(), b"".join(shown)


def _watch(terminal: int, shown: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # that is how a terminal ends
        while part := os.read(terminal, 4096):
            shown.append(part)
