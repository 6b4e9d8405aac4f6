"""Keeps the embedded Triton serving: a Python process or a server that was killed is back within seconds.

Triton goes on calling a model ready whose Python process is gone, and fails every request to it. So the processes are watched, not
what Triton says of them.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from serving import control, server_log, triton
from serving.triton import Server
from train.errors import ServerError

_LOOK_EVERY = 0.5  # seconds
_LOADED_WITHIN = 10  # seconds for one model; then the whole server is started anew
_MOST_ENDS, _WITHIN = 5, 60  # seconds; a server that ends more often than that is not started again
_STUB = "triton_python_backend_stub"

Processes = dict[int, tuple[str, str] | None]  # id → (model, version) of a living Python process
Tell = Callable[[str], None]


def keep(start: Callable[[], Server], tell: Tell) -> bool:
    """Start a server and keep it serving until Ctrl-C or SIGTERM; whether all requests in flight were answered then.

    Raises ServerError when it does not start, or keeps ending.
    """
    server = start()
    ends: collections.deque[float] = collections.deque(maxlen=_MOST_ENDS)
    try:
        seen = processes(server)
        while True:
            time.sleep(_LOOK_EVERY)
            now = processes(server)
            if server.process.poll() is not None or (now != seen and not _mended(server, tell)):
                server = _restarted(server, start, ends, tell)
            seen = now  # what has changed since is seen at the next look
    except KeyboardInterrupt:
        _tell(server, tell, "info", "stopping: waiting for requests in flight")
        return triton.stop(server)


def processes(server: Server) -> Processes:
    """Triton's children. One that was killed stays a zombie, which serves nothing: Triton does not wait for it."""
    found: Processes = {}
    try:
        children = psutil.Process(server.process.pid).children()
    except psutil.NoSuchProcess:
        return found
    for child in children:
        try:
            command = child.cmdline()
        except (psutil.ZombieProcess, psutil.NoSuchProcess):
            command = []
        stub = len(command) > 1 and command[0].endswith(_STUB)  # …stub REPOSITORY/<model>/<version>/model.py …
        found[child.pid] = (Path(command[1]).parts[-3], Path(command[1]).parts[-2]) if stub else None
    return found


def _mended(server: Server, tell: Tell) -> bool:
    """Load models anew of which processes are gone though nobody unloaded them; False when that fails."""
    try:
        for model in lost(server):
            _tell(server, tell, "error", f"the Python process of {model} is gone: loading the model anew")
            control.reload(server.grpc, server.key, model, _LOADED_WITHIN)
            _tell(server, tell, "info", f"{model} is served again")
    except OSError as error:
        _tell(server, tell, "error", f"Triton could not load it anew: {error}")
        return False
    return True


def lost(server: Server) -> list[str]:
    """Models with a version that has fewer living processes than instances.

    Not fewer than before: of a version that was unloaded and loaded anew, the old processes take seconds to end beside the new.
    Triton is asked before and after the look: what it loads or unloads meanwhile is not lost.
    Raises OSError when it does not answer.
    """
    ready = control.ready(server.http, server.key)
    living = collections.Counter(processes(server).values())
    found = {one for one in ready if living[one] < control.instances(server.http, *one)}
    return sorted({model for model, _ in found & control.ready(server.http, server.key)}) if found else []


def _restarted(server: Server, start: Callable[[], Server], ends: collections.deque[float], tell: Tell) -> Server:
    triton.end(server)  # its Python processes and its shared memory too; interrupted, it is stopped by `keep`
    status = server.process.returncode
    ends.append(time.monotonic())
    if len(ends) == _MOST_ENDS and ends[-1] - ends[0] < _WITHIN:
        raise ServerError(
            "Triton keeps ending by itself",
            expected="a server that runs until it is stopped",
            found=f"{_MOST_ENDS} ends in {ends[-1] - ends[0]:.0f} s, the last with exit status {status}",
            where=str(server.log),
            fix="python -m serving.check_repository on the repository; the end of the log says more",
        )
    _tell(server, tell, "error", f"Triton has ended (exit status {status}): starting it again")
    again = start()
    _tell(again, tell, "info", f"Triton is ready again ({again.ready_seconds:.1f} s)")
    return again


def _tell(server: Server, tell: Tell, level: str, message: str) -> None:
    server_log.write(server.log, level, message)
    tell(message)
