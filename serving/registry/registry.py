"""The registry: the published versions of a model repository, and who may change them.

model_repository/<model>/config.pbtxt      its policy names the active version, the only one served
                         configs/<N>.pbtxt the config that version N came with
                         <N>/              the model as it was compiled
text_classifier/aside/<model>/             one that the active version does not have
                 repository.json           the manifest: versions, which is active, which were
runs/published/model_repository/           publishing.jsonl, lock, golden/, canary/; during a switch
                                           switch.json; of `slipway serve --published` also its log,
                                           serving.json and resident.json

All files of a model are read-only. A change is built beside the repository, and takes its place in
one rename; until then the old state is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from serving import model_config
from serving.registry import versions
from slipway import errors, options
from slipway.contract import manifest
from slipway.contract.records import README, REPOSITORY
from slipway.errors import ManifestError, PublishingError
from slipway.lint import linter
from slipway.lint.models import CONFIG, type_name

_KEPT = 5  # newest versions; the active one and the one before it are kept in any case


_WAITED = 120  # seconds for the server to load the version before; then it hangs
_WAITED_BRIEFLY = 0.5  # seconds for any other; who only looks whether it is locked has it for a moment


class LockedError(PublishingError):
    """Another process has the lock of the registry."""


@dataclass(frozen=True)
class Origin:
    """The run, bundle and artifacts that a repository was compiled from."""

    run: str
    bundle_sha256: str
    repository_sha256: str
    artifacts: dict[str, str]  # variant → sha256 of its artifact.json
    variants: dict[str, str]  # model → the variant behind it
    labels: list[str]

    @property
    def models(self) -> list[str]:
        return list(self.variants)


@dataclass(frozen=True)
class Compiled:
    """A compiled repository that may be published."""

    directory: Path
    origin: Origin

    def config(self, model: str) -> Any:
        """Return the model's ModelConfig."""
        return model_config.read((self.directory / model / CONFIG).read_text("utf-8"))


@dataclass(frozen=True)
class Registry:
    """A published repository, which is what Triton is pointed at, and the state beside it."""

    repository: Path

    @property
    def state(self) -> Path:
        """The directory of all else: in the repository Triton would take it for a model."""
        return self.repository.parent / "runs" / "published" / self.repository.name

    @property
    def canaries(self) -> Path:
        """The server's second repository: a version lies in it during its canary."""
        return self.state / "canary"

    def command(self, *words: object) -> str:
        """Return the `slipway` command for this registry."""
        option = () if self.repository == options.REPOSITORY else ("--repository", self.repository)
        return errors.command(*words, *option)


@dataclass(frozen=True)
class PublishedVersion(Origin):
    """One version: what it was compiled from, and when (ISO 8601) it was published."""

    published: str
    rolled_back: str = ""  # when, if it was

    def to_json(self) -> dict[str, Any]:
        facts = asdict(self)
        return facts if self.rolled_back else {name: value for name, value in facts.items() if name != "rolled_back"}


@dataclass(frozen=True)
class Published:
    """The manifest of a registry."""

    active: int
    history: tuple[int, ...]  # versions that were active, one after the other; the last is `active`
    versions: dict[int, PublishedVersion]

    @property
    def models(self) -> list[str]:
        """The models that are served: those of the active version."""
        return self.versions[self.active].models

    @property
    def newest(self) -> int:
        return max(self.versions)

    @property
    def previous(self) -> int | None:
        """The version that was active before, if there was one."""
        return self.history[-2] if len(self.history) > 1 else None

    @property
    def standby(self) -> int | None:
        """The version that may stay loaded beside the active one, to switch back to at once.

        Triton answers with the highest version that it has loaded, so it has to be a lower one.
        """
        return self.previous if self.previous is not None and self.previous < self.active else None

    def exchange(self, number: int) -> tuple[list[str], list[str]]:
        """Return the models that version `number` brings, and the served ones that it lacks."""
        served, offered = {*self.models}, {*self.versions[number].models}
        return sorted(offered - served), sorted(served - offered)

    def to_json(self) -> dict[str, Any]:
        entries = {str(number): version.to_json() for number, version in sorted(self.versions.items())}
        return {"active": self.active, "history": list(self.history), "versions": entries}


