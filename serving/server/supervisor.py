"""Keep the embedded Triton serving: a killed Python process or server is back within seconds.

Triton goes on calling a model ready whose Python process is gone, and fails every request to it.
So the processes are watched, not what Triton says of them. What was changed on disk meanwhile is
not served: a model with other files than at its start is not loaded anew.

Requests can end Triton, and end it again while it starts. So a start that fails is tried again too,
after a pause that grows to 10 seconds, and nobody's requests end the supervisor.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import psutil

from serving.server import control, logs, triton
from serving.server.restarts import Restarts
from serving.server.triton import Server
from slipway import tools
from slipway.errors import ManifestError, ServerError, SlipwayError

_LOOK_EVERY = 0.5  # seconds
_LOADED_WITHIN = 10  # seconds for one model; after that the whole server is restarted
_LATELY = 60  # seconds; a server that has ended in these before is started again after a pause
_LONGEST_PAUSE = 10  # seconds
_MOST_ENDS = 10  # that are kept in mind
_STUB = "triton_python_backend_stub"

Processes = dict[int, tuple[str, str] | None]  # id → (model, version) of a living Python process
Tell = Callable[[str], None]


def keep(start: Callable[[], Server], tell: Tell, greet: Callable[[Server], object]) -> bool:
    """Serve until Ctrl-C or SIGTERM; return whether all was answered.

    `greet` says that a server is ready; whoever stops it at that word is served to the end, too. A
    server that ends is started again, after a pause if it has done so lately, for as long as it
    takes. Raises what the first start does; later ManifestError for files that were changed, or
    ToolError, because no other try would mend that.
    """
    server = start()
    running: Server | None = server
    try:
        greet(server)
        log, ends = server.log, collections.deque[float](maxlen=_MOST_ENDS)
        counts = Restarts(log, _models(server.repository))
        if tools.most_open_files() < tools.OPEN_FILES:
            few = f"this machine lets a process open {tools.most_open_files()} files; each connection takes one (slipway doctor)"
            _tell(log, tell, "warning", few)
        while True:
            _watch(server, counts, tell)
            triton.end(server)  # its Python processes and its shared memory too
            running, why = None, f"Triton has ended (exit status {server.process.returncode})"
            server = running = _restarted(start, why, log, ends, counts, tell)
            greet(server)
    except KeyboardInterrupt:
        _tell(server.log, tell, "info", "stopping: waiting for requests in flight")
        return triton.stop(running) if running else True
    except SlipwayError as error:
        logs.write(server.log, "fatal", str(error))
        raise


def _models(repository: Path) -> list[str]:
    return sorted(path.name for path in repository.iterdir() if path.is_dir())


def _watch(server: Server, counts: Restarts, tell: Tell) -> None:
    """Look after the server's Python processes, until it has ended or cannot be mended."""
    seen: Processes = {}  # the first look asks Triton, too: a process may have gone before it
    while True:
        time.sleep(_LOOK_EVERY)
        now = processes(server)
        if server.process.poll() is not None or (now != seen and not _reload_lost(server, counts, tell)):
            return
        seen = now  # what has changed since is seen at the next look


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


def _reload_lost(server: Server, counts: Restarts, tell: Tell) -> bool:
    """Reload models whose processes are gone though nobody unloaded them; False when that fails."""
    try:
        for model in lost(server):
            _reload(server, model, counts, tell)
    except (OSError, HTTPException, ValueError) as error:  # no answer, half of one, none that can be read
        _tell(server.log, tell, "error", f"Triton could not load it anew: {error}")
        return False
    return True


def _reload(server: Server, model: str, counts: Restarts, tell: Tell) -> None:
    """Load a model anew, or unload it if its files were changed. Raises OSError if Triton fails."""
    try:
        triton.check_files(server.repository, below=f"{model}/")
    except ManifestError as error:
        control.unload(server.grpc, server.key, model, _LOADED_WITHIN)  # or it would be called ready, and lost, for ever
        found = f"{error.summary}: {error.where}: expected {error.expected}, found {error.found}. Fix: {error.fix}"
        _tell(
            server.log, tell, "error", f"the Python process of {model} is gone; the server goes on without the model, for {found}"
        )
        return
    counts.model(model)
    _tell(server.log, tell, "error", f"the Python process of {model} is gone: loading the model anew")
    control.reload(server.grpc, server.key, model, _LOADED_WITHIN)
    _tell(server.log, tell, "info", f"{model} is served again")


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


def _restarted(
    start: Callable[[], Server], why: str, log: Path, ends: collections.deque[float], counts: Restarts, tell: Tell
) -> Server:
    """Start the server again, until it is ready. A start that fails is an end like any other.

    `why` is what is told of the end, `ends` are the times of earlier ones. Raises ManifestError,
    ToolError.
    """
    counts.server()
    while True:
        pause = _pause(ends, time.monotonic())
        _tell(log, tell, "error", f"{why}: starting it again{f' in {pause} s' if pause else ''}")
        time.sleep(pause)
        try:
            server = start()
        except (ServerError, OSError, HTTPException, ValueError) as error:
            counts.failed_start()
            _tell(log, tell, "error", str(error))
            why = "Triton did not start"
            continue
        _tell(log, tell, "info", f"Triton is ready again ({server.ready_seconds:.1f} s)")
        return server


def _pause(ends: collections.deque[float], now: float) -> int:
    """Return the seconds to wait, longer after each end in a minute; note this one in `ends`."""
    ends.append(now)
    lately = sum(now - end < _LATELY for end in ends)
    return 0 if lately == 1 else min(2 ** (lately - 2), _LONGEST_PAUSE)


def _tell(log: Path, tell: Tell, level: str, message: str) -> None:
    logs.write(log, level, message)
    tell(message)
