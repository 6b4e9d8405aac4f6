"""The whole way of a version, by the commands a person runs: published, tried beside the served
one, switched to, rolled back.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc
import tritonclient.http

from serving.registry import golden_rows, versions
from serving.registry.proof import proven
from serving.registry.registry import Registry, add_version, publishing_lock, read_published
from serving.registry.rollout import is_unfinished, journal, running_server
from slipway.client import client
from slipway.client.transport import Options
from slipway.contract import bundle, manifest
from slipway.contract.records import HOST, README, REPOSITORY, TEXT_MODEL
from slipway.lint import linter
from tests.serving.server.test_supervisor import free_port
from tests.support import clock
from tests.support.command import CHECKOUT, Once, command, slipway, slipway_output
from tests.support.experiments import Experiment
from tests.support.serving import word_runs

_LOOPS, _SWITCHES = 6, 2
MODELS, NEW = ("bert_onnx_fp32", TEXT_MODEL), "bert_ort_fp32"


@pytest.fixture(scope="module")
def one_engine(once: Once) -> Path:
    """A run with one variant, and so with two models."""
    return once("one_engine", word_runs.build)


@pytest.fixture(scope="module")
def published(once: Once, one_engine: Path) -> Path:
    """Where that run is version 1 of model_repository/. Copy it."""
    return once("published", lambda place: slipway_output("publish", one_engine, "--repository", place / "model_repository"))


@dataclass(frozen=True)
class Site:
    """A checkout's model_repository/, and who serves it."""

    registry: Registry
    port: int
    process: psutil.Popen
    said: Path

    @staticmethod
    def unserved(published: Path, place: Path) -> Site:
        shutil.copytree(published, place)
        return Site(Registry(place / "model_repository"), 0, psutil.Process(), place)

    @property
    def http(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def grpc(self) -> str:
        return f"{HOST}:{self.port + 1}"

    def run(self, verb: str, *arguments: object) -> Any:
        return slipway(verb, *arguments, "--repository", self.registry.repository)

    def run_apart(self, verb: str, *arguments: object) -> Any:
        """Run it in a process of its own, beside the clients of this one."""
        return command("-m", "slipway.cli", verb, *arguments, "--repository", self.registry.repository)

    def active(self) -> int:
        return read_published(self.registry).active

    def newest(self) -> int:
        return read_published(self.registry).newest

    def served(self) -> set[str]:
        """Versions that answer who asks for any model by its name alone."""
        return {version for [version] in self.models().values()}

    def models(self) -> dict[str, list[str]]:
        """Return model → the version that answers who asks for its name alone."""
        server = running_server(self.registry)
        assert server
        return {model: loaded[-1:] for model, loaded in server.served_versions().items()}

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.registry.state / "publishing.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def site(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all: whatever version is active, a test goes on from there.

    It is served as `make serve PUBLISHED=1` does.
    """
    place = tmp_path_factory.mktemp("site")
    registry = Site.unserved(published, place / "published").registry
    port, said = free_port(), place / "said"
    with said.open("wb") as file:
        words = ["-m", "slipway.cli", "serve", "--published", str(registry.repository), "--port", str(port)]
        process = psutil.Popen([sys.executable, *words], cwd=CHECKOUT, stdout=file, stderr=file)
    _wait(lambda: "stop it" in said.read_text() or process.poll() is not None, 120)
    assert process.poll() is None, said.read_text()
    yield Site(registry, port, process, said)
    if process.poll() is None:
        process.terminate()
    process.wait(20)


@pytest.fixture
def promoted_site(site: Site, one_engine: Path) -> Site:
    """The site where the version before the active one stays loaded."""
    if read_published(site.registry).standby is None:
        assert site.run("publish", one_engine).returncode == 0
        done = site.run("promote", "--pairs", 20, "--p99-limit", 100)
        assert done.returncode == 0, done.stdout + done.stderr
    _wait(lambda: "stays loaded for a rollback" in site.run("status").stdout, 60)
    return site


def _wait(holds: Callable[[], bool], within: float) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def publish_changed(site: Site, run: Path, change: Callable[[Path], None], model: str = TEXT_MODEL) -> None:
    """Publish a version of which a model is changed where it lies then, and sealed as if it had
    been published so.
    """
    assert site.run("publish", run).returncode == 0
    repository = site.registry.repository
    with publishing_lock(site.registry):
        version = versions.directory(repository, model) / str(site.newest())
        for path in version.iterdir():  # no more links to the run's
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data)
        change(version)
        facts = json.loads((repository / REPOSITORY).read_text())
        manifest.seal(repository, REPOSITORY, {name: value for name, value in facts.items() if name != "files"}, beside=(README,))


@pytest.fixture(scope="module")
def two_engines(once: Once) -> Path:
    """A run with two variants, and so with a model more than `one_engine`."""
    return once("two_engines", partial(word_runs.build, variants=("onnx_fp32", "ort_fp32")))


@pytest.mark.experiment("bad version gate")
def test_a_new_model_that_does_not_load_in_its_place_takes_the_whole_switch_back(site: Site, two_engines: Path) -> None:
    before = site.models()
    publish_changed(site, two_engines, partial(_only_a_canary, model=NEW), model=NEW)
    sealed = read_published(site.registry)
    done = site.run("promote", "--pairs", 20, "--p99-limit", 100)
    assert done.returncode == 10, done.stdout + done.stderr
    assert f"of {NEW} cannot be served" in done.stderr
    assert read_published(site.registry) == sealed
    assert site.models() == before
    assert not linter.check(site.registry.repository).findings


def _cut_short(version: Path) -> None:
    """It reads the beginning of a text alone."""
    settings = json.loads((version / "settings.json").read_text())
    manifest.write_json(version / "settings.json", {**settings, "max_seq_len": 4})


def _too_sure(version: Path) -> None:
    """Its labels and logits are right, its probabilities are not."""
    code = (version / "outputs.py").read_text()
    assert "np.exp(logits" in code
    (version / "outputs.py").write_text(code.replace("np.exp(logits", "np.exp(3 * logits"))


def _slow(version: Path) -> None:
    """Every fifth time it is asked a text alone, and by more than a busy machine takes from the
    served version.
    """
    _override(
        version, "execute", "requests", "time.sleep(0.6 * (len(requests[0].inputs()[0].as_numpy()) == 1 and next(_TURNS) == 4))"
    )


def _only_a_canary(version: Path, model: str = TEXT_MODEL) -> None:
    """Loads beside the served version and not in its place."""
    _override(version, "initialize", "arguments", f'assert arguments["model_name"] != "{model}", "not in its place"')


def _not_at_all(version: Path) -> None:
    _override(version, "initialize", "arguments", 'raise ValueError("never")')


def _override(version: Path, method: str, argument: str, first: str) -> None:
    with (version / "model.py").open("a") as file:
        file.write(
            "\n\nimport itertools\nimport time\n_TURNS = itertools.cycle(range(5))\n_Own = TritonPythonModel\n"
            "\n\nclass TritonPythonModel(_Own):\n"
            f"    def {method}(self, {argument}):\n        {first}\n        return super().{method}({argument})\n"
        )


REFUSED = {  # what is wrong with the version → limit of its p99, exit code, what is said, what the audit says
    _cut_short: (100, 10, "of text_classifier cannot be served", "has other ids than in the gate"),
    _too_sure: (100, 1, "text_classifier (onnx_fp32) over http does not give its reference's answers", "probability"),
    _slow: (1.25, 10, "text_classifier is slower than version {active}", "times, at least"),
    _not_at_all: (100, 10, "of text_classifier cannot be served", "never"),
    _only_a_canary: (100, 10, "of text_classifier cannot be served", "not in its place"),
}


@pytest.mark.experiment("bad version gate")
@pytest.mark.parametrize("change", REFUSED)
def test_a_version_that_does_not_hold_is_refused_and_the_served_one_stays(
    site: Site, one_engine: Path, change: Callable[[Path], None]
) -> None:
    limit, code, said, found = REFUSED[change]
    publish_changed(site, one_engine, change)
    before = read_published(site.registry)
    done = site.run("promote", "--pairs", 25, "--p99-limit", limit)
    assert done.returncode == code, done.stdout + done.stderr
    assert said.format(active=before.active) in done.stderr
    assert read_published(site.registry) == before
    assert site.served() == {str(before.active)}
    assert not list(site.registry.canaries.iterdir())
    last = site.audit()[-1]
    tried = (before.newest, before.active, "refused")
    assert (last["action"], last["version"], last["instead_of"], last["result"]) == ("promote", *tried)
    assert found in last["found"]
    with tritonclient.http.InferenceServerClient(site.http) as server:
        assert server.is_server_ready()
    with client.Client(f"http://{site.http}", Options(retries=0)) as connection:
        assert connection.classify(["aa bd"])


@dataclass
class Loop:
    """A client that asks one golden text after the other, without retries."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    longest_gap: float = 0.0  # seconds, the pause included
    versions: list[str] = field(default_factory=list)  # that answered, each time it was another one

    def ask(
        self, library: Any, address: str, texts: list[str], labels: list[str], stop: threading.Event, seconds: Callable[[], float]
    ) -> None:
        with library.InferenceServerClient(address) as server:
            last = seconds()
            while not stop.is_set():
                row = self.answered % len(texts)
                try:
                    self._answer(library, server, texts[row], labels[row])
                except Exception as error:
                    self.failed.append(repr(error))
                self.answered += 1
                self.longest_gap = max(self.longest_gap, seconds() - last)
                last = seconds()
                time.sleep(0.01)  # or six of them leave the promoters no core

    def _answer(self, library: Any, server: Any, text: str, label: str) -> None:
        tensor = library.InferInput("text", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[text.encode()]], object))
        result = server.infer(TEXT_MODEL, [tensor])
        response = result.get_response()
        version = response["model_version"] if isinstance(response, dict) else response.model_version
        if self.versions[-1:] != [version]:
            self.versions.append(version)
        assert result.as_numpy("label")[0, 0].decode() == label


