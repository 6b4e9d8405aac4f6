"""The audit of a registry: who published, promoted or rolled back what, and how it ended."""

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

from serving.registry.registry import Registry, now
from slipway import provenance
from slipway.errors import SlipwayError

AUDIT_FILE = "publishing.jsonl"  # in the registry's state
AuditEntry = dict[str, Any]  # one line of it


@contextmanager
def audited(registry: Registry, action: str) -> Iterator[AuditEntry]:
    """Append an entry about the block: its own additions, and why it failed, if it did.

    The entry is written also when the block is interrupted.
    """
    entry: AuditEntry = {
        "time": now(),
        "action": action,
        "by": _user(),
        "command": shlex.join(sys.orig_argv),
        "commit": provenance.commit(),
        "result": "interrupted",
    }
    started = time.monotonic()
    try:
        yield entry
        entry["result"] = "done"
    except SlipwayError as error:
        entry |= {"result": "refused", "why": error.summary, "expected": error.expected, "found": error.found, "where": error.where}
        raise
    finally:
        entry["seconds"] = round(time.monotonic() - started, 1)
        _append_entry(registry.state / AUDIT_FILE, entry)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name in this container
        return str(os.getuid())


def _append_entry(path: Path, entry: AuditEntry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, (json.dumps(entry, ensure_ascii=False) + "\n").encode())  # in one piece: others may write too
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last_entries(registry: Registry, count: int) -> list[AuditEntry]:
    """Return the last `count` entries, the oldest first."""
    path = registry.state / AUDIT_FILE
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines[-count:]]
