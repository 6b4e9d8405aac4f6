"""The audit of a registry: who published, promoted or rolled back what, and how it ended."""

from __future__ import annotations

import contextlib
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

from serving.registry.registry import Published, Registry, now
from slipway import provenance
from slipway.errors import SlipwayError, StorageError

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
        try:
            _append_entry(registry.state / AUDIT_FILE, entry)
        except OSError as error:
            if entry["result"] == "done":
                raise _without_a_line(registry, action, error) from error
            print(f"!!! the audit has no line of this: {error.strerror}", file=sys.stderr)  # beside why it failed


def _without_a_line(registry: Registry, action: str, error: OSError) -> StorageError:
    return StorageError(
        f"the {action} is done, but the audit has no line of it",
        expected="room for a line, and the right to write it",
        found=error.strerror or str(error),
        where=str(registry.state / AUDIT_FILE),
        fix=f"nothing has to be done again; mend that for the next line, and see what is active: {registry.command('status')}",
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name in this container
        return str(os.getuid())


def _append_entry(path: Path, entry: AuditEntry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        begin = "" if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n" else "\n"  # a full disk cut the line before
        os.write(descriptor, f"{begin}{json.dumps(entry, ensure_ascii=False)}\n".encode())  # in one piece: others may write too
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last_entries(registry: Registry, count: int) -> list[AuditEntry]:
    """Return the last `count` whole entries, the oldest first: a full disk may have cut one off."""
    path = registry.state / AUDIT_FILE
    entries: list[AuditEntry] = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            entries.append(json.loads(line))
    return entries[-count:]


def show_exchange(published: Published, number: int, entry: AuditEntry) -> None:
    """Say which models come and go when version `number` becomes the active one."""
    entry["brought"], entry["gone"] = brought, gone = published.exchange(number)
    for model in brought:
        print(f"comes       {model}, which version {published.active} does not have, with version {number}")
    for model in gone:
        print(f"goes        {model}: who asks for it by name gets an error once version {number} is the active one")
