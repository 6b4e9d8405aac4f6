"""A rollout: the registry's server gets a version beside the served one, and then switches to it.

Triton sends a request that names no version to the highest it has loaded. So a version's canary has
another name and lies in a second repository; the switch loads the version beside the old one. To go
back is to unload the higher one: at once, where the server has kept the lower one loaded.

What is published says what is served. A switch leaves a journal, switch.json, until both are the
same; whoever comes after one that was killed makes the server serve what is published.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import psutil
from google.protobuf import json_format

from serving.registry import versions
from serving.registry.registry import (
    LockedError,
    Published,
    Registry,
    is_locked,
    make_active,
    now,
    published_facts,
    publishing_lock,
    read_published,
)
from serving.server import control, triton
from slipway import errors
from slipway.contract import manifest
from slipway.contract.records import HOST
from slipway.errors import ManifestError, PublishingError, ServerError, SlipwayError

_LOADED_WITHIN = 120  # seconds for a model, also for one that freezes the loader
_REASON_LENGTH = 300  # characters of Triton's message
_CANARY = "_canary"  # behind a model's name
_LOOK_EVERY, _PATIENCE = 1.0, 60  # seconds between two looks of the keeper, and after one that failed


@dataclass(frozen=True)
class RunningServer:
    """A server of a registry, and the key to its closed APIs."""

    http: str
    grpc: str
    key: str = field(repr=False)
    standby: bool = False  # whether it keeps the version before loaded
    inner_http: str = ""  # Triton's own addresses, of a server with a front
    inner_grpc: str = ""

    def address(self, protocol: str) -> str:
        return self.http if protocol == "http" else self.grpc

    def own_address(self, protocol: str) -> str:
        """Return Triton's own address: what is sent there waits for no room in a front, and is not
        reset with a connection of the front's.
        """
        return (self.inner_http if protocol == "http" else self.inner_grpc) or self.address(protocol)

    def to_json(self) -> dict[str, str]:
        """Return the record that `slipway serve` leaves."""
        return {"http": self.http, "grpc": self.grpc, "header": control.HEADER, "key": self.key}

    def served_versions(self) -> dict[str, list[str]]:
        """Return model → its versions that are ready. Raise ServerError if it does not answer."""
        try:
            ready = control.ready(self.own_address("http"), self.key)
        except (OSError, HTTPException, ValueError) as error:  # none, half of one, none that can be read
            raise ServerError(
                "the server does not answer",
                expected="a list of its models",
                found=str(error),
                where=self.http,
                fix="wait until it is ready, then the same command again",
            ) from error
        return {model: sorted((version for name, version in ready if name == model), key=int) for model, _ in sorted(ready)}


def running_server(registry: Registry) -> RunningServer | None:
    """Return the server of the registry, if there is one."""
    record = control.serving(registry.state)
    if not record:
        return None
    standby, inner = record.get("standby") == "yes", (record.get("inner_http", ""), record.get("inner_grpc", ""))
    return RunningServer(record["http"], record["grpc"], record["key"], standby, *inner)


def answering_server(registry: Registry) -> RunningServer | None:
    """Return the registry's server if it answers, and say so if there is one that does not.

    Such a one may be ended by requests each time that it has started. Its next start reads what is
    on disk by then, so nobody has to wait for it.
    """
    if server := running_server(registry):
        try:
            server.served_versions()
        except ServerError as error:
            why = f"does not answer ({error.found})"
            print(f"server      at {server.http} {why}: the disk alone is changed, which it reads at its next start", flush=True)
            return None
    return server


@contextmanager
def running_or_own_server(registry: Registry) -> Iterator[RunningServer]:
    """Yield the registry's server, or one for the block. Raises ServerError, or as triton.start."""
    if server := running_server(registry):
        try:
            server.served_versions()
        except ServerError as error:
            error.fix += f"; back to the version before goes without it: {registry.command('rollback')}"
            raise
        yield server
        return
    log, key, ports = registry.state / "canary.log", control.new_key(), triton.free_ports()
    own = RunningServer(f"{HOST}:{ports.http}", f"{HOST}:{ports.grpc}", key)
    with control.record(registry.state, own.to_json()):  # another server that starts meanwhile would not be switched
        log.unlink(missing_ok=True)
        clear_canaries(registry)
        process = triton.start(registry.repository, ports, log, key, registry.canaries)
        try:
            yield own
        finally:
            triton.stop(process)


