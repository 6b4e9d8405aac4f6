"""A rollout: the registry's server gets a version beside the served one, and then switches to it.

Triton sends a request that names no version to the highest it has loaded. So a version's canary has
another name and lies in a second repository; the switch loads the version beside the old one. A
model that the active version does not have is loaded once it lies where Triton looks.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from google.protobuf import json_format

from serving.registry import versions
from serving.registry.registry import Published, Registry, restore
from serving.server import control, triton
from slipway import errors
from slipway.contract.records import HOST
from slipway.errors import PublishingError, ServerError

_LOADED_WITHIN = 120  # seconds for a model, also for one that freezes the loader
_REASON_LENGTH = 300  # characters of Triton's message


@dataclass(frozen=True)
class RunningServer:
    """A server of a registry, and the key to its closed APIs."""

    http: str
    grpc: str
    key: str = field(repr=False)

    def address(self, protocol: str) -> str:
        return self.http if protocol == "http" else self.grpc

    def to_json(self) -> dict[str, str]:
        """Return the record that `slipway serve` leaves."""
        return {"http": self.http, "grpc": self.grpc, "header": control.HEADER, "key": self.key}

    def served_versions(self) -> dict[str, list[str]]:
        """Return model → its versions that are ready. Raise ServerError if it does not answer."""
        try:
            ready = control.ready(self.http, self.key)
        except OSError as error:
            raise ServerError(
                "the server does not answer",
                expected="a list of its models",
                found=str(error),
                where=self.http,
                fix="wait until it is ready, then the same command again",
            ) from error
        return {model: sorted(version for name, version in ready if name == model) for model, _ in sorted(ready)}


def running_server(registry: Registry) -> RunningServer | None:
    """Return the server of the registry, if there is one."""
    record = control.serving(registry.state)
    return RunningServer(record["http"], record["grpc"], record["key"]) if record else None


@contextmanager
def running_or_own_server(registry: Registry) -> Iterator[RunningServer]:
    """Yield the registry's server, or one for the block. Raises ServerError, or as triton.start."""
    if server := running_server(registry):
        server.served_versions()
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
    name = f"{model}_canary"
    _withdraw(server, registry, name)
    staged = registry.state / "staged"  # not among the canaries: a half-copied directory freezes Triton's loader
    shutil.rmtree(staged, ignore_errors=True)
    versions.stage(versions.directory(registry.repository, model), number, name, staged)
    staged.rename(registry.canaries / name)
    try:
        try:
            control.load(server.grpc, server.key, name, _LOADED_WITHIN)
        except OSError as error:
            raise _does_not_load(model, number, str(error), registry) from error
        yield name
    finally:
        _withdraw(server, registry, name)


def _withdraw(server: RunningServer, registry: Registry, name: str) -> None:
    if (registry.canaries / name).exists():
        with contextlib.suppress(OSError):  # never loaded, or there is no server any more
            control.unload(server.grpc, server.key, name, _LOADED_WITHIN)
        shutil.rmtree(registry.canaries / name)


@contextmanager
def rolled_out(server: RunningServer, registry: Registry, before: Published, new: int) -> Iterator[None]:
    """Switch the server to version `new`, around a block that makes it the active one on disk.

    Models that both versions have are switched before it, one after the other. Then those that are
    new are loaded, and those that are gone are unloaded. If any of it fails, all is as it was
    `before`, on disk too.
    """
    brought, gone = before.exchange(new)
    try:
        _serve_versions(server, registry, [model for model in before.models if model not in gone], new)
        yield
        _serve_versions(server, registry, brought, new)
        for model in gone:
            control.unload(server.grpc, server.key, model, _LOADED_WITHIN)
    except BaseException:
        restore(registry, before)
        for model in brought:
            with contextlib.suppress(OSError):  # not loaded, or no server any more
                control.unload(server.grpc, server.key, model, _LOADED_WITHIN)
        for model in before.models:
            with contextlib.suppress(OSError):  # no server any more; its next start reads what is on disk
                _serve_version(server, registry, model, before.active)
        raise


def _serve_versions(server: RunningServer, registry: Registry, models: list[str], number: int) -> None:
    for model in models:
        try:
            _serve_version(server, registry, model, number)
        except OSError as error:
            raise _does_not_load(model, number, str(error), registry) from error
    served = server.served_versions()
    for model in models:
        if served.get(model) != [str(number)]:
            raise _does_not_load(model, number, f"Triton serves {served.get(model, 'none')}", registry)


def _serve_version(server: RunningServer, registry: Registry, model: str, number: int) -> None:
    """Load a version, its config in the request: Triton may not read the one on disk again."""
    config = versions.config(versions.directory(registry.repository, model), number)
    as_json = json_format.MessageToJson(config, preserving_proto_field_name=True)
    control.load(server.grpc, server.key, model, _LOADED_WITHIN, as_json)


def _does_not_load(model: str, number: int, reason: str, registry: Registry) -> PublishingError:
    return PublishingError(
        f"version {number} of {model} cannot be served",
        expected="Triton to load it",
        found=reason[:_REASON_LENGTH],
        where=str(versions.directory(registry.repository, model) / str(number)),
        fix=f"the server's log below {registry.state} says more; publish a run that passes {errors.command('verify', 'RUN')}",
    )
