"""A full disk, a limit or a missing right, reported with its step and the command to go on.

    with stage("onnx_fp16: converting", artifacts, fix="slipway export runs/demo"): ...

The libraries below report it in many ways (tried on a full tmpfs and with RLIMIT_FSIZE):
`onnx.save`, numpy and shutil raise OSError; tf2onnx, a process of its own, prints one; ONNX Runtime
raises INVALID_PROTOBUF, "Protobuf serialization failed"; `quantize_dynamic` reads back a file that
was cut off in silence and raises DecodeError. SIGXFSZ does not end the process, since Python
ignores it.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway import errors
from slipway.errors import ConversionError, StorageError

_SCARCE = 2**30  # bytes: a BERT-base is 440 MB, and some conversions write it twice


@contextmanager
def stage(name: str, directory: Path, fix: str) -> Iterator[None]:
    """Raise StorageError with step, cause and room left when the block fails for want of room.

    `directory` is where the block writes; it need not exist yet. Other errors pass as they are.
    """
    try:
        yield
    except Exception as error:
        met = RuntimeError(error.found) if isinstance(error, ConversionError) else error  # by a process of its own
        told = errors.storage_error(met, fix) or _scarce_room(error, directory, fix)
        if told is None:
            raise
        raise StorageError(
            f"{name}: {told.summary}",
            expected=told.expected,
            found=f"{told.found}; {_room(directory)}",
            where=told.where if told.where != errors.NOWHERE else str(directory),
            fix=told.fix,
        ) from error


def _scarce_room(error: Exception, directory: Path, fix: str) -> StorageError | None:
    """Return what a library's own error is put down to where there is little room; else None."""
    library = type(error).__module__.partition(".")[0]
    if library in ("builtins", "slipway", "export") or not _scarce(directory):
        return None
    return StorageError(
        "a library gave up where room is scarce; nothing was left half-written",
        expected="room to write a model",
        found=_last_words(error),
        where=errors.NOWHERE,
        fix=f"make room there, or lift the limit; then {fix}",
    )


def _scarce(directory: Path) -> bool:
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return limit != resource.RLIM_INFINITY or any(_free(place) < _SCARCE for place in _places(directory))


def _room(directory: Path) -> str:
    """Tell the free bytes where models are written, and the limit on a file's size."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    parts = [f"{_free(place) / 1e6:,.1f} MB free in {place}" for place in _places(directory)]
    return "; ".join(parts + ([f"files of {limit:,} bytes at most (ulimit -f)"] if limit != resource.RLIM_INFINITY else []))


def _places(directory: Path) -> list[Path]:
    """Return the directory or its first parent that exists, and the quantizer's temporary one."""
    there = next(place for place in (directory.absolute(), *directory.absolute().parents) if place.exists())
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))  # tempfile would try to write there
    return [there, temporary] if temporary.is_dir() else [there]


def _free(place: Path) -> int:
    return shutil.disk_usage(place).free


def _last_words(error: Exception) -> str:
    """Return the last line of an error's message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()[:300]}" if lines else type(error).__name__
