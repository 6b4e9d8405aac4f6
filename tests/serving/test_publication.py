"""Versions in a published repository: whole or not there, one publisher at a time, and nothing that clients could stumble over."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from serving import audit, model_config, publication, repository_rules
from serving.compiled_repository import Compiled
from serving.model_config import Tensor
from serving.publication import Place
from serving.records import README, REPOSITORY
from tests.conftest import CHECKOUT, command
from tests.serving import tiny
from train import manifest
from train.errors import ManifestError, PublishingError


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where there is nothing yet but the page that is in git."""
    (tmp_path / "model_repository").mkdir()
    (tmp_path / "model_repository" / README).write_text("what Triton is pointed at\n")
    return Place(tmp_path / "model_repository")


@pytest.fixture
def compiled(tmp_path: Path) -> Compiled:
    directory = tiny.sleepers(tmp_path / "run") / "model_repository"
    return Compiled(directory, {"one": "none", "two": "none"}, {"labels": ["no", "yes"]})


def policy(place: Place, model: str) -> list[int]:
    config = model_config.read((place.repository / model / "config.pbtxt").read_text())
    return list(config.version_policy.specific.versions)


def test_the_first_version_is_active_and_the_next_waits(place: Place, compiled: Compiled) -> None:
    assert [publication.add(place, compiled) for _ in range(3)] == [1, 2, 3]
    published = publication.read(place)
    assert (published.active, published.newest) == (1, 3)
    assert [policy(place, model) for model in ("one", "two")] == [[1], [1]]
    assert (place.repository / README).read_text() == "what Triton is pointed at\n"
    assert not repository_rules.check(place.repository).findings


def test_promoted_and_rolled_back_the_policy_names_what_is_active(place: Place, compiled: Compiled) -> None:
    for _ in range(3):
        publication.add(place, compiled)
    publication.promote(place, 3)
    assert (publication.read(place).active, policy(place, "one"), policy(place, "two")) == (3, [3], [3])
    publication.roll_back(place)
    published = publication.read(place)
    assert (published.active, policy(place, "one"), published.history) == (1, [1], (1,))
    assert published.rolled_back(3)
    assert not published.rolled_back(2)
    publication.promote(place, 3)
    assert not publication.read(place).rolled_back(3)


def test_old_versions_are_dropped_but_not_the_active_one_and_the_one_before(place: Place, compiled: Compiled) -> None:
    for _ in range(3):
        publication.add(place, compiled)
    publication.promote(place, 2)
    for _ in range(7):
        publication.add(place, compiled)
    assert sorted(publication.read(place).versions) == [1, 2, 6, 7, 8, 9, 10]
    assert {path.name for path in (place.repository / "one").iterdir() if path.name.isdigit()} == {*"126789", "10"}
    publication.promote(place, 10)
    assert publication.add(place, compiled) == 11
    assert sorted(publication.read(place).versions) == [2, 7, 8, 9, 10, 11]
    assert not repository_rules.check(place.repository).findings


def test_a_changed_file_is_named(place: Place, compiled: Compiled) -> None:
    publication.add(place, compiled)
    model = place.repository / "one" / "1" / "model.py"
    model.unlink()
    model.write_text("other")
    with pytest.raises(ManifestError, match=r"one/1/model\.py"):
        publication.add(place, compiled)


def test_the_runs_own_files_may_be_replaced_afterwards(place: Place, compiled: Compiled) -> None:
    publication.add(place, compiled)
    shutil.rmtree(compiled.directory)
    publication.read(place)


def test_a_runs_own_repository_is_not_taken_for_a_published_one(compiled: Compiled) -> None:
    with pytest.raises(ManifestError, match="was not published"):
        publication.read(Place(compiled.directory))


def test_what_triton_would_stumble_over_is_not_published(place: Place, compiled: Compiled) -> None:
    publication.add(place, compiled)
    shutil.rmtree(compiled.directory / "one" / "1")
    (compiled.directory / "one" / "1").mkdir()
    with pytest.raises(ManifestError, match="version-empty"):
        publication.add(place, compiled)
    assert sorted(publication.read(place).versions) == [1]


@pytest.mark.parametrize("what", ["models", "labels", "inputs and outputs of two"])
def test_a_version_that_clients_could_not_ask_as_before_is_refused(place: Place, compiled: Compiled, what: str) -> None:
    publication.add(place, compiled)
    if what == "models":
        compiled = replace(compiled, variants={"one": "none"})
    elif what == "labels":
        compiled = replace(compiled, facts={"labels": ["no", "yes", "perhaps"]})
    else:
        path = compiled.directory / "two" / "config.pbtxt"
        tensors = (Tensor("x", "FP32", (1,)),), (Tensor("z", "FP32", (1,)),)
        path.unlink()
        path.write_text(model_config.ModelConfig("two", *tensors, 4).text())
    with pytest.raises(PublishingError, match=f"other {what} than"):
        publication.add(place, compiled)
    assert sorted(publication.read(place).versions) == [1]


def test_a_second_publisher_is_refused_and_told_who_the_first_is(place: Place) -> None:
    with publication.locked(place):
        done = command("-m", "serving.publish", "runs/any", "--repository", place.repository)
    assert done.returncode == 10
    assert f"process {os.getpid()} since" in done.stderr
    assert audit.last(place, 1)[0]["why"] == "somebody else is publishing"
    with publication.locked(place):  # the first has ended
        pass


_KILLED = """
import sys, time
from pathlib import Path
from serving import publication
from serving.compiled_repository import Compiled
from serving.publication import Place
from train import manifest

def stop(*_, **__):
    print("here", flush=True)
    time.sleep(60)

{where} = stop
place, run = Place(Path(sys.argv[1])), Path(sys.argv[2])
with publication.locked(place):
    publication.add(place, Compiled(run, {{"one": "none", "two": "none"}}, {{"labels": ["no", "yes"]}}))
"""


@pytest.mark.parametrize(
    ("where", "newest"),
    [
        ("publication.model_versions.add", 1),  # nothing but links to the old state
        ("manifest.seal", 1),  # the new version is there, the manifest is not
        ("manifest._sync_tree", 1),  # all is there, not in its place
        ("manifest.shutil.rmtree", 2),  # in its place, the old state beside it
    ],
)
def test_a_killed_publisher_leaves_a_whole_state_and_no_lock(place: Place, compiled: Compiled, where: str, newest: int) -> None:
    publication.add(place, compiled)
    program = [sys.executable, "-c", _KILLED.format(where=where), place.repository, compiled.directory]
    with subprocess.Popen(program, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGKILL)
    assert publication.read(place).newest == newest
    assert not repository_rules.check(place.repository).findings
    with publication.locked(place):
        assert publication.add(place, compiled) == newest + 1
    assert [path.name for path in place.repository.parent.glob(".*")] == []


def test_a_file_system_without_links_gets_copies(place: Place, compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("cannot link here")

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        publication.add(place, compiled)
    assert publication.read(place).newest == 2
    assert manifest.read(place.repository, REPOSITORY, "", beside=(README,))