def clear_canaries(registry: Registry) -> None:
    """Delete what a killed canary left: the server would load it at its start."""
    shutil.rmtree(registry.canaries, ignore_errors=True)
    registry.canaries.mkdir(parents=True)


@contextmanager
def loaded_canary(server: RunningServer, registry: Registry, model: str, number: int) -> Iterator[str]:
    """Serve a version for the block; yield its name there. Raises PublishingError."""
    name = f"{model}{_CANARY}"
    _withdraw(server, registry, name)
    staged = registry.state / "staged"  # not among the canaries: a half-copied directory freezes Triton's loader
    shutil.rmtree(staged, ignore_errors=True)
    versions.stage(versions.directory(registry.repository, model), number, name, staged)
    staged.rename(registry.canaries / name)
    try:
        try:
            control.load(server.own_address("grpc"), server.key, name, _LOADED_WITHIN)
        except OSError as error:
            raise _does_not_load(model, number, str(error), registry) from error
        yield name
    finally:
        _withdraw(server, registry, name)


def _withdraw(server: RunningServer, registry: Registry, name: str) -> None:
    if (registry.canaries / name).exists():
        with contextlib.suppress(OSError):  # never loaded, or there is no server any more
            control.unload(server.own_address("grpc"), server.key, name, _LOADED_WITHIN)
        shutil.rmtree(registry.canaries / name)


def journal(registry: Registry) -> Path:
    """Return where a switch is written down before it begins; the file is gone at its end."""
    return registry.state / "switch.json"


def is_unfinished(registry: Registry) -> bool:
    """Return whether a promotion or rollback is on, or was cut off."""
    return journal(registry).exists() or (registry.canaries.is_dir() and any(registry.canaries.iterdir()))


def switch(server: RunningServer | None, registry: Registry, before: Published, after: Published) -> None:
    """Make the active version of `after` the active one, on disk and on the server if there is one.

    A version that is loaded already answers at once. Else the state on disk comes first, then all
    models are loaded side by side; those that are gone are unloaded. If any of it fails, all is as
    it was `before`, on disk too. Raises PublishingError, ServerError.
    """
    facts = {"from": before.active, "to": after.active, "pid": os.getpid(), "since": now(), "command": shlex.join(sys.orig_argv)}
    manifest.write_json(journal(registry), facts)
    try:
        if server and loaded_beside(server, registry, before, after.active):
            common = [model for model in before.models if model in after.models]
            load_versions(server, registry, common, before.active, [after.active])
        make_active(registry, after)
        if server:
            serve_published(server, registry, after)
    except BaseException:
        if published_facts(registry) != before:
            make_active(registry, before)
        with contextlib.suppress(SlipwayError):  # the journal stays, and what is on disk: whoever comes next serves that
            repair(server, registry, before)
        raise
    journal(registry).unlink()


def repair(server: RunningServer | None, registry: Registry, published: Published) -> None:
    """Finish what was cut off: make the server serve what is published, and nothing else.

    Without a server there is nothing to do: its next start reads what is on disk. Raises as
    serve_published.
    """
    if server:
        serve_published(server, registry, published)
    clear_canaries(registry)
    journal(registry).unlink(missing_ok=True)


def roll_back(server: RunningServer | None, registry: Registry, before: Published, after: Published) -> bool:
    """Switch to the version before; return whether a server serves it already.

    Where the server has ended meanwhile the disk alone is changed. Raises as switch.
    """
    try:
        switch(server, registry, before, after)
    except SlipwayError:
        if server is None or answering_server(registry):
            raise
        switch(None, registry, before, after)
        return False
    return server is not None


