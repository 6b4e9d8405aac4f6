"""Versions in a published repository: whole or not there, one publisher at a time, and nothing that
clients could stumble over.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from serving import model_config
from serving.model_config import Tensor
from serving.registry.audit import last_entries
from serving.registry.registry import (
    Compiled,
    Origin,
    Registry,
    add_version,
    make_active,
    promoted,
    publishing_lock,
    read_published,
    rolled_back,
)
from slipway.contract import manifest
from slipway.contract.records import README, REPOSITORY, TEXT_MODEL
from slipway.errors import ManifestError, PublishingError
from slipway.lint import linter
from tests.support.command import CHECKOUT, slipway
from tests.support.serving import tiny_repository


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Where there is nothing yet but the page that is in git."""
    (tmp_path / "model_repository").mkdir()
    (tmp_path / "model_repository" / README).write_text("what Triton is pointed at\n")
    return Registry(tmp_path / "model_repository")


@pytest.fixture
def compiled(tmp_path: Path) -> Compiled:
    directory = tiny_repository.sleepers(tmp_path / "run", (TEXT_MODEL, "two")) / "model_repository"
    return Compiled(directory, Origin("run", "", "", {}, {TEXT_MODEL: "none", "two": "none"}, ["no", "yes"]))


def without_two(compiled: Compiled) -> Compiled:
    return replace(compiled, origin=replace(compiled.origin, variants={TEXT_MODEL: "none"}))


def promote_version(registry: Registry, number: int) -> None:
    make_active(registry, promoted(read_published(registry), number))


def roll_back_version(registry: Registry) -> None:
    make_active(registry, rolled_back(read_published(registry)))


def policy(registry: Registry, model: str) -> list[int]:
    config = model_config.read((registry.repository / model / "config.pbtxt").read_text())
    return list(config.version_policy.specific.versions)


def test_the_first_version_is_active_and_the_next_waits(registry: Registry, compiled: Compiled) -> None:
    assert [add_version(registry, compiled) for _ in range(3)] == [1, 2, 3]
    published = read_published(registry)
    assert (published.active, published.newest) == (1, 3)
    assert [policy(registry, model) for model in (TEXT_MODEL, "two")] == [[1], [1]]
    assert (registry.repository / README).read_text() == "what Triton is pointed at\n"
    assert not linter.check(registry.repository).findings


def test_no_file_of_a_model_may_be_written(registry: Registry, compiled: Compiled) -> None:
    for _ in range(2):
        add_version(registry, compiled)
    promote_version(registry, 2)
    files = {path for model in (TEXT_MODEL, "two") for path in manifest.files(registry.repository / model).values()}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}


def test_promoted_and_rolled_back_the_policy_names_what_is_active(registry: Registry, compiled: Compiled) -> None:
    for _ in range(3):
        add_version(registry, compiled)
    promote_version(registry, 3)
    assert (read_published(registry).active, policy(registry, TEXT_MODEL), policy(registry, "two")) == (3, [3], [3])
    roll_back_version(registry)
    published = read_published(registry)
    assert (published.active, policy(registry, TEXT_MODEL), published.history) == (1, [1], (1,))
    assert published.versions[3].rolled_back
    assert not published.versions[2].rolled_back
    promote_version(registry, 3)
    assert not read_published(registry).versions[3].rolled_back


def test_old_versions_are_dropped_but_not_the_active_one_and_the_one_before(registry: Registry, compiled: Compiled) -> None:
    for _ in range(3):
        add_version(registry, compiled)
    promote_version(registry, 2)
    for _ in range(7):
        add_version(registry, compiled)
    assert sorted(read_published(registry).versions) == [1, 2, 6, 7, 8, 9, 10]
    assert {path.name for path in (registry.repository / TEXT_MODEL).iterdir() if path.name.isdigit()} == {*"126789", "10"}
    promote_version(registry, 10)
    assert add_version(registry, compiled) == 11
    assert sorted(read_published(registry).versions) == [2, 7, 8, 9, 10, 11]
    assert not linter.check(registry.repository).findings


def test_a_changed_file_is_named(registry: Registry, compiled: Compiled) -> None:
    add_version(registry, compiled)
    model = registry.repository / TEXT_MODEL / "1" / "model.py"
    model.unlink()
    model.write_text("other")
    with pytest.raises(ManifestError, match=r"text_classifier/1/model\.py"):
        add_version(registry, compiled)


def test_the_runs_own_files_may_be_replaced_afterwards(registry: Registry, compiled: Compiled) -> None:
    add_version(registry, compiled)
    shutil.rmtree(compiled.directory)
    read_published(registry)


def test_a_runs_own_repository_is_not_taken_for_a_published_one(compiled: Compiled) -> None:
    with pytest.raises(ManifestError, match="was not published"):
        read_published(Registry(compiled.directory))


@pytest.mark.experiment("incomplete versions")
def test_what_triton_would_stumble_over_is_not_published(registry: Registry, compiled: Compiled) -> None:
    add_version(registry, compiled)
    shutil.rmtree(compiled.directory / TEXT_MODEL / "1")
    (compiled.directory / TEXT_MODEL / "1").mkdir()
    with pytest.raises(ManifestError, match="version-empty"):
        add_version(registry, compiled)
    assert sorted(read_published(registry).versions) == [1]


