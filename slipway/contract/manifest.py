"""Directories that are either complete and unchanged, or do not exist for the next stage.

A stage writes its directory in a temporary sibling, records the sha256 of every file in a JSON
manifest, and swaps the sibling in with one rename. The next stage reads the manifest first. It
refuses a file that is not the one recorded, and anything that is neither a file nor a directory:
a link's target lies outside of what was hashed, and a pipe never ends.

Python code in a sealed directory is run from its source alone: an empty file stands where Python
would keep bytecode, so nobody who imports the code can write any there, or be given some to run.
"""

from __future__ import annotations

import contextlib
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

from slipway.errors import ManifestError, named

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_BYTECODE = "__pycache__"  # the directory beside a source, to Python
Inodes = dict[tuple[int, int], str]  # device and inode of a file → its sha256


def sha256(path: Path) -> str:
    """Return the sha256 of a file, or of a directory the sha256 over the pairs of `hashes`."""
    if path.is_dir():
        digest = hashlib.sha256()
        for name, value in hashes(path).items():
            digest.update(f"{name}\0{value}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(directory: Path, leave_out: tuple[str, ...] = (), below: str = "", known: Inodes | None = None) -> dict[str, str]:
    """Return relative path → sha256 of every file below `directory`, sorted. Raises as `files`.

    The files of `leave_out` do not count, and only those do whose path begins with `below`. One
    whose inode has a `known` hash is not read.
    """
    counted = {name: path for name, path in files(directory).items() if name.startswith(below)}
    names = sorted(counted.keys() - set(leave_out))
    return {name: (known or {}).get(_inode(counted[name])) or sha256(counted[name]) for name in names}


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


def empty_directories(directory: Path, below: str = "") -> list[str]:
    """Return the relative paths of directories in which nothing lies, of those `below`, sorted."""
    inside = ((str(path.relative_to(directory)), path) for path in directory.rglob("*") if path.is_dir() and not path.is_symlink())
    return sorted(name for name, path in inside if f"{name}/".startswith(below) and not any(path.iterdir()))


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
    """Replace `path` by `value` as JSON. Atomic as `write_text`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: readers see the old file or the new one, never half.

    Where that fails, the old one is there, and nothing beside it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with named(path), beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_json(path: Path, fix: str, *keys: str) -> Any:
    """Return the JSON object in `path`, with these keys, of which no manifest has the hash.

    `fix` is the command that writes it anew. Raises ManifestError where it is missing, cut off, or
    another's.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"{type(value).__name__} instead of an object")
        if missing := [key for key in keys if key not in value]:
            raise ValueError(f"no {', '.join(missing)}")
    except FileNotFoundError:
        found = "no such file"
    except ValueError as error:  # also of bytes that are not UTF-8
        found = f"{path.stat().st_size} bytes, cut off or another's: {error}"
    else:
        return value
    raise ManifestError(f"{path.name} cannot be read", expected="a JSON object", found=found, where=str(path), fix=fix)


def link(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, which is never written again; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def link_tree(source: Path, target: Path, leave_out: str = "") -> None:
    """Link the files of `source` into `target`, but for those of the name `leave_out`."""
    ignored = shutil.ignore_patterns(leave_out)
    shutil.copytree(source, target, copy_function=lambda a, b: link(Path(a), Path(b)), dirs_exist_ok=True, ignore=ignored)


def seal(directory: Path, name: str, facts: dict[str, Any], beside: tuple[str, ...] = (), known: Inodes | None = None) -> None:
    """Write the manifest `name`: `facts`, the hash of every file there now but `beside`, and the
    directories in which there is none.

    `known` has the hashes of files that were read a moment ago, by inode: links of them need not be
    read again. Whatever bytecode lies there is replaced by the empty files that keep it out.
    """
    _keep_bytecode_out(directory)
    present = {"files": hashes(directory, leave_out=(name, *beside), known=known), "empty": empty_directories(directory)}
    write_json(directory / name, {**facts, **present})


def inodes(directory: Path, name: str) -> Inodes:
    """Return inode → hash of the files that the manifest `name` lists, without reading them."""
    recorded: dict[str, str] = json.loads((directory / name).read_text("utf-8"))["files"]
    return {_inode(directory / file): value for file, value in recorded.items()}


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


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
    or unreadable manifest, a missing, changed or additional file, an additional directory, and as
    `files` does, also when `directory` is a link.
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
    if "empty" in manifest:  # earlier versions did not list them
        _check_directories(directory, name, manifest["empty"], empty_directories(directory, below), fix)
    return manifest


def _check_directories(directory: Path, name: str, recorded: list[str], present: list[str], fix: str) -> None:
    """Raise ManifestError for an empty directory that is not listed: to Triton it is a version.

    One that is missing is none: git and archives leave out empty ones, and no file was in it.
    """
    if additional := sorted(set(present) - set(recorded)):
        raise ManifestError(
            f"{directory} was changed after it was written",
            expected=f"only the files and directories {name} lists",
            found="an empty directory",
            where=str(directory / additional[0]),
            fix=fix,
        )


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
    absent = [parent for parent in target.parents if not parent.exists()]
    for left_over in target.parent.glob(f".{target.name}.building-*"):
        pid = left_over.name.rpartition("-")[2]
        if pid == str(os.getpid()) or not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left_over)
    building = target.parent / f".{target.name}.building-{os.getpid()}"
    try:
        with named(target):
            building.mkdir(parents=True)
            yield building
            _sync_tree(building)
            if target.exists():
                _exchange(building, target)
            else:
                building.rename(target)
            _sync(target.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        with contextlib.suppress(OSError):  # something lies in it by now
            for parent in absent:
                parent.rmdir()


def _exchange(left: Path, right: Path) -> None:
    """Swap two names in one step, so that each exists at every moment (renameat2(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, bytes(left), _AT_FDCWD, bytes(right), _RENAME_EXCHANGE) != 0:
        # Some network and overlay file systems cannot exchange: `right` is missing for a moment.
        aside = left.with_name(f"{left.name}.old")
        right.rename(aside)
        try:
            left.rename(right)
        except OSError:
            aside.rename(right)
            raise
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
