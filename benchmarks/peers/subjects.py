"""The servers that are compared, all up at once: Slipway, on two engines, and the peers.

Slipway runs on the peers' engine, and as it is published. Each server idles while another is
measured, and has the same cores: those of the command that starts them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.closed_loop import KSERVE, PLAIN, Protocol, kserve_path
from serving.repository import embedded
from serving.repository.embedded import Share
from serving.server import triton
from slipway import errors, tools
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle
from slipway.contract.records import HOST, REPOSITORY, TEXT_MODEL
from slipway.errors import ParityError

ENVIRONMENT = tools.TOOLS / "peers"
ENGINE = "ort_fp32"  # what the peers run too
SAME_ENGINE = f"Slipway, {ENGINE}"
_READY_WITHIN = 120  # seconds; TensorFlow takes ten
_ENDS_WITHIN = 15


@dataclass(frozen=True)
class MeasuredServer:
    """A server that is up."""

    name: str
    what: str
    ours: bool
    variant: str  # its answers have to hold this variant's limits
    url: str
    protocol: Protocol


@dataclass(frozen=True)
class PeerServer:
    """How a peer is started."""

    name: str
    what: str
    module: str
    flags: tuple[str, ...]
    path: str  # of its URL
    protocol: Protocol


@dataclass(frozen=True)
class PeerProcess:
    process: subprocess.Popen[bytes]
    log: Path
    port: int


def _application(name: str, engine: str, *flags: str) -> PeerServer:
    what = f"FastAPI on uvicorn, a plain function that is given a text a request; {engine}"
    return PeerServer(f"FastAPI, {name}", what, "serve_fastapi", flags, "/classify", PLAIN)


PEERS = (
    PeerServer(
        "PyTriton",
        "PyTriton with its dynamic batcher; ONNX Runtime, padded to the longest of the batch",
        "serve_pytriton",
        (),
        kserve_path("classifier"),
        KSERVE,
    ),
    _application("ONNX Runtime", "ONNX Runtime, a thread a core", "--engine", "onnxruntime"),
    # Slower alone, faster in company: requests are computed side by side.
    _application("ONNX Runtime, 1 thread", "ONNX Runtime, a thread a text", "--engine", "onnxruntime", "--threads", "1"),
    _application("TensorFlow", "the SavedModel in TensorFlow", "--engine", "tensorflow"),
)


@contextmanager
def running(run: Path, source: Bundle) -> Iterator[tuple[list[MeasuredServer], dict[str, str]]]:
    """Start everything; yield the servers that are up, and the peers that are not, with the reason.

    Raises ParityError without the engine, and as triton.start.
    """
    engine = _engine(run, source)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".peers-", dir=run))).resolve()
        servers = [stack.enter_context(_slipway(SAME_ENGINE, _repository(scratch, engine, source), engine.variant.name))]
        published = run / "model_repository"
        variant = manifest.read(published, REPOSITORY, errors.command("build", run))[TEXT_MODEL]
        if variant != ENGINE:
            servers.append(stack.enter_context(_slipway("Slipway, as published", published, variant)))
        started = [(peer, stack.enter_context(_started(peer, source, engine, scratch))) for peer in PEERS]
        skipped = {}
        for peer, process in started:
            server = process if isinstance(process, str) else _ready(peer, process)
            if isinstance(server, str):
                skipped[peer.name] = server
            else:
                servers.append(server)
        yield servers, skipped


def _engine(run: Path, source: Bundle) -> Artifact:
    passed = {built.variant.name: built for built in artifact.verdicts(run, source.sha256).passed}
    if ENGINE not in passed:
        raise ParityError(
            "there is no engine to compare with",
            expected=f"{ENGINE}, passed",
            found=", ".join(passed) or "none that passed",
            where=str(run / "artifacts"),
            fix=errors.command("export", run),
        )
    return passed[ENGINE]


def _repository(scratch: Path, engine: Artifact, source: Bundle) -> Path:
    """Build a repository of text_classifier alone on the peers' engine, as `slipway build` does."""
    repository = scratch / "model_repository"
    repository.mkdir()
    embedded.write_text_model(repository, engine, source, bundle.load_golden(source), Share())
    manifest.seal(repository, REPOSITORY, {TEXT_MODEL: engine.variant.name, "models": {}})
    return repository


@contextmanager
def _slipway(name: str, repository: Path, variant: str) -> Iterator[MeasuredServer]:
    with triton.running(repository) as server:
        url = f"http://{server.http}{kserve_path(TEXT_MODEL)}"
        yield MeasuredServer(name, f"{TEXT_MODEL} on {variant}, the embedded Triton", True, variant, url, KSERVE)


@contextmanager
def _started(peer: PeerServer, source: Bundle, engine: Artifact, scratch: Path) -> Iterator[PeerProcess | str]:
    """Start the peer; yield its process, or why there is none."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        yield f"its environment {ENVIRONMENT} is not there: make peers makes it"
        return
    port, log = triton.free_ports().http, scratch / f"{peer.name}.log"
    command = [str(python), "-m", f"benchmarks.peers.{peer.module}", *peer.flags]
    command += ["--bundle", str(source.directory.resolve()), "--onnx", str(engine.model.resolve()), "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=tools.CHECKOUT,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            env=_environment(scratch),
            start_new_session=True,
        )
    try:
        yield PeerProcess(process, log, port)
    finally:
        _stop(process)


def _environment(scratch: Path) -> dict[str, str]:
    """Return an environment in which PyTriton's stub finds libpython and writes into `scratch`."""
    return {
        **os.environ,
        "LD_LIBRARY_PATH": f"{sysconfig.get_config_var('LIBDIR')}:{tools.TRITON_LIBRARIES}",
        "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
        "PYTRITON_HOME": str(scratch / "pytriton"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ready(peer: PeerServer, started: PeerProcess) -> MeasuredServer | str:
    """Wait until the peer answers a text; return why not, when it ended or takes too long."""
    url = f"http://{HOST}:{started.port}{peer.path}"
    server = MeasuredServer(peer.name, peer.what, False, ENGINE, url, peer.protocol)
    request = urllib.request.Request(url, peer.protocol.body("ready"), {"Content-Type": "application/json"})
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until and started.process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=10):
                return server
        except OSError:
            time.sleep(0.2)
    lines = [line for line in started.log.read_text("utf-8", "replace").splitlines() if line.strip()]
    status = started.process.poll()
    ended = f"it ended with {status}" if status is not None else f"no answer within {_READY_WITHIN} s"
    return f"{ended}: {lines[-1] if lines else 'no message'}"
