"""Triton's closed APIs, opened with the server's key: which models are ready, and loading one anew.

`make serve` leaves address and key in RUN/serving.json, which its owner alone can read, for commands that change a running server.
"""

from __future__ import annotations

import json
import os
import secrets
import urllib.request
from pathlib import Path
from typing import Any

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


def write_record(run: Path, facts: dict[str, Any]) -> None:
    """RUN/serving.json: who serves this run, where, and the key; readable by its owner alone."""
    path = run / RECORD
    path.unlink(missing_ok=True)  # an earlier one may have other permissions
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(facts, file)


def _ask(http: str, key: str, path: str, within: float) -> Any:
    request = urllib.request.Request(f"http://{http}/v2/repository/{path}", data=b"{}", headers={HEADER: key})
    with urllib.request.urlopen(request, timeout=within) as answer:
        return json.loads(answer.read() or b"{}")
