"""What was done to a published repository, by whom, and how it ended: one line of JSON each time, kept for ever.

tail -n 1 runs/published/model_repository/publishing.jsonl | jq .
"""

from __future__ import annotations

import getpass
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.publication import Place, now
from train import provenance
from train.errors import SlipwayError

FILE = "publishing.jsonl"  # in the place's state


@contextmanager
def line(place: Place, action: str) -> Iterator[dict[str, Any]]:
    """A line about the block: what it adds to the dict, and why it failed, if it did. Also written when it is interrupted."""
    facts: dict[str, Any] = {
        "time": now(),
        "action": action,
        "by": _who(),
        "command": shlex.join(sys.orig_argv),
        "commit": provenance.commit(),
        "result": "interrupted",
    }
    started = time.monotonic()
    try:
        yield facts
        facts["result"] = "done"
    except SlipwayError as error:
        facts |= {"result": "refused", "why": error.summary, "expected": error.expected, "found": error.found, "where": error.where}
        raise
    finally:
        facts["seconds"] = round(time.monotonic() - started, 1)
        _append(place.state / FILE, facts)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name in this container
        return str(os.getuid())


def _append(path: Path, facts: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, (json.dumps(facts, ensure_ascii=False) + "\n").encode())  # in one piece: others may be writing too
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last(place: Place, lines: int) -> list[dict[str, Any]]:
    path = place.state / FILE
    found = path.read_text("utf-8").splitlines() if path.exists() else []
    return [json.loads(one) for one in found[-lines:]]
