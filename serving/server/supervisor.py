"""Keep the embedded Triton serving: a killed Python process or server is back within seconds.

Triton goes on calling a model ready whose Python process is gone, and fails every request to it.
So the processes are watched, not what Triton says of them. What was changed on disk meanwhile is
not served: a model with other files than at its start is not loaded anew.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from serving.server import control, logs, triton
from serving.server.triton import Server
from slipway import errors
from slipway.errors import ManifestError, ServerError

_LOOK_EVERY = 0.5  # seconds
_LOADED_WITHIN = 10  # seconds for one model; after that the whole server is restarted
_MOST_ENDS, _WITHIN = 5, 60  # seconds; a server that ends more often than that is not restarted
_STUB = "triton_python_backend_stub"

Processes = dict[int, tuple[str, str] | None]  # id → (model, version) of a living Python process
Tell = Callable[[str], None]


def keep(start: Callable[[], Server], tell: Tell) -> bool:
    """Serve until Ctrl-C or SIGTERM; return whether all was answered. Raises ServerError."""
    server = start()
    ends: collections.deque[float] = collections.deque(maxlen=_MOST_ENDS)
    try:
        seen = processes(server)
        while True:
            time.sleep(_LOOK_EVERY)
            now = processes(server)
            if server.process.poll() is not None or (now != seen and not _reload_lost(server, tell)):
                server = _restarted(server, start, ends, tell)
            seen = now  # what has changed since is seen at the next look
    except KeyboardInterrupt:
        _tell(server, tell, "info", "stopping: waiting for requests in flight")
        return triton.stop(server)


def processes(server: Server) -> Processes:
    """Return Triton's children. A killed one stays a zombie: Triton does not reap it."""
    try:
        children = psutil.Process(server.process.pid).children()
    except psutil.NoSuchProcess:
        return {}
    return {child.pid: _served_by(child) for child in children}


def _served_by(child: psutil.Process) -> tuple[str, str] | None:
    """Return the model and version of a living Python process."""
    try:
        command = child.cmdline()  # …stub REPOSITORY/<model>/<version>/model.py …
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return None
    if len(command) < 2 or not command[0].endswith(_STUB):
        return None
    model, version, _ = Path(command[1]).parts[-3:]
    return model, version


def _reload_lost(server: Server, tell: Tell) -> bool:
    """Reload models whose processes are gone though nobody unloaded them; False when that fails."""
    try:
        for model in lost(server):
            _reload(server, model, tell)
    except OSError as error:
        _tell(server, tell, "error", f"Triton could not load it anew: {error}")
        return False
    return True


def _reload(server: Server, model: str, tell: Tell) -> None:
    """Load a model anew, or unload it if its files were changed. Raises OSError if Triton fails."""
    try:
        triton.check_files(server.repository, below=f"{model}/")
    except ManifestError as error:
        control.unload(server.grpc, server.key, model, _LOADED_WITHIN)  # or it would be called ready, and lost, for ever
        found = f"{error.summary}: {error.where}: expected {error.expected}, found {error.found}. Fix: {error.fix}"
        _tell(server, tell, "error", f"the Python process of {model} is gone; the server goes on without the model, for {found}")
        return
    _tell(server, tell, "error", f"the Python process of {model} is gone: loading the model anew")
    control.reload(server.grpc, server.key, model, _LOADED_WITHIN)
    _tell(server, tell, "info", f"{model} is served again")


def lost(server: Server) -> list[str]:
    """Return the models with a version that has fewer living processes than instances.

    The count of before is no measure: after a reload, the old processes take seconds to end beside
    the new. Triton is asked before and after the look: what it loads or unloads meanwhile is not
    lost. Raises OSError when it does not answer.
    """
    ready = control.ready(server.http, server.key)
    living = collections.Counter(processes(server).values())
    short = {version for version in ready if living[version] < control.instances(server.http, *version)}
    return sorted({model for model, _ in short & control.ready(server.http, server.key)}) if short else []


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
            fix=f"{errors.command('lint', server.repository)}; the end of the log says more",
        )
    _tell(server, tell, "error", f"Triton has ended (exit status {status}): starting it again")
    again = start()
    _tell(again, tell, "info", f"Triton is ready again ({again.ready_seconds:.1f} s)")
    return again


def _tell(server: Server, tell: Tell, level: str, message: str) -> None:
    logs.write(server.log, level, message)
    tell(message)
