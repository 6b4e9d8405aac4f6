"""The published repository: what the top-level model_repository/ holds, version by version, and who may change it.

model_repository/<model>/config.pbtxt      Triton serves the active version alone: its policy names it
                         configs/<N>.pbtxt the config that version N came with
                         <N>/              as it was compiled
                 repository.json           the manifest: versions, which is active, which were before it
runs/published/model_repository/           beside it: publishing.jsonl, lock, candidate/, and of `make serve` log and serving.json

A change is built beside and takes the place of the whole directory in one rename; until then there is the old state.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving import model_versions, repository_rules
from serving.compiled_repository import Compiled
from serving.records import README, REPOSITORY
from serving.repository_models import type_name
from train import manifest
from train.errors import ManifestError, PublishingError

DEFAULT = Path("model_repository")
_KEPT = 5  # newest versions; the active one and the one before it are kept in any case
_ROLLED_BACK = "rolled_back"  # when, of a version
_FIX = "make publish RUN=runs/<name>"


@dataclass(frozen=True)
class Place:
    repository: Path  # what Triton is pointed at

    @property
    def state(self) -> Path:
        """Where what is no part of the repository lies: Triton takes every directory for a model, the manifest lists every file."""
        return self.repository.parent / "runs" / "published" / self.repository.name

    @property
    def candidates(self) -> Path:
        """Where a version lies that is being tried: the server's second repository."""
        return self.state / "candidate"


@dataclass(frozen=True)
class Published:
    active: int
    history: tuple[int, ...]  # versions that were active, one after the other; the last is `active`
    versions: dict[int, dict[str, Any]]  # number → where it came from
    models: tuple[str, ...]

    @property
    def newest(self) -> int:
        return max(self.versions)

    def why_not(self, number: int) -> str:
        """Why this version cannot be promoted; "" where it can."""
        if number not in self.versions:
            return f"there is no version {number}"
        return f"version {number} is the active one" if number == self.active else ""

    def rolled_back(self, number: int) -> str:
        """When; "" where it was not."""
        return str(self.versions[number].get(_ROLLED_BACK, ""))

    def facts(self) -> dict[str, Any]:
        versions = {str(number): facts for number, facts in sorted(self.versions.items())}
        return {"active": self.active, "history": list(self.history), "models": list(self.models), "versions": versions}


def read(place: Place) -> Published:
    """Raises ManifestError when nothing is published, or files were changed since."""
    facts = manifest.read(place.repository, REPOSITORY, _FIX, beside=(README,))
    try:
        versions = {int(number): one for number, one in facts["versions"].items()}
        return Published(int(facts["active"]), tuple(facts["history"]), versions, tuple(facts["models"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestError(
            f"{place.repository} was not published",
            expected="a manifest with versions, as serving.publish writes it",
            found=f"{error!r}: a run's own repository?",
            where=str(place.repository / REPOSITORY),
            fix=_FIX,
        ) from error


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """One publisher at a time. Raises PublishingError that names the other one; a killed one holds nothing."""
    place.state.mkdir(parents=True, exist_ok=True)
    path = place.state / "lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PublishingError(
                "somebody else is publishing",
                expected=f"one publisher of {place.repository} at a time",
                found=_holder(file.read()),
                where=str(path),
                fix="wait until it has ended, then the same command again",
            ) from error
        file.truncate()
        json.dump({"pid": os.getpid(), "since": now(), "command": shlex.join(sys.orig_argv)}, file)
        file.flush()
        yield


def _holder(said: str) -> str:
    with contextlib.suppress(ValueError, KeyError):
        one = json.loads(said)
        return f"process {one['pid']} since {one['since']}: {one['command']}"
    return "a process that has just begun"


def add(place: Place, compiled: Compiled) -> int:
    """The compiled repository as the next version; its number. The first one is active at once: there is none to keep.

    Raises PublishingError when clients of the active version could not ask this one in the same words.
    """
    facts = {**compiled.facts, "published": now()}
    if not (place.repository / REPOSITORY).exists():
        before, number = None, 1
        after = Published(number, (number,), {number: facts}, tuple(compiled.models))
    else:
        before = read(place)
        _refuse_other_interface(place, compiled, before)
        number = before.newest + 1
        kept = {*sorted(before.versions)[1 - _KEPT :], *before.history[-2:]}
        versions = {one: before.versions[one] for one in sorted(kept)} | {number: facts}
        after = replace(before, history=tuple(one for one in before.history if one in kept), versions=versions)
    with _changed(place, after) as building:
        for model in after.models:
            for old in sorted(before.versions.keys() - after.versions.keys() if before else ()):
                model_versions.drop(building / model, old)
            model_versions.add(compiled.directory / model, building / model, number)
    return number


def promote(place: Place, number: int) -> None:
    """Make it the version that Triton serves, from its next start on."""
    before = read(place)
    facts = {name: value for name, value in before.versions[number].items() if name != _ROLLED_BACK}
    _activate(place, replace(before, active=number, history=(*before.history, number), versions={**before.versions, number: facts}))


def roll_back(place: Place) -> None:
    """Make the version before the active one that which Triton serves, from its next start on."""
    before = read(place)
    facts = {**before.versions[before.active], _ROLLED_BACK: now()}
    versions = {**before.versions, before.active: facts}
    _activate(place, replace(before, active=before.history[-2], history=before.history[:-1], versions=versions))


def _activate(place: Place, after: Published) -> None:
    with _changed(place, after):
        pass


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _changed(place: Place, after: Published) -> Iterator[Path]:
    """A copy of the repository, made of links, that becomes `after` and takes its place when the block ends well."""
    with manifest.atomic_directory(place.repository) as building:
        if place.repository.exists():
            model_versions.link_tree(place.repository, building)
        yield building
        for model in after.models:
            model_versions.activate(building / model, after.active)
        repository_rules.refuse_errors(building, "make repository, then the same command again")
        manifest.seal(building, REPOSITORY, after.facts(), beside=(README,))


def _refuse_other_interface(place: Place, compiled: Compiled, before: Published) -> None:
    expected = {model: _interface(model_versions.config(place.repository / model, before.active)) for model in before.models}
    found = {model: _interface(compiled.config(model)) for model in compiled.models}
    labels = before.versions[before.active]["labels"]
    for what, old, new in (
        ("models", sorted(expected), sorted(found)),
        ("labels", labels, compiled.facts["labels"]),
        *((f"inputs and outputs of {model}", expected[model], found.get(model)) for model in sorted(expected)),
    ):
        if old != new:
            raise PublishingError(
                f"this repository has other {what} than the one that is served",
                expected=f"{old}, as version {before.active} has",
                found=f"{new}",
                where=str(compiled.directory),
                fix="clients would fail: publish it into a repository of its own, with --repository other_repository",
            )


def _interface(config: Any) -> list[str]:
    """What a client has to know of a model."""
    tensors = [*config.input, *config.output]
    return [
        f"max_batch_size {config.max_batch_size}",
        *(f"{one.name}: {type_name(one.data_type)} {list(one.dims)}" for one in tensors),
    ]