@pytest.mark.parametrize("what", ["labels", "inputs and outputs of two"])
def test_a_version_that_clients_could_not_ask_as_before_is_refused(registry: Registry, compiled: Compiled, what: str) -> None:
    add_version(registry, compiled)
    if what == "labels":
        compiled = replace(compiled, origin=replace(compiled.origin, labels=["no", "yes", "perhaps"]))
    else:
        path = compiled.directory / "two" / "config.pbtxt"
        tensors = (Tensor("x", "FP32", (1,)),), (Tensor("z", "FP32", (1,)),)
        path.unlink()
        path.write_text(model_config.ModelConfig("two", *tensors, 4).text())
    with pytest.raises(PublishingError, match=f"other {what} than"):
        add_version(registry, compiled)
    assert sorted(read_published(registry).versions) == [1]


def test_models_come_and_go_with_the_versions_that_have_them(registry: Registry, compiled: Compiled) -> None:
    add_version(registry, without_two(compiled))
    assert add_version(registry, compiled) == 2
    assert read_published(registry).exchange(2) == (["two"], [])
    assert linter.check(registry.repository).models == (TEXT_MODEL,)
    promote_version(registry, 2)
    assert (linter.check(registry.repository).models, policy(registry, "two")) == ((TEXT_MODEL, "two"), [2])
    assert read_published(registry).exchange(1) == ([], ["two"])
    before = read_published(registry)
    roll_back_version(registry)
    assert linter.check(registry.repository).models == (TEXT_MODEL,)
    make_active(registry, before)
    assert (read_published(registry), policy(registry, "two")) == (before, [2])


def test_what_is_set_aside_is_dropped_with_its_last_version(registry: Registry, compiled: Compiled) -> None:
    for _ in range(2):
        add_version(registry, compiled)
    for number in (3, 4):
        assert add_version(registry, without_two(compiled)) == number
        promote_version(registry, number)
    assert (registry.repository / TEXT_MODEL / "aside" / "two" / "2" / "model.py").exists()
    for _ in range(5):
        add_version(registry, without_two(compiled))
    assert sorted(read_published(registry).versions) == [3, 4, 5, 6, 7, 8, 9]
    assert not list(registry.repository.rglob("two"))


def test_a_model_that_comes_back_is_asked_as_before(registry: Registry, compiled: Compiled) -> None:
    add_version(registry, compiled)
    promote_version(registry, add_version(registry, without_two(compiled)))
    tensors = (Tensor("x", "FP32", (1,)),), (Tensor("z", "FP32", (1,)),)
    path = compiled.directory / "two" / "config.pbtxt"
    path.unlink()
    path.write_text(model_config.ModelConfig("two", *tensors, 4).text())
    with pytest.raises(PublishingError, match="other inputs and outputs of two than"):
        add_version(registry, compiled)


@pytest.mark.experiment("two publishers")
def test_a_second_publisher_is_refused_and_told_who_the_first_is(registry: Registry, tmp_path: Path) -> None:
    with publishing_lock(registry):
        done = slipway("publish", tmp_path, "--repository", registry.repository)
    assert done.returncode == 10
    assert f"process {os.getpid()} since" in done.stderr
    assert last_entries(registry, 1)[0]["why"] == "somebody else is publishing"
    with publishing_lock(registry):  # the first has ended
        pass


_KILLED = """
import sys, time
from pathlib import Path
from serving.registry import versions
from serving.registry.registry import Compiled, Origin, Registry, add_version, publishing_lock
from slipway.contract import manifest

def stop(*_, **__):
    print("here", flush=True)
    time.sleep(60)

{where} = stop
registry, run = Registry(Path(sys.argv[1])), Path(sys.argv[2])
with publishing_lock(registry):
    add_version(registry, Compiled(run, Origin("run", "", "", {{}}, {{"text_classifier": "none", "two": "none"}}, ["no", "yes"])))
"""


@pytest.mark.experiment("publisher killed")
@pytest.mark.parametrize(
    ("where", "newest"),
    [
        ("versions.add", 1),  # nothing but links to the old state
        ("manifest.seal", 1),  # the new version is there, the manifest is not
        ("manifest._sync_tree", 1),  # all is there, not in its registry
        ("manifest.shutil.rmtree", 2),  # in its registry, the old state beside it
    ],
)
def test_a_killed_publisher_leaves_a_whole_state_and_no_lock(
    registry: Registry, compiled: Compiled, where: str, newest: int
) -> None:
    add_version(registry, compiled)
    program = [sys.executable, "-c", _KILLED.format(where=where), registry.repository, compiled.directory]
    with subprocess.Popen(program, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGKILL)
    assert read_published(registry).newest == newest
    assert not linter.check(registry.repository).findings
    with publishing_lock(registry):
        assert add_version(registry, compiled) == newest + 1
    assert [path.name for path in registry.repository.parent.glob(".*")] == []


def test_a_file_system_without_links_gets_copies(registry: Registry, compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("cannot link here")

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        add_version(registry, compiled)
    assert read_published(registry).newest == 2
    assert manifest.read(registry.repository, REPOSITORY, "", beside=(README,))
