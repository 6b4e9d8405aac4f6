"""What a server has in /dev/shm: regions with its requests' texts, and links to its repositories.

All its names begin with a prefix of its own. A lock among them is held for as long as Triton or one
of its Python processes lives, whatever becomes of the supervisor: they inherit it. What is left of
those that were killed is removed at the next start.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

ROOT = Path("/dev/shm")
_OURS, _LOCK = "slipway_", "lock"


def reserve(port: int) -> tuple[str, int]:
    """Return a new prefix, and the file descriptor of its lock, for Triton to inherit.

    It is locked before it has the name that `clear_dead` looks for.
    """
    prefix = f"{_OURS}{os.getpid()}_{port}_{secrets.token_hex(4)}_"
    unlocked = ROOT / f"{prefix}new"
    lock = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unlocked.rename(ROOT / f"{prefix}{_LOCK}")
    return prefix, lock


def clear(prefix: str) -> None:
    """Remove everything of this user that has the prefix; the lock last, or the rest would stay."""
    names = [path for path in ROOT.iterdir() if path.name.startswith(prefix)]
    for path in sorted(names, key=lambda path: path.name == f"{prefix}{_LOCK}"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_uid == os.geteuid():
                path.unlink()


def clear_dead() -> None:
    """Remove what servers of this user left of which no process lives any more."""
    for path in ROOT.glob(f"{_OURS}*_{_LOCK}"):
        with contextlib.suppress(OSError):  # another user's, locked, or removed since
            lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(lock, "r+b"):
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    clear(path.name.removesuffix(_LOCK))
