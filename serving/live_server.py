"""The server of a published repository, seen by who changes it: a version tried beside the one that is served, and the switch.

Triton sends a request that names no version to the highest it has loaded. So a version is tried under another name, out of a second
repository, and switched to only then: Triton loads it beside the old one, sends new requests to it, and lets the old one finish.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from google.protobuf import json_format

from serving import control, loopback, model_versions, triton
from serving.publication import Place
from train.errors import PublishingError, ServerError

_LOADED_WITHIN = 120  # seconds for one model; also how long one that freezes the loader is waited for
_SHOWN = 300  # characters of what Triton says


@dataclass(frozen=True)
class Live:
    http: str
    grpc: str
    key: str = field(repr=False)

    def address(self, protocol: str) -> str:
        return self.http if protocol == "http" else self.grpc

    def record(self) -> dict[str, str]:
        """As `make serve` leaves it."""
        return {"http": self.http, "grpc": self.grpc, "header": control.HEADER, "key": self.key}

    def serves(self) -> dict[str, list[str]]:
        """Model → its versions that are ready. Raises ServerError when it does not answer."""
        try:
            ready = control.ready(self.http, self.key)
        except OSError as error:
            raise _silent(self, error) from error
        return {model: sorted(version for name, version in ready if name == model) for model, _ in sorted(ready)}


def of(place: Place) -> Live | None:
    """Who serves the place now, if anybody does."""
    record = control.serving(place.state)
    return Live(record["http"], record["grpc"], record["key"]) if record else None


@contextmanager
def served(place: Place) -> Iterator[Live]:
    """Who serves the place, or a server of the block's own, on free ports.

    Raises ServerError when it does not answer, else as triton.start.
    """
    if live := of(place):
        live.serves()
        yield live
        return
    log, key, ports = place.state / "trial.log", control.new_key(), loopback.free_ports()
    own = Live(f"{loopback.HOST}:{ports.http}", f"{loopback.HOST}:{ports.grpc}", key)
    with control.record(place.state, own.record()):  # who begins to serve meanwhile would not be switched
        log.unlink(missing_ok=True)
        clear_candidates(place)
        server = triton.start(place.repository, ports, log, key, place.candidates)
        try:
            yield own
        finally:
            triton.stop(server)


def clear_candidates(place: Place) -> None:
    """What a killed trial left: the server would load it at its start."""
    shutil.rmtree(place.candidates, ignore_errors=True)
    place.candidates.mkdir(parents=True)


@contextmanager
def beside(live: Live, place: Place, model: str, number: int) -> Iterator[str]:
    """The name under which version `number` of the model is served for the block, beside the one that clients ask.

    Raises PublishingError when it cannot be loaded.
    """
    name = f"{model}_candidate"
    _withdraw(live, place, name)
    built = place.state / "staged"  # not among the candidates: a half-copied directory freezes Triton's loader
    shutil.rmtree(built, ignore_errors=True)
    model_versions.stage(place.repository / model, number, name, built)
    built.rename(place.candidates / name)
    try:
        try:
            control.load(live.grpc, live.key, name, _LOADED_WITHIN)
        except OSError as error:
            raise _does_not_load(model, number, error, place) from error
        yield name
    finally:
        _withdraw(live, place, name)


def _withdraw(live: Live, place: Place, name: str) -> None:
    if (place.candidates / name).exists():
        with contextlib.suppress(OSError):  # never loaded, or there is no server any more
            control.unload(live.grpc, live.key, name, _LOADED_WITHIN)
        shutil.rmtree(place.candidates / name)


@contextmanager
def switched(live: Live, place: Place, models: Sequence[str], old: int, new: int) -> Iterator[None]:
    """Serve version `new` of the models, one after the other; when that or the block fails, `old` again.

    Raises PublishingError when a model cannot be loaded, ServerError when the server does not answer.
    """
    try:
        for model in models:
            try:
                _serve(live, place, model, new)
            except OSError as error:
                raise _does_not_load(model, new, error, place) from error
        found = live.serves()
        if wrong := [model for model in models if found.get(model) != [str(new)]]:
            raise _does_not_load(wrong[0], new, OSError(f"Triton serves {found.get(wrong[0], 'none')}"), place)
        yield
    except BaseException:
        for model in models:
            with contextlib.suppress(OSError):  # there is no server any more; its next start reads what is on disk
                _serve(live, place, model, old)
        raise


def _serve(live: Live, place: Place, model: str, number: int) -> None:
    """The config goes with the request: Triton reads the one on disk only where that is newer than what it has loaded."""
    config = json_format.MessageToJson(model_versions.config(place.repository / model, number), preserving_proto_field_name=True)
    control.load(live.grpc, live.key, model, _LOADED_WITHIN, config)


def _does_not_load(model: str, number: int, error: OSError, place: Place) -> PublishingError:
    return PublishingError(
        f"version {number} of {model} cannot be served",
        expected="Triton to load it",
        found=str(error)[:_SHOWN],
        where=str(place.repository / model / str(number)),
        fix=f"the server's log below {place.state} says more; publish a run that `make verify` passes",
    )


def _silent(live: Live, error: OSError) -> ServerError:
    return ServerError(
        "the server does not answer",
        expected="a list of its models",
        found=str(error),
        where=live.http,
        fix="wait until it is ready, then the same command again",
    )