def is_cut_off(server: RunningServer | None, registry: Registry, published: Published) -> bool:
    """Return whether a promotion or rollback was cut off, or another version is served.

    A model that is missing is no sign of that: the supervisor loads it anew, or has put it out of
    service. Raises ServerError.
    """
    served = server.served_versions() if server else {}
    return is_unfinished(registry) or bool(_faults(served, published) & served.keys())


def take_up(server: RunningServer | None, registry: Registry, published: Published) -> None:
    """Repair what a killed command left, before another one begins. Raises as repair."""
    if is_cut_off(server, registry, published):
        repair(server, registry, published)
        print(
            f"repaired    a promotion or rollback was cut off: version {published.active} is the active one, and nothing else",
            flush=True,
        )


def serve_published(server: RunningServer, registry: Registry, published: Published) -> None:
    """Make the server serve the active version of every published model, and no other model.

    A model that does already is left alone. Raises PublishingError for the first that Triton does
    not load, ServerError if it does not answer.
    """
    wrong = faults(server, published)
    for model in sorted(wrong - {*published.models}):
        if model.endswith(_CANARY):
            _withdraw(server, registry, model)
        with contextlib.suppress(OSError):  # it was never loaded; what is still there is named below
            control.unload(server.own_address("grpc"), server.key, model, _LOADED_WITHIN)
    load_versions(server, registry, sorted(wrong & {*published.models}), published.active, [published.active])
    if left := sorted(faults(server, published)):
        served = server.served_versions().get(left[0], ["none"])
        raise _does_not_load(left[0], published.active, f"Triton serves {', '.join(served)}", registry)


def faults(server: RunningServer, published: Published) -> set[str]:
    """Return the models that are not served as published: missing, additional, another version.

    Beside the active version there may be the one before. Raises ServerError.
    """
    return _faults(server.served_versions(), published)


def _faults(served: dict[str, list[str]], published: Published) -> set[str]:
    active = str(published.active)
    allowed = ([active], [str(published.standby), active])
    names = {*served, *published.models}
    return {model for model in names if model not in published.models or served.get(model) not in allowed}


def load_versions(server: RunningServer, registry: Registry, models: list[str], number: int, loaded: list[int]) -> None:
    """Load these versions of the models, side by side, by the config of version `number`.

    The config is in the request, because Triton may not read the one on disk again. Versions that
    Triton has by the same config, and whose files nobody has touched since, stay as they are.
    Raises PublishingError for the first model that Triton does not load.
    """

    def load(model: str) -> OSError | None:
        config = versions.config(versions.directory(registry.repository, model), number)
        config.version_policy.specific.versions[:] = loaded
        as_json = json_format.MessageToJson(config, preserving_proto_field_name=True)
        try:
            control.load(server.own_address("grpc"), server.key, model, _LOADED_WITHIN, as_json)
        except OSError as error:
            return error
        return None

    with ThreadPoolExecutor(max(len(models), 1)) as threads:
        errors_of = dict(zip(models, threads.map(load, models), strict=True))
    for model, error in errors_of.items():
        if error:
            raise _does_not_load(model, max(loaded), str(error), registry) from error


def loaded_beside(server: RunningServer, registry: Registry, before: Published, number: int) -> bool:
    """Return whether version `number` can answer at once when the active one is unloaded.

    It can if it is the lower one, and nobody has touched the files since Triton loaded both: it
    would read them anew first.
    """
    if number != before.standby or residence(registry) != (inode(registry), number, before.active):
        return False
    served, models = server.served_versions(), before.versions[number].models
    return all(str(number) in served.get(model, []) for model in before.models if model in models)


def residence(registry: Registry) -> tuple[int, int, int] | None:
    """Return what was recorded when two versions were loaded: inode, lower and higher version."""
    with contextlib.suppress(ManifestError, KeyError):
        facts = manifest.read_json(_resident(registry), "")
        return facts["inode"], facts["standby"], facts["active"]
    return None


def keep_loaded(server: RunningServer, registry: Registry, published: Published) -> None:
    """Load the version before beside the active one, so that a rollback takes no time.

    One model after the other: nobody waits for it, and clients need the cores. Each gets the active
    version's own config, which it may lack after a rollback. Raises as load_versions.
    """
    standby = published.standby
    having = published.versions[standby].models if standby is not None else []
    for model in published.models:
        lower = [standby] if standby is not None and model in having else []
        load_versions(server, registry, [model], published.active, [*lower, published.active])
    manifest.write_json(_resident(registry), {"inode": inode(registry), "standby": standby or 0, "active": published.active})