@pytest.mark.experiment("switch under load")
def test_promotions_and_a_rollback_under_six_clients_fail_no_request(site: Site, one_engine: Path, experiment: Experiment) -> None:
    golden, labels = _golden(one_engine)
    loops, stop = [Loop() for _ in range(_LOOPS)], threading.Event()
    ways = [(tritonclient.http, site.http), (tritonclient.grpc, site.grpc)] * (_LOOPS // 2)
    earlier, answering = len(site.audit()), [site.active()]
    with clock.running() as seconds:
        told = (golden.texts, labels, stop, seconds)
        clients = [threading.Thread(target=loop.ask, args=(*way, *told)) for loop, way in zip(loops, ways, strict=True)]
        try:
            for one in clients:
                one.start()
            for _ in range(_SWITCHES):
                assert site.run("publish", one_engine).returncode == 0
                done = site.run_apart("promote", "--pairs", 20, "--p99-limit", 100)
                assert done.returncode == 0, done.stdout + done.stderr
                answering.append(site.newest())
                assert site.served() == {str(answering[-1])}
            assert site.run_apart("rollback").returncode == 0
            answering.append(answering[-2])
            _wait(lambda: all(loop.versions[-1] == str(answering[-1]) for loop in loops), 30)
        finally:
            stop.set()
            for one in clients:
                one.join()
    failed = [error for loop in loops for error in loop.failed]
    print(failed[:3])
    experiment.measure("asked", sum(loop.answered for loop in loops), "requests", at_least=500)
    experiment.measure("failed", len(failed), "of them", at_most=0)
    experiment.measure("longest wait of a client", max(loop.longest_gap for loop in loops), "s", at_most=3)
    assert [loop.versions for loop in loops] == [[str(version) for version in answering]] * _LOOPS
    assert [(one["action"], one["result"]) for one in site.audit()[earlier:]] == [
        *[("publish", "done"), ("promote", "done")] * _SWITCHES,
        ("rollback", "done"),
    ]
    read_published(site.registry)
    assert not linter.check(site.registry.repository).findings


def _golden(run: Path) -> tuple[bundle.Golden, list[str]]:
    """A run's golden rows, and their labels as its model gives them."""
    source = bundle.load(run / "bundle")
    golden = bundle.load_golden(source)
    return golden, [source.labels[i] for i in golden.logits.argmax(axis=1)]


@pytest.mark.experiment("instant rollback")
def test_a_model_that_one_version_has_alone_comes_and_goes_with_it_at_once(
    site: Site, two_engines: Path, experiment: Experiment
) -> None:
    before = site.active()
    done = site.run("publish", two_engines)
    assert f"comes       {NEW}" in done.stdout, done.stdout + done.stderr
    one, two = (
        {model: [str(number)] for model in models} for number, models in ((before, MODELS), (site.newest(), (*MODELS, NEW)))
    )
    assert site.models() == one
    stop, loop = threading.Event(), Loop()
    golden, labels = _golden(two_engines)
    with clock.running() as seconds:
        client = threading.Thread(target=loop.ask, args=(tritonclient.grpc, site.grpc, golden.texts, labels, stop, seconds))
        client.start()
        try:
            done = site.run_apart("promote", "--pairs", 20, "--p99-limit", 100)
            assert done.returncode == 0, done.stdout + done.stderr
            assert site.models() == two
            began = seconds()
            done = site.run_apart("rollback")
            back = seconds() - began
            assert f"goes        {NEW}" in done.stdout, done.stdout + done.stderr
            assert site.models() == one
            assert "switch is on" not in site.run("status").stdout
        finally:
            stop.set()
            client.join()
    print(loop.failed[:3])
    experiment.measure("the command took", back, "s", at_most=8)
    experiment.measure("failed", len(loop.failed), "requests meanwhile", at_most=0)
    assert loop.versions == [str(before), str(site.newest()), str(before)]
    assert (site.audit()[-1]["gone"], site.audit()[-2]["brought"]) == ([NEW], [NEW])
    _kill_server(site)
    assert site.models() == one


def _kill_server(site: Site) -> None:
    """Kill Triton, and wait until it is there again."""
    again, before = "Triton is ready again", site.said.read_text()
    [server] = [child for child in site.process.children() if child.name() == "tritonserver"]
    server.kill()
    _wait(lambda: site.said.read_text().count(again) > before.count(again), 60)


def test_what_was_promoted_is_what_a_killed_process_or_server_comes_back_with(promoted_site: Site) -> None:
    site, active = promoted_site, str(promoted_site.active())
    before = len(site.said.read_text())
    [server] = [child for child in site.process.children() if child.name() == "tritonserver"]
    next(one for one in server.children() if f"/text_classifier/{active}/" in one.cmdline()[1]).kill()
    again = ("text_classifier is served again", "Triton is ready again")  # where loading takes longer than the supervisor waits
    _wait(lambda: any(words in site.said.read_text()[before:] for words in again), 60)
    assert site.served() == {active}
    _kill_server(site)
    assert site.served() == {active}


@pytest.mark.experiment("publisher killed")
def test_a_rollback_that_is_killed_is_finished_or_taken_back_by_the_server(promoted_site: Site) -> None:
    site = promoted_site
    words = ["-m", "slipway.cli", "rollback", "--repository", str(site.registry.repository)]
    with subprocess.Popen([sys.executable, *words], cwd=CHECKOUT) as process:
        _wait(lambda: journal(site.registry).exists() or process.poll() is not None, 60)
        process.kill()
    _wait(lambda: not is_unfinished(site.registry), 30)
    assert site.served() == {str(site.active())}
    assert site.run("status").returncode == 0


def test_where_nobody_serves_a_version_is_tried_and_made_active_all_the_same(
    one_engine: Path, published: Path, tmp_path: Path
) -> None:
    site = Site.unserved(published, tmp_path / "published")
    assert site.run("publish", one_engine).returncode == 0
    assert site.run("promote", "--pairs", 20, "--p99-limit", 100).returncode == 0
    assert read_published(site.registry).active == 2
    assert "nobody serves it" in site.run("status").stdout
    assert site.run("rollback").returncode == 0
    done = site.run("promote")
    assert done.returncode == 10
    assert "version 2 is the newest, and was rolled back" in done.stderr
    assert "nothing to roll back to" in site.run("rollback").stderr


def test_a_run_that_was_trained_again_since_is_not_promoted(one_engine: Path, published: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(one_engine, tmp_path / "run"))
    site = Site.unserved(published, tmp_path / "published")
    assert site.run("publish", run).returncode == 0
    facts = json.loads((run / "bundle" / bundle.MANIFEST).read_text())
    manifest.write_json(run / "bundle" / bundle.MANIFEST, {**facts, "again": True})
    done = site.run("promote")
    assert done.returncode == 6
    assert "the version's run has been trained again" in done.stderr


@pytest.mark.parametrize("task", bundle.TASKS)
def test_a_model_that_answers_worse_is_promoted_only_for_a_reason(once: Once, tmp_path: Path, task: str) -> None:
    """It is as its own SavedModel, and so it passes every comparison with that one."""
    site = Site(Registry(tmp_path / "model_repository"), 0, psutil.Process(), tmp_path)
    good, worse = (
        once(f"{name}_{task}", partial(word_runs.build, task=task, wrong=wrong, seed=wrong))
        for name, wrong in (("good", 0), ("worse", 12))
    )
    add_version(site.registry, proven(good))  # as publish does after a trial
    golden_rows.keep(site.registry, bundle.load(good / "bundle"))
    assert site.run("publish", worse).returncode == 0
    done = site.run("promote", "--pairs", 20, "--p99-limit", 100)
    assert done.returncode == 10, done.stdout + done.stderr
    assert "the new version answers worse than version 1" in done.stderr
    assert read_published(site.registry).active == 1
    accepting = shlex.split(done.stderr.partition("all the same: ")[2])[1:]
    assert slipway(*accepting[:-4], *accepting[-2:]).returncode == 2  # without the reason
    assert slipway(*accepting).returncode == 0
    assert read_published(site.registry).active == 2
    last = site.audit()[-1]
    assert (last["accepted"]["reason"], last["result"]) == ("WHY", "done")
    compared = [rows for canary in last["canaries"] for rows in canary["compared"]]
    assert [rows["rows_of"] for rows in compared] == [1, 2]
    assert all(rows["total"]["lost"] > rows["total"]["gained"] for rows in compared)
