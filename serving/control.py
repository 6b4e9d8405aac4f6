"""Triton's closed APIs, opened with the server's key: which models are ready, and loading one anew.

`make serve` leaves address and key in RUN/serving.json, which its owner alone can read, for commands that change a running server.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from train.errors import ManifestError, ServerError

HEADER = "slipway-key"  # over gRPC it is triton-grpc-protocol-slipway-key
CLOSED = ("model-repository", "shared-memory", "trace", "logging")  # to whoever has no key
RECORD = "serving.json"


def new_key() -> str:
    return secrets.token_hex(16)


def ready(http: str, key: str) -> set[tuple[str, str]]:
    """Model and version of all that Triton calls ready. Raises OSError when it does not answer, or the key is not its key."""
    models = _ask(http, key, "index", within=5)
    return {(one["name"], one["version"]) for one in models if one.get("state") == "READY"}


def instances(http: str, model: str, version: str) -> int:
    """How many instances the version is configured to have; 0 when it is not served. Raises OSError when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{http}/v2/models/{model}/versions/{version}/config", timeout=5) as answer:
            groups = json.loads(answer.read()).get("instance_group", [])
    except urllib.error.HTTPError:  # unloaded since it was listed
        return 0
    return sum(group["count"] * max(1, len(group.get("gpus", []))) for group in groups)


def load(grpc: str, key: str, model: str, within: float, config: str | None = None) -> None:
    """Load a model, with this `config` (JSON) instead of the one on disk; what is served of it stays until the new is ready.

    Over gRPC: a load that is asked for over HTTP holds up other HTTP clients for as long as it takes (docs/log.md).
    Raises OSError when that is refused, or takes more than `within` seconds.
    """
    with _changing(grpc, key) as (server, headers):
        server.load_model(model, headers=headers, config=config, client_timeout=within)


def unload(grpc: str, key: str, model: str, within: float) -> None:
    """Requests in flight are answered. Raises OSError as `load`."""
    with _changing(grpc, key) as (server, headers):
        server.unload_model(model, headers=headers, client_timeout=within)


def reload(grpc: str, key: str, model: str, within: float) -> None:
    """Unload the model and load it anew, which is what starts its Python process again: `load` alone does nothing.

    Raises OSError as `load`.
    """
    unload(grpc, key, model, within)
    load(grpc, key, model, within)


def serving(run: Path) -> dict[str, Any] | None:
    """What `record` of a living process says; None where nobody serves this run."""
    try:
        with (run / RECORD).open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except OSError:  # locked
        facts: dict[str, Any] | None = json.loads((run / RECORD).read_text("utf-8") or "null")  # empty for a moment at its start
        return facts
    return None


@contextmanager
def record(run: Path, facts: dict[str, Any]) -> Iterator[None]:
    """RUN/serving.json for the block: where this run is served, and the key; readable by its owner alone.

    Raises ServerError while another process is in such a block. One that was killed does not count: the lock went with it.
    Raises ManifestError where there is no such run.
    """
    if not run.is_dir():
        raise ManifestError(
            f"there is no run {run}",
            expected="a directory with a model_repository",
            found="no such directory",
            where=str(run),
            fix=f"make repository RUN={run}",
        )
    path = run / RECORD
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ServerError(
                f"{run} is being served already",
                expected="one server of a run",
                found=f"at {json.load(file)['http']}",
                where=str(path),
                fix="ask that one, or stop it first",
            ) from error
        os.fchmod(file.fileno(), 0o600)  # of a killed server's file
        file.truncate()
        json.dump(facts, file)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def _changing(grpc: str, key: str) -> Iterator[tuple[Any, dict[str, str]]]:
    """A connection, and the headers that open it. What Triton says of a failure has this machine's paths, which the log has too."""
    try:
        with tritonclient.grpc.InferenceServerClient(grpc) as server:
            yield server, {f"triton-grpc-protocol-{HEADER}": key}
    except InferenceServerException as error:
        raise OSError(error.message()) from error


def _ask(http: str, key: str, path: str, within: float) -> Any:
    request = urllib.request.Request(f"http://{http}/v2/repository/{path}", data=b"{}", headers={HEADER: key})
    with urllib.request.urlopen(request, timeout=within) as answer:
        return json.loads(answer.read() or b"{}")
