"""The linter's verdict is the server's own: small cases are loaded into the embedded Triton."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from serving.server import control, logs, triton
from slipway import tools
from slipway.contract.records import HOST
from slipway.lint import linter
from tests.slipway.lint.server_cases import Case, write_all

pytestmark = pytest.mark.slow  # it starts a server

WITHIN = 4  # seconds for a load; a Python model takes 1.4
ENDED = ("StatusCode.DEADLINE_EXCEEDED", "StatusCode.UNAVAILABLE")  # it waits for ever, or is gone
BACKENDS = ("answering", "onnxruntime", "pytorch", "tensorflow", "tensorrt")  # one library stands for all of them

# The server loads these, and the linter calls them errors, because nobody can use them (tried).
UNUSABLE = {
    "input_unknown_type": "no request has an input of a type that Triton does not know",
    "output_unknown_type": "the same type of an output",
    "tensors_input_twice": "Triton waits for two inputs, and a request cannot give two of one name",
    "ensemble_input_made_by_a_step": "a request never gets an answer",
}
# The server refuses these here, and on another machine it may not: the linter says "not checked".
ELSEWHERE = {
    "instance_gpu": "there is no GPU",
    "instance_gpu_7": "there is no GPU 7",
    "instance_auto_with_gpu": "there is no GPU 0",
    "name_unknown_backend": "the backend is not installed",
    "python_environment_missing": "the environment lies outside of the repository",
    "other_repository_agent": "the agent is not installed",
    "other_runtime": "the runtime is not installed",
    "other_metrics": "this server is older than the field",
}


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python backend, and answering.c under the names of others."""
    directory = tmp_path_factory.mktemp("backends")
    (directory / "python").symlink_to(tools.TRITON_BACKENDS / "python")
    for name in BACKENDS:
        (directory / name).mkdir()
        library, source = directory / name / f"libtriton_{name}.so", Path(__file__).with_name("answering.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return directory


class Loader:
    """A server that loads models when it is told to; a new one, if a model ended it."""

    def __init__(self, repository: Path, backends: Path) -> None:
        self._repository, self._backends = repository, backends
        self._server: triton.Server | None = None

    def takes(self, model: str) -> bool:
        """Load a model, and unload it and what it needed again."""
        server = self._server = self._server or self._started()
        headers = {f"triton-grpc-protocol-{control.HEADER}": server.key}
        with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
            try:
                client.load_model(model, headers=headers, client_timeout=WITHIN)
            except InferenceServerException as error:
                if server.process.poll() is not None or error.status() in ENDED:
                    self.stop()
                return False
            client.unload_model(model, headers=headers, unload_dependents=True, client_timeout=WITHIN)
        return True

    def stop(self) -> None:
        if self._server:
            self._server.process.kill()
            triton.stop(self._server)
        self._server = None

    def _started(self) -> triton.Server:
        ports, prefix, key = triton.free_ports(), f"slipway_{os.getpid()}_lint_", control.new_key()
        options = [
            *(f"--model-repository={self._repository}", f"--backend-directory={self._backends}"),
            *("--model-control-mode=explicit", f"--backend-config=python,shm-region-prefix-name={prefix}"),
            *(f"--http-address={HOST}", f"--grpc-address={HOST}", "--allow-metrics=false", "--strict-readiness=false"),
            *(f"--http-port={ports.http}", f"--grpc-port={ports.grpc}"),
        ]
        process, log = triton.start_process(options, key), self._repository.parent / "triton.log"
        log.touch()
        reader = threading.Thread(target=logs.take, args=(process.stdout, log), daemon=True)
        reader.start()
        server = triton.Server(process, self._repository, ports, log, reader, prefix, key)
        for _ in range(200):
            try:
                control.ready(server.http, key)
                return server
            except OSError:
                time.sleep(0.05)
        raise AssertionError(log.read_text())


@contextmanager
def loading(repository: Path, backends: Path) -> Iterator[Loader]:
    loader = Loader(repository, backends)
    try:
        yield loader
    finally:
        loader.stop()


@pytest.fixture(scope="module")
def verdicts(backends: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, str]]:
    """Case → whether the server takes it, and the linter's verdict: error, not checked or right."""
    repository = tmp_path_factory.mktemp("lint") / "repository"
    cases = write_all(repository)
    said = linted(repository, cases)
    with loading(repository, backends) as loader:
        return {case.name: (loader.takes(case.name), said[case.name]) for case in cases}


def linted(repository: Path, cases: list[Case]) -> dict[str, str]:
    report = linter.check(repository)
    errors = {finding.model for finding in report.findings if finding.severity == "error"}
    unchecked = {unchecked.model for unchecked in report.unchecked}
    parts = {case.name: set(re.findall('model_name: "(.*?)"', str(case.config))) for case in cases}
    return {
        name: "error" if ({name} | steps) & errors else "not checked" if name in unchecked else "right"
        for name, steps in parts.items()
    }


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the backend that answers")
def test_the_linter_calls_an_error_what_the_server_refuses_and_nothing_else(verdicts: dict[str, tuple[bool, str]]) -> None:
    differing = {name: said for name, (taken, said) in verdicts.items() if taken == (said == "error")}
    assert differing == {**dict.fromkeys(UNUSABLE, "error"), **dict.fromkeys(ELSEWHERE, "not checked")}
    assert len(verdicts) >= 150
    assert len(differing) <= 0.02 * len(verdicts)  # also if "not checked" counts as another verdict


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the backend that answers")
def test_the_cases_are_of_both_kinds(verdicts: dict[str, tuple[bool, str]]) -> None:
    taken = sum(taken for taken, _ in verdicts.values())
    assert min(taken, len(verdicts) - taken) > len(verdicts) / 3