def is_published(registry: Registry) -> bool:
    """Return whether there is any version."""
    return (registry.repository / REPOSITORY).exists()


def read_published(registry: Registry) -> Published:
    """Return what is published. Raise ManifestError if nothing is, or files were changed since."""
    other = errors.command("publish", "RUN", "--repository", "OTHER")
    changed = f"restore what was changed, or {other}"
    fix = changed if is_published(registry) else registry.command("publish", "RUN")
    return _published(registry, manifest.read(registry.repository, REPOSITORY, fix, beside=(README,)))


def published_facts(registry: Registry) -> Published:
    """Return what is published, without a look at any model's files. Raises ManifestError."""
    return _published(registry, manifest.read_json(registry.repository / REPOSITORY, registry.command("publish", "RUN")))


def _published(registry: Registry, facts: dict[str, Any]) -> Published:
    other = errors.command("publish", "RUN", "--repository", "OTHER")
    try:
        entries = {int(number): PublishedVersion(**version) for number, version in facts["versions"].items()}
        return Published(int(facts["active"]), tuple(facts["history"]), entries)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestError(
            f"{registry.repository} was not published",
            expected="a manifest with versions, as `slipway publish` writes it",
            found=f"{error!r}: a run's own repository?",
            where=str(registry.repository / REPOSITORY),
            fix=other,
        ) from error


@contextmanager
def publishing_lock(registry: Registry, keeper: bool = False) -> Iterator[None]:
    """Keep other publishers out for the block; a LockedError names one who is in it.

    For the `keeper` of a server, which holds it for the seconds that a load takes, others wait.
    """
    registry.state.mkdir(parents=True, exist_ok=True)
    path = registry.state / "lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+", encoding="utf-8") as file:
        began = time.monotonic()
        while not _locked(file):
            file.seek(0)
            holder = _holder(file.read())
            if keeper or time.monotonic() - began > (_WAITED if holder.get("keeper") else _WAITED_BRIEFLY):
                raise _locked_by(holder, registry, path)
            time.sleep(0.02)
        file.seek(0)
        file.truncate()
        json.dump({"pid": os.getpid(), "since": now(), "command": shlex.join(sys.orig_argv), "keeper": keeper}, file)
        file.flush()
        yield


def _locked_by(holder: dict[str, Any], registry: Registry, lock: Path) -> LockedError:
    """Return the error for a lock that another has had for too long; {}: not known who."""
    process = "process {pid} since {since}: {command}".format(**holder) if holder else "a process that has just begun"
    if holder.get("keeper"):
        return LockedError(
            "the registry's server is loading a version, and does not get on",
            expected=f"the version before loaded within {_WAITED} s",
            found=process,
            where=str(lock),
            fix=f"its log below {registry.state} says more; stop it and start it again, then the same command again",
        )
    return LockedError(
        "somebody else is publishing",
        expected=f"one publisher of {registry.repository} at a time",
        found=process,
        where=str(lock),
        fix="wait until it has ended, then the same command again",
    )


def is_locked(registry: Registry) -> bool:
    """Return whether somebody publishes, promotes or rolls back now."""
    with contextlib.suppress(FileNotFoundError), (registry.state / "lock").open(encoding="utf-8") as file:
        return not _locked(file, fcntl.LOCK_SH)
    return False


def _locked(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: str) -> dict[str, Any]:
    """Return what the lock says of its holder; {}: nothing yet."""
    with contextlib.suppress(ValueError):
        holder: dict[str, Any] = json.loads(lock)
        return holder if {"pid", "since", "command"} <= holder.keys() else {}
    return {}


