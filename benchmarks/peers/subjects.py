"""What is compared: Slipway's text_classifier on the peers' engine, as it is published, and the peers; all up at the same time.

They idle while another is measured, and have the same cores: those of the command that starts them.
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
from typing import Any

from benchmarks.peers import protocols
from benchmarks.peers.protocols import KSERVE, PLAIN, Protocol
from export import artifact
from export.artifact import Artifact
from serving import embedded_models, loopback, triton
from serving.embedded_models import Share
from serving.records import REPOSITORY, TEXT_MODEL
from setup import tools
from train import manifest
from train.bundle import Bundle
from train.errors import ParityError

ENVIRONMENT = tools.TOOLS / "peers"
ENGINE = "ort_fp32"  # what the peers run too
SAME_ENGINE = f"Slipway, {ENGINE}"
_READY_WITHIN = 120  # seconds; TensorFlow takes ten
_ENDS_WITHIN = 15


@dataclass(frozen=True)
class Subject:
    name: str
    what: str
    ours: bool
    variant: str  # whose limits its answers have to hold
    url: str
    protocol: Protocol


@dataclass(frozen=True)
class Peer:
    name: str
    what: str
    module: str
    flags: tuple[str, ...]
    path: str  # it is asked at
    protocol: Protocol


def _application(name: str, engine: str, *flags: str) -> Peer:
    what = f"FastAPI on uvicorn, a plain function that is given a text a request; {engine}"
    return Peer(f"FastAPI, {name}", what, "serve_fastapi", flags, "/classify", PLAIN)


PEERS = (
    Peer(
        "PyTriton",
        "PyTriton with its dynamic batcher; ONNX Runtime, padded to the longest of the batch",
        "serve_pytriton",
        (),
        protocols.kserve_path("classifier"),
        KSERVE,
    ),
    _application("ONNX Runtime", "ONNX Runtime, a thread a core", "--engine", "onnxruntime"),
    # Slower alone, faster in company: requests are computed side by side.
    _application("ONNX Runtime, 1 thread", "ONNX Runtime, a thread a text", "--engine", "onnxruntime", "--threads", "1"),
    _application("TensorFlow", "the SavedModel in TensorFlow", "--engine", "tensorflow"),
)


@contextmanager
def running(run: Path, source: Bundle) -> Iterator[tuple[list[Subject], dict[str, str]]]:
    """All that could be started; and why a peer could not. Raises ParityError without the engine, else as triton.start."""
    engine = _engine(run, source)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".peers-", dir=run))).resolve()
        found = [stack.enter_context(_slipway(SAME_ENGINE, _repository(scratch, engine, source), engine.variant.name))]
        published = run / "model_repository"
        variant = manifest.read(published, REPOSITORY, f"make repository RUN={run}")[TEXT_MODEL]
        if variant != ENGINE:
            found.append(stack.enter_context(_slipway("Slipway, as published", published, variant)))
        started = [(peer, stack.enter_context(_started(peer, source, engine, scratch))) for peer in PEERS]
        skipped = {}
        for peer, outcome in started:
            subject = outcome if isinstance(outcome, str) else _ready(peer, *outcome)
            if isinstance(subject, str):
                skipped[peer.name] = subject
            else:
                found.append(subject)
        yield found, skipped


def _engine(run: Path, source: Bundle) -> Artifact:
    passed = {one.variant.name: one for one in artifact.all_passed(run, source.sha256)}
    if ENGINE not in passed:
        raise ParityError(
            "there is no engine to compare with",
            expected=f"{ENGINE}, passed",
            found=", ".join(passed) or "none that passed",
            where=str(run / "artifacts"),
            fix=f"make export RUN={run}",
        )
    return passed[ENGINE]


def _repository(scratch: Path, engine: Artifact, source: Bundle) -> Path:
    """text_classifier alone, on the peers' engine, as `make repository` would configure it."""
    repository = scratch / "model_repository"
    repository.mkdir()
    embedded_models.write_text_model(repository, engine, source, Share())
    manifest.seal(repository, REPOSITORY, {TEXT_MODEL: engine.variant.name, "models": {}})
    return repository


@contextmanager
def _slipway(name: str, repository: Path, variant: str) -> Iterator[Subject]:
    with triton.running(repository) as server:
        url = f"http://{server.http}{protocols.kserve_path(TEXT_MODEL)}"
        yield Subject(name, f"{TEXT_MODEL} on {variant}, the embedded Triton", True, variant, url, KSERVE)


@contextmanager
def _started(peer: Peer, source: Bundle, engine: Artifact, scratch: Path) -> Iterator[Any]:
    """The peer's process, log and port; or why there is none."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        yield f"its environment {ENVIRONMENT} is not there: make peers makes it"
        return
    port, log = loopback.free_ports().http, scratch / f"{peer.name}.log"
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
        yield process, log, port
    finally:
        _stop(process)


def _environment(scratch: Path) -> dict[str, str]:
    """PyTriton's stub has to load the libpython of the Python whose library it runs, and its files go into `scratch`."""
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


def _ready(peer: Peer, process: subprocess.Popen[bytes], log: Path, port: int) -> Subject | str:
    """Once it answers a text; why not, when it ended or takes too long."""
    subject = Subject(peer.name, peer.what, False, ENGINE, f"http://{loopback.HOST}:{port}{peer.path}", peer.protocol)
    asked = urllib.request.Request(subject.url, peer.protocol.body("ready"), {"Content-Type": "application/json"})
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(asked, timeout=10):
                return subject
        except OSError:
            time.sleep(0.2)
    said = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    ended = f"it ended with {process.returncode}" if process.poll() is not None else f"no answer within {_READY_WITHIN} s"
    return f"{ended}: {said[-1] if said else 'no message'}"
