"""Triton's closed APIs, opened with the server's key: which models are ready, and loading one anew.

`make serve` leaves address and key in RUN/serving.json, which its owner alone can read, for commands that change a running server.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def reload(http: str, key: str, model: str, within: float) -> None:
    """Unload the model and load it anew, which is what starts its Python process again: `load` alone does nothing.

    Raises OSError when that is refused, or takes more than `within` seconds.
    """
    _ask(http, key, f"models/{model}/unload", within)
    _ask(http, key, f"models/{model}/load", within)


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
            mend=f"make repository RUN={run}",
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
                mend="ask that one, or stop it first",
            ) from error
        os.fchmod(file.fileno(), 0o600)  # of a killed server's file
        file.truncate()
        json.dump(facts, file)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _ask(http: str, key: str, path: str, within: float) -> Any:
    request = urllib.request.Request(f"http://{http}/v2/repository/{path}", data=b"{}", headers={HEADER: key})
    with urllib.request.urlopen(request, timeout=within) as answer:
        return json.loads(answer.read() or b"{}")
