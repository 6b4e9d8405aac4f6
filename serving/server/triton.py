"""The embedded Triton: the server out of the nvidia-pytriton wheel, on loopback, for development.

with triton.running(repository, ports) as server: ...
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path

from serving.server import control, logs, restarts, shared_memory
from slipway import errors, tools
from slipway.contract import manifest
from slipway.contract.records import HOST, README, REPOSITORY, Ports
from slipway.errors import ManifestError, ServerError, ToolError
from slipway.lint import linter

_PROTOCOLS = ("http", "grpc", "metrics")
_RESTRICTING = ("http-restricted-api", "grpc-restricted-protocol")
_PLACEHOLDER = "KEY-FROM-PIPE"  # as hidden_key.c has it
_READY_WITHIN = 120  # seconds; about 3 are normal, and TensorFlow as a baseline takes 30 on busy cores
_DRAIN_SECONDS = 10  # for requests in flight after SIGTERM
_READ_SECONDS = 3  # for the last of the server's output
_COMPARE = "--compare-only"  # what backend/engine.py advises where a version was not compared as it is
_SHOWN_LINES, _SHOWN_CHARACTERS = 8, 400  # of the server's log, in an error message


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    repository: Path
    ports: Ports
    log: Path
    reader: threading.Thread  # writes the server's output into the log
    shared_memory: str  # prefix of the names of its regions in /dev/shm
    key: str = field(repr=False)  # opens the APIs of control.CLOSED
    ready_seconds: float = 0.0

    @property
    def http(self) -> str:
        return f"{HOST}:{self.ports.http}"

    @property
    def grpc(self) -> str:
        return f"{HOST}:{self.ports.grpc}"

    def address(self, protocol: str) -> str:
        """Return the address for `protocol`, one of transport.PROTOCOLS."""
        return self.http if protocol == "http" else self.grpc

    def metrics(self) -> str:
        """Read Triton's metrics page, in Prometheus' text format."""
        with urllib.request.urlopen(f"http://{HOST}:{self.ports.metrics}/metrics", timeout=10) as answer:
            page: bytes = answer.read()
        return page.decode()


@contextmanager
def running(repository: Path, ports: Ports | None = None) -> Iterator[Server]:
    """Run a server for the block. Its log beside the repository stays if the block fails."""
    log = repository.parent / f"triton.{os.getpid()}.log"
    server = start(repository, ports or free_ports(), log, control.new_key())
    try:
        yield server
    finally:
        stop(server)
    for path in log.parent.glob(f"{log.name}*"):  # a large one was put aside
        path.unlink()


def start(
    repository: Path,
    ports: Ports,
    log: Path,
    key: str,
    canaries: Path | None = None,
    closed: Sequence[str] = control.CLOSED,
) -> Server:
    """Start Triton on a repository and wait until every model is ready. Its log is appended to.

    `canaries` is a second repository, out of which models can be loaded later. `closed` are the
    APIs that only the key opens. Raises ManifestError for an incomplete repository or one that
    Triton would not load, ToolError without Triton, ServerError when a port is taken or a model
    fails.
    """
    _check_repository(repository)
    check_ports(ports)
    started = time.monotonic()
    logs.begin(log)
    log_size = log.stat().st_size  # before it are the lines of earlier servers
    shared_memory.clear_dead()
    prefix, lock = shared_memory.reserve(ports.http)
    try:
        links = {f"{prefix}repository": repository, f"{prefix}canaries": canaries}
        repositories = [_one_word(path, shared_memory.ROOT / link) for link, path in links.items() if path]
        process = start_process(_options(repositories, ports, prefix), key, closed, restarts.page(log), lock)
    except BaseException:
        shared_memory.clear(prefix)
        raise
    finally:
        os.close(lock)  # it is Triton's now
    reader = threading.Thread(target=logs.take, args=(process.stdout, log), daemon=True)
    server = Server(process, repository, ports, log, reader, prefix, key)
    try:
        reader.start()
        _wait_until_ready(server, log_size)
        _check_key(server)
    except BaseException:
        stop(server)
        raise
    return replace(server, ready_seconds=time.monotonic() - started)


def _one_word(repository: Path, link: Path) -> Path:
    """Return a path to the repository that a shell takes as it is: its own, or a new `link`.

    Triton's Python backend starts each model by a shell's command line that quotes nothing: with a
    space in it no process starts and the server waits for ever, and `$(…)` would be run. The link
    goes with the server's regions of shared memory.
    """
    if shlex.quote(str(repository)) == str(repository):
        return repository
    link.unlink(missing_ok=True)
    link.symlink_to(repository.resolve())
    return link


def check_files(repository: Path, below: str = "") -> None:
    """Raise ManifestError for a file that is not as sealed, of those `below` if it is given."""
    _look_at(repository, lambda: manifest.read(repository, REPOSITORY, _fix(repository), beside=(README,), below=below))


def _check_repository(repository: Path) -> None:
    """Raise ManifestError for what Triton would not load or wait for in vain, or a changed file."""
    if (repository / REPOSITORY).is_file():  # or it is incomplete, which the manifest says better
        _look_at(repository, lambda: linter.refuse_errors(repository, _fix(repository)))
    check_files(repository)


def _look_at(repository: Path, look: Callable[[], object]) -> None:
    """Look again if a promotion or rollback has exchanged the repository meanwhile."""
    while True:
        inode = _inode(repository)
        try:
            look()
            return
        except (ManifestError, FileNotFoundError):
            if _inode(repository) == inode:
                raise


def _inode(path: Path) -> int:
    """Return the number that stays a directory's own when it is renamed; 0 for none."""
    return path.stat().st_ino if path.exists() else 0