def add_version(registry: Registry, compiled: Compiled) -> int:
    """Publish a compiled repository as the next version, and return its number.

    The first version is active at once: there is none to keep. A later one may have more models or
    fewer. Raises PublishingError when clients of a model could not ask this version's in the same
    words.
    """
    linter.refuse_errors(compiled.directory, _published_anew(registry, compiled.origin.run))  # where it is what is served
    added = PublishedVersion(**asdict(compiled.origin), published=now())
    dropped: dict[int, list[str]] = {}
    if not is_published(registry):
        number = 1
        after = Published(number, (number,), {number: added})
    else:
        before = read_published(registry)
        _refuse_other_interface(registry, compiled, before)
        number = before.newest + 1
        kept = {*sorted(before.versions)[1 - _KEPT :], *before.history[-2:]}
        dropped = {version: before.versions[version].models for version in before.versions.keys() - kept}
        entries = {version: before.versions[version] for version in sorted(kept)} | {number: added}
        history = tuple(version for version in before.history if version in kept)
        after = replace(before, history=history, versions=entries)
    with _changed(registry, after, number) as building:
        for version, models in dropped.items():
            for model in models:
                versions.drop(versions.directory(building, model), version)
        for model in added.models:
            versions.add(compiled.directory / model, versions.directory(building, model), number)
    return number


def promoted(before: Published, number: int) -> Published:
    """Return what is published once `number` is the active version."""
    entries = {**before.versions, number: replace(before.versions[number], rolled_back="")}
    return replace(before, active=number, history=(*before.history, number), versions=entries)


def rolled_back(before: Published) -> Published:
    """Return what is published once the version before is the active one again."""
    entries = {**before.versions, before.active: replace(before.versions[before.active], rolled_back=now())}
    return replace(before, active=before.history[-2], history=before.history[:-1], versions=entries)


def make_active(registry: Registry, after: Published) -> None:
    """Make the active version of `after` the one that Triton serves, from its next start on.

    Whoever calls it has the lock, and has read what is published: its files are not read again.
    """
    with _changed(registry, after, after.active):
        pass


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _changed(registry: Registry, after: Published, number: int) -> Iterator[Path]:
    """Yield a linked copy that replaces the repository at the end; a fault is of `number`."""
    with manifest.atomic_directory(registry.repository) as building:
        known: manifest.Inodes = {}
        if is_published(registry):
            known = manifest.inodes(registry.repository, REPOSITORY)
        if registry.repository.exists():
            manifest.link_tree(registry.repository, building, REPOSITORY)
        yield building
        versions.arrange(building, after.models)
        for model in after.models:
            versions.activate(building / model, after.active)
            versions.make_read_only(building / model)
        linter.refuse_errors(building, _published_anew(registry, after.versions[number].run))
        manifest.seal(building, REPOSITORY, after.to_json(), (README,), known)


def _published_anew(registry: Registry, run: str) -> str:
    return f"{errors.command('build', run)} && {registry.command('publish', run)}"


def _refuse_other_interface(registry: Registry, compiled: Compiled, before: Published) -> None:
    active = before.versions[before.active]
    compared = [(before.active, "labels", active.labels, compiled.origin.labels)]
    for model in compiled.origin.models:
        having = [number for number, version in before.versions.items() if model in version.models]
        if having:  # all have the same interface
            published = versions.config(versions.directory(registry.repository, model), max(having))
            offered = _interface(compiled.config(model))
            compared.append((max(having), f"inputs and outputs of {model}", _interface(published), offered))
    for number, what, old, new in compared:
        if old != new:
            run = compiled.directory.parent
            own = errors.command("publish", run, "--repository", f"{registry.repository}_2")
            raise PublishingError(
                f"this repository has other {what} than what is published",
                expected=f"{old}, as version {number} has",
                found=f"{new}",
                where=str(compiled.directory),
                fix=f"clients would fail, so publish it into a repository of its own: {own}",
            )


def _interface(config: Any) -> list[str]:
    """Return what a client has to know of a model, from its ModelConfig."""
    tensors = [f"{tensor.name}: {type_name(tensor.data_type)} {list(tensor.dims)}" for tensor in (*config.input, *config.output)]
    return [f"max_batch_size {config.max_batch_size}", *tensors]
