"""Triton's closed APIs, opened with the server's key: which models are ready, and reloading one.

`slipway serve` leaves address and key in RUN/serving.json, which only its owner can read, for
commands that change a running server.
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

import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from slipway import errors
from slipway.errors import ManifestError, ServerError

HEADER = "slipway-key"  # over gRPC it is triton-grpc-protocol-slipway-key
CLOSED = ("model-repository", "shared-memory", "trace", "logging")  # to whoever has no key
RECORD = "serving.json"


def new_key() -> str:
    return secrets.token_hex(16)


def ready(http: str, key: str) -> set[tuple[str, str]]:
    """Return the ready (model, version) pairs. Raises OSError for no answer or a wrong key."""
    request = urllib.request.Request(f"http://{http}/v2/repository/index", data=b"{}", headers={HEADER: key})
    with urllib.request.urlopen(request, timeout=5) as answer:
        models = json.loads(answer.read())
    return {(model["name"], model["version"]) for model in models if model.get("state") == "READY"}


def instances(http: str, model: str, version: str) -> int:
    """Return the version's configured instances; 0 if it is not served. Raises OSError."""
    try:
        with urllib.request.urlopen(f"http://{http}/v2/models/{model}/versions/{version}/config", timeout=5) as answer:
            groups = json.loads(answer.read()).get("instance_group", [])
    except urllib.error.HTTPError:  # unloaded since it was listed
        return 0
    return sum(group["count"] * max(1, len(group.get("gpus", []))) for group in groups)


def load(grpc: str, key: str, model: str, within: float, config: str | None = None) -> None:
    """Load a model, by `config` (JSON) or the one on disk; its served versions stay until then.

    Over gRPC: a load over HTTP holds up other HTTP clients for as long as it takes
    (docs/log/serving.md). Raises OSError when that is refused, or takes more than `within` seconds.
    """
    with _changing(grpc, key) as (server, headers):
        server.load_model(model, headers=headers, config=config, client_timeout=within)


def unload(grpc: str, key: str, model: str, within: float) -> None:
    """Unload a model once its requests in flight are answered. Raises OSError as `load` does."""
    with _changing(grpc, key) as (server, headers):
        server.unload_model(model, headers=headers, client_timeout=within)


def reload(grpc: str, key: str, model: str, within: float) -> None:
    """Restart a model's Python processes; `load` alone does not. Raises OSError as `load` does."""
    unload(grpc, key, model, within)
    load(grpc, key, model, within)


def serving(run: Path) -> dict[str, str] | None:
    """Return the `record` of the living process that serves this run; None if there is none."""
    path = run / RECORD
    try:
        with path.open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except OSError:  # locked
        facts: dict[str, str] | None = json.loads(path.read_text("utf-8") or "null")  # empty for a moment at its start
        return facts
    return None


@contextmanager
def record(run: Path, facts: dict[str, str]) -> Iterator[None]:
    """Keep RUN/serving.json for the block, for its owner. Raises ServerError, ManifestError."""
    if not run.is_dir():
        raise ManifestError(
            f"there is no run {run}",
            expected="a directory with a model_repository",
            found="no such directory",
            where=str(run),
            fix=errors.command("build", run),
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
def _changing(grpc: str, key: str) -> Iterator[tuple[tritonclient.grpc.InferenceServerClient, dict[str, str]]]:
    """Connect to the server, with the headers that open it; failures become OSErrors."""
    try:
        with tritonclient.grpc.InferenceServerClient(grpc) as server:
            yield server, {f"triton-grpc-protocol-{HEADER}": key}
    except InferenceServerException as error:
        raise OSError(error.message()) from error  # the message without this machine's paths
