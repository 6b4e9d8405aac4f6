"""Faults in a version that the embedded Triton serves: it is not loaded, or replay sees it.

One server is asked over HTTP and gRPC. A fault counts as named if both give the same sentence, or
if the version is refused with that sentence when it is loaded, or loaded anew.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from benchmarks.faults import catalogue, versions
from benchmarks.faults.catalogue import Catch, Fault
from benchmarks.faults.repositories import VERSION
from benchmarks.faults.versions import Edit
from serving import served_parity
from serving.repository import embedded, engines
from serving.repository.embedded import Share
from serving.served_parity import AskedModel
from serving.server import control, triton
from serving.server.triton import Server
from slipway import errors
from slipway.client.client import Client
from slipway.client.transport import PROTOCOLS
from slipway.contract import artifact, bundle, manifest
from slipway.contract.bundle import Reference
from slipway.contract.records import REPOSITORIES, REPOSITORY, TEXT_MODEL
from slipway.errors import ParityError, ServerError

_ROWS = 400  # golden rows asked: FP32's limits take 299
_SHOWN = 5  # wrong answers of a check, as `slipway verify` shows them
_WITHIN = 60  # seconds for what takes a few
_REPOSITORY = REPOSITORIES["embedded"]
_SOUND = "sound"  # name of the model that has no fault


@dataclass(frozen=True)
class _Service:
    """A server, which loads models out of `faulty`, and what their answers are compared with."""

    server: Server
    faulty: Path
    variant: str
    reference: Reference

    def replay_failures(self, model: str) -> list[str]:
        """Return what replay says over both protocols, with HTTP's numbers; none: passed."""
        over_http, over_grpc = (self._failures_over(protocol, model) for protocol in PROTOCOLS)
        return [sentence for sentence in over_http if _without_numbers(sentence) in map(_without_numbers, over_grpc)]

    def _failures_over(self, protocol: str, model: str) -> list[str]:
        subject, address = AskedModel(TEXT_MODEL, self.variant, model), self.server.address(protocol)
        try:
            checked = served_parity.check(address, protocol, subject, self.reference)
        except ServerError as error:
            return [catalogue.in_a_line(error)]
        return [*(str(failure) for failure in checked.failures), *checked.wrong_answers[:_SHOWN]]


def _without_numbers(sentence: str) -> str:
    """Return what a sentence is about: which texts share a batch is chance, and so are numbers."""
    return re.sub(r"[\d.]+", "", sentence.partition(" is ")[0])


def catches(run: Path, scratch: Path) -> Iterator[Catch]:
    """Plant each of FAULTS into a copy of `run`, below `scratch`, and ask one server for all.

    Raises ParityError for a run that is refused without a fault.
    """
    with _service(run, scratch / "service") as service:
        for number, (fault, examine) in enumerate(_EXAMINED):
            target = catalogue.copy(run, scratch / f"fault_{number}")
            yield catalogue.catch(replace(fault, examine=partial(examine, service)), target)
            shutil.rmtree(target)


@contextmanager
def _service(run: Path, scratch: Path) -> Iterator[_Service]:
    """Serve the run's most exact model, without a fault. Raises ParityError if that is refused."""
    repository, faulty = scratch / _SOUND, scratch / "faulty"
    variant = write_model(run, repository, _SOUND)
    faulty.mkdir()
    whole = bundle.load_reference(bundle.load(run / "bundle"))
    golden = whole.golden
    rows = np.linspace(0, len(golden.texts) - 1, min(_ROWS, len(golden.texts))).astype(int)
    server = triton.start(repository, triton.free_ports(), scratch / "triton.log", control.new_key(), faulty)
    try:
        service = _Service(server, faulty, variant, replace(whole, golden=golden.take(rows)))
        if failures := service.replay_failures(_SOUND):
            raise ParityError(
                f"{variant} of {run} is refused without a fault",
                expected="a run that passes",
                found="; ".join(failures),
                where=str(run),
                fix=errors.command("export", run),
            )
        yield service
    finally:
        triton.stop(server)


def write_model(run: Path, repository: Path, name: str = TEXT_MODEL) -> str:
    """Write a sealed repository of a model of that name, on the first FP32 engine that passed.

    Return its variant.
    """
    source = bundle.load(run / "bundle")
    usable = engines.usable(artifact.verdicts(run, source.sha256).passed)
    chosen = next((converted for converted in usable if converted.variant.precision == "fp32"), usable[0])
    embedded.write_text_model(repository, chosen, source, bundle.load_golden(source), Share(instances=1), name=name)
    manifest.seal(repository, REPOSITORY, {})
    return chosen.variant.name


