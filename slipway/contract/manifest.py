"""Directories that are either complete and unchanged, or do not exist for the next stage.

A stage writes its directory in a temporary sibling, records the sha256 of every file in a JSON
manifest, and swaps the sibling in with one rename. The next stage reads the manifest first. It
refuses a file that is not the one recorded, and anything that is neither a file nor a directory:
a link's target lies outside of what was hashed, and a pipe never ends.

Python code in a sealed directory is run from its source alone: an empty file stands where Python
would keep bytecode, so nobody who imports the code can write any there, or be given some to run.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway.errors import ManifestError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_BYTECODE = "__pycache__"  # the directory beside a source, to Python


def sha256(path: Path) -> str:
    """Return the sha256 of a file, or of a directory the sha256 over the pairs of `hashes`."""
    if path.is_dir():
        digest = hashlib.sha256()
        for name, value in hashes(path).items():
            digest.update(f"{name}\0{value}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(directory: Path, leave_out: tuple[str, ...] = (), below: str = "") -> dict[str, str]:
    """Return relative path → sha256 of every file below `directory`, sorted. Raises as `files`.

    The files of `leave_out` do not count, and only those do whose path begins with `below`.
    """
    counted = {name: path for name, path in files(directory).items() if name.startswith(below)}
    return {name: sha256(counted[name]) for name in sorted(counted.keys() - set(leave_out))}


def files(directory: Path) -> dict[str, Path]:
    """Return relative path → path of every file below `directory`, without opening any.

    Raises ManifestError naming the first symbolic link, pipe, socket or device.
    """
    regular = {}
    for path in sorted(directory.rglob("*")):  # does not descend into linked directories
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            regular[str(path.relative_to(directory))] = path
        elif not stat.S_ISDIR(mode):
            raise _not_a_file(path, mode)
    return regular


def _not_a_file(path: Path, mode: int) -> ManifestError:
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    link = stat.S_ISLNK(mode)
    return ManifestError(
        f"{path.name} is neither a file nor a directory",
        expected="files and directories only, so that everything that is read lies here and is hashed",
        found=f"a symbolic link to {path.readlink()}" if link else kinds.get(stat.S_IFMT(mode), "something else"),
        where=str(path),
        fix="look where it leads; if that is what you want, copy it here: cp -rL" if link else f"rm {path}",
    )


def _refuse_link(directory: Path) -> None:
    if directory.is_symlink():
        raise _not_a_file(directory, directory.lstat().st_mode)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON, atomically: readers see the old file or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, ensure_ascii=False, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, which is never written again; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def seal(directory: Path, name: str, facts: dict[str, Any], beside: tuple[str, ...] = ()) -> None:
    """Write the manifest `name`: `facts`, and the hash of every file there now but `beside`.

    Whatever bytecode lies there is replaced by the empty files that keep it out.
    """
    _keep_bytecode_out(directory)
    write_json(directory / name, {**facts, "files": hashes(directory, leave_out=(name, *beside))})


def _keep_bytecode_out(directory: Path) -> None:
    """Put an empty file where Python would look for, and write, the bytecode of each source.

    PYTHONDONTWRITEBYTECODE cannot do this: Triton's Python processes ignore the environment, and
    bytecode that lies there already would be run all the same.
    """
    for place in {path.with_name(_BYTECODE) for path in files(directory).values() if path.suffix == ".py"}:
        if place.is_dir():
            shutil.rmtree(place)
        place.touch()


def read(directory: Path, name: str, fix: str, beside: tuple[str, ...] = (), below: str = "") -> dict[str, Any]:
    """Return the manifest `name` of `directory`, after checking every file it lists.

    `fix` is the command that writes the directory anew; `beside` are files that are not covered;
    `below` limits the check to files whose path begins with it. Raises ManifestError for a missing
    or unreadable manifest, a missing, changed or additional file, and as `files` does, also when
    `directory` is a link.
    """
    _refuse_link(directory)
    files(directory)  # before the manifest is opened, which may itself be a link
    path = directory / name
    if not path.is_file():
        raise ManifestError(
            f"{directory} is not complete",
            expected=f"a manifest {name}, the last thing its stage writes",
            found="no such file" if directory.is_dir() else "no such directory",
            where=str(path),
            fix=fix,
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
        recorded: dict[str, str] = manifest["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{name} cannot be read", expected="JSON with the key 'files'", found=repr(error), where=str(path), fix=fix
        ) from error
    recorded = {file: value for file, value in recorded.items() if file.startswith(below)}
    _check_files(directory, name, recorded, hashes(directory, (name, *beside), below), fix)
    return manifest


def _check_files(directory: Path, name: str, recorded: dict[str, str], present: dict[str, str], fix: str) -> None:
    for file in sorted(recorded.keys() | present.keys()):
        expected_hash, present_hash = recorded.get(file), present.get(file)
        if expected_hash != present_hash:
            raise ManifestError(
                f"{directory} was changed after it was written",
                expected=f"sha256 {expected_hash}" if expected_hash else f"only the files {name} lists",
                found=f"sha256 {present_hash}" if present_hash else "no such file",
                where=str(directory / file),
                fix=fix,
            )


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling of `target`, which replaces `target` when the block ends.

    It is swapped in by one rename. When the block raises, the sibling is removed and `target`
    stays as it was. Raises ManifestError when `target` is a symbolic link: the exchange would swap
    the link, and leave the directory that it leads to as it was.
    """
    _refuse_link(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for left_over in target.parent.glob(f".{target.name}.building-*"):
        pid = left_over.name.rpartition("-")[2]
        if pid == str(os.getpid()) or not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left_over)
    building = target.parent / f".{target.name}.building-{os.getpid()}"
    building.mkdir()
    try:
        yield building
        _sync_tree(building)
        if target.exists():
            _exchange(building, target)
        else:
            building.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _exchange(left: Path, right: Path) -> None:
    """Swap two names in one step, so that each exists at every moment (renameat2(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, bytes(left), _AT_FDCWD, bytes(right), _RENAME_EXCHANGE) != 0:
        # Some network and overlay file systems cannot exchange: `right` is missing for a moment.
        aside = left.with_name(f"{left.name}.old")
        right.rename(aside)
        left.rename(right)
        aside.rename(left)


def _sync_tree(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            _sync(path)
    _sync(directory)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