def stop(server: Server) -> bool:
    """Stop the server and leave nothing behind; return whether requests in flight were answered.

    Its library (scripts/hidden_key.c) refuses new requests, closes idle connections, and ends it
    once everything is answered. What takes longer than its exit timeout gets a SIGKILL.
    """
    with _signals_ignored():
        return end(server)


def end(server: Server) -> bool:
    """Stop the server as `stop` does, but a signal interrupts it; `stop` ends what is left."""
    deadline, had_ended = time.monotonic() + _DRAIN_SECONDS + 2, server.process.poll() is not None
    if not had_ended:
        server.process.send_signal(signal.SIGTERM)
    while server.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)  # Triton if it is still there, and its Python stubs
    ended_well = server.process.wait() == 0  # waited for in any case, or it would be left as a zombie
    if server.reader.is_alive():
        server.reader.join(_READ_SECONDS)
    shared_memory.clear(server.shared_memory)
    return had_ended or ended_well


def free_ports() -> Ports:
    """Find three free ports in a row, below those that Linux gives to connections."""
    while True:
        first = 10_000 + secrets.randbelow(20_000)
        ports = Ports(first, first + 1, first + 2)
        with contextlib.suppress(ServerError):
            check_ports(ports)
            return ports


def check_ports(ports: Ports) -> None:
    """Raise a ServerError that names the first port that is taken."""
    for name, port in vars(ports).items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise ServerError(
                    f"the {name} port is taken",
                    expected=f"{HOST}:{port} free",
                    found=error.strerror or str(error),
                    where=f"{HOST}:{port}",
                    fix=f"stop what listens there (ss -ltnp 'sport = :{port}'), or choose another with --port",
                ) from error