def _planted(change: Edit, run: Path) -> None:
    """Write the run's repository, with a fault in its only model."""
    write_model(run, run / _REPOSITORY)
    change(run / _REPOSITORY / VERSION)


def _loaded(service: _Service, run: Path) -> list[str]:
    """Load the faulty model, and ask it."""
    with _in_reach(service, run / _REPOSITORY / TEXT_MODEL) as model:
        return _refused(control.load, service) or service.replay_failures(model)


def _loaded_anew(service: _Service, run: Path) -> list[str]:
    """Load a sound model, plant the fault while it is served, and load it anew."""
    write_model(run, run / "served")
    with _in_reach(service, run / "served" / TEXT_MODEL) as model:
        control.load(service.server.grpc, service.server.key, model, _WITHIN)
        with Client(service.server.http) as client:
            client.classify(service.reference.golden.texts[:1], model=model)
        _overwrite(run / _REPOSITORY / VERSION, service.faulty / VERSION)
        return _refused(control.reload, service) or service.replay_failures(model)


@contextmanager
def _in_reach(service: _Service, model: Path) -> Iterator[str]:
    """Put a model where the server finds it, for the block; yield its name there."""
    place = service.faulty / TEXT_MODEL
    model.rename(place)
    try:
        yield place.name
    finally:
        control.unload(service.server.grpc, service.server.key, place.name, _WITHIN)
        shutil.rmtree(place)


def _refused(load: Callable[[str, str, str, float], None], service: _Service) -> list[str]:
    """Return why the server does not load the model; nothing: it does."""
    try:
        load(service.server.grpc, service.server.key, TEXT_MODEL, _WITHIN)
    except OSError as error:
        return [str(error).partition("\n")[0].rpartition("RuntimeError: ")[2]]
    return []


def _overwrite(changed: Path, version: Path) -> None:
    """Give a version the files of a changed one."""
    shutil.rmtree(version)
    shutil.copytree(changed, version)


def _kept_serving(_: _Service, run: Path) -> list[str]:
    """Keep a sound model served, plant the fault, and kill its Python process."""
    served = run / "served"
    write_model(run, served / _REPOSITORY)
    output = served / "serve.log"
    with _serving(served, output) as process:
        _overwrite(run / _REPOSITORY / VERSION, served / _REPOSITORY / VERSION)
        for child in process.children(recursive=True):
            if any(TEXT_MODEL in word for word in child.cmdline()):
                child.kill()
        return [line for line in _lines_until("Python process", output, process) if "without the model" in line]


# `slipway serve` less its look at the verdicts: the repository is of one model, and was not built.
_KEEP_SERVING = f"""
import pathlib, sys
from serving import commands
from slipway.contract.records import Ports
sys.stdout.reconfigure(line_buffering=True)
run = pathlib.Path(sys.argv[1])
sys.exit(commands.keep_serving(run / {_REPOSITORY!r}, run, Ports(*map(int, sys.argv[2:]))))
"""


@contextmanager
def _serving(run: Path, output: Path) -> Iterator[psutil.Process]:
    command = [sys.executable, "-c", _KEEP_SERVING, str(run), *map(str, vars(triton.free_ports()).values())]
    with output.open("wb") as file:
        process = psutil.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        _lines_until("stop it", output, process)
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
        process.wait(_WITHIN)


def _lines_until(words: str, output: Path, process: psutil.Process) -> list[str]:
    """Wait for a line with `words`; return all there are. Raises TimeoutError without one."""
    deadline = time.monotonic() + _WITHIN
    while time.monotonic() < deadline and process.is_running():
        lines = output.read_text("utf-8").splitlines()
        if any(words in line for line in lines):
            return lines
        time.sleep(0.1)
    raise TimeoutError(f"no line with {words!r} within {_WITHIN} s: {output.read_text('utf-8')}")


def _alone(examine: Callable[[_Service, Path], list[str]], run: Path) -> list[str]:
    """Examine a run with a server of its own."""
    with _service(run, run / "service") as service:
        return examine(service, run)


_EXAMINED = [
    (Fault(name, "live", partial(_planted, change), partial(_alone, examine), caught_by), examine)
    for examine, faults in (
        (_loaded, versions.ANSWERED),
        (_loaded_anew, versions.WHILE_SERVED),
        (_kept_serving, versions.KEPT_SERVING),
    )
    for caught_by, changes in faults.items()
    for name, change in changes.items()
]
FAULTS = tuple(fault for fault, _ in _EXAMINED)