@contextmanager
def keeper(registry: Registry, tell: Callable[[str], None]) -> Iterator[None]:
    """Look after the registry's server for the block, which runs it.

    It repairs what a killed command left, and keeps the version before loaded.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_keep, args=(registry, tell, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(1)


def _keep(registry: Registry, tell: Callable[[str], None], stop: threading.Event) -> None:
    while not stop.wait(_LOOK_EVERY):
        server = None
        try:
            server = running_server(registry)
            if server and not is_locked(registry):
                _look_after(server, registry, tell)
        except (ServerError, LockedError, FileNotFoundError):  # it starts or ends, or somebody publishes just now
            continue
        except (SlipwayError, OSError, HTTPException, ValueError) as error:
            if server and _answers(server):  # else it ended meanwhile, which is why that failed
                tell(f"the registry's server is not as it should be: {error}")
                stop.wait(_PATIENCE)


def _answers(server: RunningServer) -> bool:
    try:
        server.served_versions()
    except ServerError:
        return False
    return True


def _look_after(server: RunningServer, registry: Registry, tell: Callable[[str], None]) -> None:
    if is_cut_off(server, registry, published_facts(registry)):  # raises where it does not answer yet
        with publishing_lock(registry, keeper=True):
            published = read_published(registry)
            if not is_cut_off(server, registry, published):  # somebody else was quicker
                return
            repair(server, registry, published)
        tell(f"a promotion or rollback was cut off: version {published.active} is served, and nothing else")
    elif server.standby and _lacks(server, registry, published_facts(registry)):
        with publishing_lock(registry, keeper=True):
            published = read_published(registry)
            if not faults(server, published):
                keep_loaded(server, registry, published)
        if published.standby is not None:
            tell(
                f"version {published.standby} stays loaded beside version {published.active}: {memory(registry, published.standby)}"
            )


def _lacks(server: RunningServer, registry: Registry, published: Published) -> bool:
    """Return whether the version before has to be loaded, or the active one by its own config."""
    if faults(server, published):  # the supervisor is at work, or has put a model out of service
        return False
    recorded, standby = residence(registry), published.standby
    if standby is None:
        return recorded is not None and recorded[2] != published.active
    served = server.served_versions()
    wanted = [model for model in published.models if model in published.versions[standby].models]
    loaded = all(str(standby) in served.get(model, []) for model in wanted)
    return not loaded or recorded != (inode(registry), standby, published.active)


def memory(registry: Registry, number: int) -> str:
    """Say what the processes of a version take, as "0.4 GiB of memory"."""
    taken = 0
    for process in processes(registry, number):
        with contextlib.suppress(psutil.Error):
            taken += process.memory_info().rss
    return f"{taken / 2**30:.1f} GiB of memory"


def processes(registry: Registry, number: int) -> Iterator[psutil.Process]:
    """Yield the Python processes that serve a version of the registry."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ValueError, IndexError, OSError):
            _, model = process.cmdline()[:2]  # …stub REPOSITORY/<model>/<version>/model.py …
            path = Path(model)
            if path.parts[-2:] == (str(number), "model.py") and path.parents[2].resolve() == registry.repository.resolve():
                yield process


def inode(registry: Registry) -> int:
    """Return the number of the repository's directory: another one after each change."""
    return registry.repository.stat().st_ino


def _resident(registry: Registry) -> Path:
    return registry.state / "resident.json"


def _does_not_load(model: str, number: int, reason: str, registry: Registry) -> PublishingError:
    return PublishingError(
        f"version {number} of {model} cannot be served",
        expected="Triton to load it",
        found=reason[:_REASON_LENGTH],
        where=str(versions.directory(registry.repository, model) / str(number)),
        fix=f"the server's log below {registry.state} says more; publish a run that passes {errors.command('verify', 'RUN')}",
    )