def start_process(
    options: list[str],
    key: str,
    closed: Sequence[str] = control.CLOSED,
    metrics: Path | None = None,
    lock: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start tritonserver; only the key opens the `closed` APIs. Raises ToolError without Triton.

    The text in the file `metrics` becomes part of its metrics page. It inherits the file descriptor
    `lock`. It ends when the calling thread does.
    """
    for part in (tools.TRITON_SERVER, tools.TRITON_KEY):
        if not part.exists():
            raise ToolError(
                "Triton is not there",
                expected="the server out of the nvidia-pytriton wheel, and the library that hands it its key",
                found="no such file",
                where=str(part),
                fix="make setup",
            )
    restricted = [f"--{option}={','.join(closed)}:{control.HEADER}={_PLACEHOLDER}" for option in _RESTRICTING]
    key_out, key_in = os.pipe()
    with os.fdopen(key_in, "w") as pipe:
        pipe.write(key)
    library = {"LD_PRELOAD": str(tools.TRITON_KEY), "SLIPWAY_KEY_PIPE": str(key_out), "SLIPWAY_SUPERVISOR": str(os.getpid())}
    if metrics:
        library["SLIPWAY_METRICS"] = str(metrics.absolute())
    try:
        return subprocess.Popen(
            [str(tools.TRITON_SERVER), *options, *restricted],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**tools.environment(tools.TRITON_LIBRARIES), **library},
            pass_fds=[key_out, *([] if lock is None else [lock])],
            start_new_session=True,  # Ctrl-C goes to us alone; we end the server in good order
            umask=tools.UMASK,
        )
    finally:
        os.close(key_out)


def _fix(repository: Path) -> str:
    """Return the command that compiles a run's repository anew, or that looks into another one."""
    run = repository.parent
    return errors.command("build", run) if (run / "bundle").is_dir() else errors.command("lint", repository)


def _options(repositories: list[Path], ports: Ports, shared_memory: str) -> list[str]:
    return [
        *(f"--model-repository={repository}" for repository in repositories),
        f"--backend-directory={tools.TRITON_BACKENDS}",
        f"--backend-config=python,shm-region-prefix-name={shared_memory}",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--disable-auto-complete-config",
        "--strict-readiness=false",  # or one version that loads, unloads or was refused makes it "not ready"
        *(f"--allow-{name}=true" for name in _PROTOCOLS),  # AIP_MODE in the environment turns them off
        *(f"--{name}-address={HOST}" for name in _PROTOCOLS),
        *(f"--{name}-port={port}" for name, port in vars(ports).items()),
        "--allow-vertex-ai=false",
        "--allow-sagemaker=false",
        "--allow-gpu-metrics=false",
        "--http-header-forward-pattern=(?i)inference-header-content-length",  # for backend/inputs.py
        f"--exit-timeout-secs={_DRAIN_SECONDS}",
    ]


def _wait_until_ready(server: Server, log_size: int) -> None:
    """Wait for it; `log_size` is that of its log before it started. Raises ServerError."""
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            for page in (f"{server.http}/v2/health/ready", f"{HOST}:{server.ports.metrics}/metrics"):  # that one comes last
                urllib.request.urlopen(f"http://{page}", timeout=1).close()
            return
        except (OSError, HTTPException):
            time.sleep(0.05)
    status = server.process.poll()
    if status is not None:
        server.reader.join(_READ_SECONDS)  # for the last lines of its log
    log, run = _tail(server.log, log_size), server.repository.parent
    compare = [errors.command("export", run, "--compare-only")] if _COMPARE in log and (run / "bundle").is_dir() else []
    raise ServerError(
        "Triton did not become ready",
        expected=f"ready within {_READY_WITHIN} s",
        found=f"exit status {status}" if status is not None else "still not ready",
        where=f"{server.repository}; the end of {server.log}:\n    {log}",
        fix=f"{' && '.join([*compare, _fix(server.repository)])}, then the same command again",
    )


def _tail(log: Path, since: int) -> str:
    """Return the lines about models that failed to load, or else the last lines, of this server."""
    lines = [line for message in logs.messages(log, since) for line in message.splitlines()]
    failures = [line[line.find("failed to load") :] for line in lines if "failed to load '" in line and "version" in line]
    return "\n    ".join(line[:_SHOWN_CHARACTERS] for line in (failures or lines[-_SHOWN_LINES:]))


def _check_key(server: Server) -> None:
    """Refuse a server whose key is the placeholder of the command line: anyone can read that."""
    try:
        control.ready(server.http, server.key)
    except (OSError, HTTPException, ValueError) as error:  # it may have been killed amid its answer
        raise ServerError(
            "Triton did not take its key",
            expected="its closed APIs open to the key alone",
            found=str(error),
            where=str(tools.TRITON_KEY),
            fix="rm -r .tools/triton .tools/ready && make setup",
        ) from error


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignore signals in the block: a second Ctrl-C must not leave a server behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
