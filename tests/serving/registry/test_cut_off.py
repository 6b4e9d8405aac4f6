"""A promotion or a rollback that is killed: whoever comes next finds one release, whole, and it is
the published one.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from serving.registry import rollout
from serving.registry.registry import (
    Compiled,
    Origin,
    Published,
    Registry,
    add_version,
    promoted,
    publishing_lock,
    read_published,
    rolled_back,
)
from serving.registry.rollout import RunningServer
from serving.server import control, triton
from slipway.contract.records import TEXT_MODEL
from slipway.errors import PublishingError
from tests.support.command import CHECKOUT, slipway
from tests.support.serving import tiny_repository

MODELS = {1: (TEXT_MODEL, "one"), 2: (TEXT_MODEL, "one", "two")}

_SWITCH = """
import os, signal, sys
from pathlib import Path
from serving.registry import registry as published, rollout
from serving.server import control
from slipway.contract import manifest

place, function, call, when = sys.argv[2:6]
module = {"control": control, "manifest": manifest, "rollout": rollout}[place]
real, calls = getattr(module, function), iter(range(1, 100))

def deadly(*words, **options):
    last = next(calls) == int(call)
    if last and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = real(*words, **options)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

setattr(module, function, deadly)
registry = published.Registry(Path(sys.argv[1]))
with published.publishing_lock(registry):
    before = published.read_published(registry)
    after = published.promoted(before, 2) if before.active == 1 else published.rolled_back(before)
    rollout.switch(rollout.running_server(registry), registry, before, after)
"""


@dataclass(frozen=True)
class Site:
    """A registry, and a server of it that nobody looks after."""

    registry: Registry
    server: RunningServer

    def switch(self, to: int, standby: bool) -> None:
        """Switch to a version, as promote and rollback do."""
        with publishing_lock(self.registry):
            before = read_published(self.registry)
            rollout.take_up(self.server, self.registry, before)
            if before.active != to:
                after = promoted(before, to) if to == 2 else rolled_back(before)
                rollout.switch(self.server, self.registry, before, after)
            if standby:
                rollout.keep_loaded(self.server, self.registry, read_published(self.registry))

    def cut_off(self, place: str, function: str, call: int, when: str) -> None:
        """Switch to the other version in a process that is killed in that call."""
        words = ["-c", _SWITCH, str(self.registry.repository), place, function, str(call), when]
        done = subprocess.run([sys.executable, *words], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == -signal.SIGKILL, done.stderr

    def status(self) -> subprocess.CompletedProcess[str]:
        return slipway("status", "--repository", self.registry.repository)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("cut_off")
    registry = Registry(place / "model_repository")
    directory = tiny_repository.sleepers(place / "run", MODELS[2]) / "model_repository"
    for models in MODELS.values():
        add_version(registry, Compiled(directory, Origin("run", "", "", {}, dict.fromkeys(models, "none"), ["no", "yes"])))
    registry.state.mkdir(parents=True)
    rollout.clear_canaries(registry)
    ports, key = triton.free_ports(), control.new_key()
    process = triton.start(registry.repository, ports, registry.state / "triton.log", key, registry.canaries)
    server = RunningServer(process.http, process.grpc, key, standby=True)
    try:
        with control.record(registry.state, server.to_json()):
            yield Site(registry, server)
    finally:
        triton.stop(process)


def whole(site: Site) -> Published:
    """Assert that one release is served, all of it, and that it is the published one."""
    published = read_published(site.registry)
    served = site.server.served_versions()
    assert {model: versions[-1] for model, versions in served.items()} == dict.fromkeys(
        MODELS[published.active], str(published.active)
    )
    assert not rollout.is_unfinished(site.registry)
    return published


POINTS = [  # the call in which the process is killed, and the release that the next command finds: it, or the one before
    ("manifest", "write_json", 1, "before", "before"),  # nothing has begun
    ("manifest", "write_json", 1, "after", "before"),  # nothing but the journal
    ("manifest", "_exchange", 1, "before", "before"),  # all is there beside the repository
    ("manifest", "_exchange", 1, "after", "after"),
    ("control", "load", 1, "before", ""),
    ("control", "load", 1, "after", ""),  # other models may be loaded by then, or not
    ("control", "load", 2, "after", ""),
    ("rollout", "serve_published", 1, "after", "after"),  # nothing is left but to remove the journal
]


@pytest.mark.experiment("publisher killed")
@pytest.mark.parametrize(("start", "standby"), [(1, False), (2, False), (2, True)], ids=["promote", "rollback", "at once"])
@pytest.mark.parametrize(("place", "function", "call", "when", "expected"), POINTS)
def test_after_a_kill_the_next_command_finds_one_release(
    site: Site, place: str, function: str, call: int, when: str, expected: str, start: int, standby: bool
) -> None:
    site.switch(start, standby)
    site.cut_off(place, function, call, when)
    with publishing_lock(site.registry):
        rollout.take_up(site.server, site.registry, read_published(site.registry))
    active = whole(site).active
    if expected:
        assert active == (start if expected == "before" else 3 - start)


def test_status_says_that_a_switch_was_cut_off_and_names_the_command_that_repairs_it(site: Site) -> None:
    site.switch(2, standby=True)
    assert site.status().returncode == 0
    site.cut_off("manifest", "_exchange", 1, "before")  # the version before answers already
    done = site.status()
    assert done.returncode == PublishingError.exit_code
    assert f"status --repair --repository {site.registry.repository}" in done.stderr
    assert slipway("status", "--repair", "--repository", site.registry.repository).returncode == 0
    assert whole(site).active == 2
    assert site.status().returncode == 0


@pytest.mark.experiment("publisher killed")
def test_a_canary_that_was_killed_is_withdrawn_by_the_next_command(site: Site) -> None:
    site.switch(1, standby=False)
    canary = rollout.loaded_canary(site.server, site.registry, "one", 2)
    canary.__enter__()  # and nobody leaves it
    assert "one_canary" in site.server.served_versions()
    assert site.status().returncode == PublishingError.exit_code
    site.switch(1, standby=False)
    assert whole(site).active == 1


def test_a_version_that_stayed_loaded_answers_by_the_processes_it_had(site: Site) -> None:
    site.switch(2, standby=True)
    assert site.server.served_versions() == {TEXT_MODEL: ["1", "2"], "one": ["1", "2"], "two": ["2"]}
    end = time.monotonic() + 20
    while len(before := processes(site.registry, 1)) != 2:  # those of earlier loads take their time to end
        assert time.monotonic() < end
        time.sleep(0.1)
    with publishing_lock(site.registry):
        published = read_published(site.registry)
        assert rollout.loaded_beside(site.server, site.registry, published, 1)
        rollout.switch(site.server, site.registry, published, rolled_back(published))
    assert processes(site.registry, 1) >= before
    assert whole(site).active == 1


def test_what_was_published_since_makes_it_be_loaded_again(site: Site) -> None:
    """Triton would, because links have touched its files: so it is not unloaded before."""
    site.switch(2, standby=True)
    published = read_published(site.registry)
    assert rollout.loaded_beside(site.server, site.registry, published, 1)
    version = published.versions[2]
    origin = replace(version, published="", rolled_back="")
    directory = site.registry.repository.parent / "run" / "model_repository"
    add_version(site.registry, Compiled(directory, Origin(origin.run, "", "", {}, origin.variants, origin.labels)))
    assert not rollout.loaded_beside(site.server, site.registry, read_published(site.registry), 1)
    site.switch(1, standby=False)
    assert whole(site).active == 1


def processes(registry: Registry, number: int) -> set[int]:
    return {process.pid for process in rollout.processes(registry, number)}
