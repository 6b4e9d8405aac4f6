"""The errors a person is meant to read: expected, found, where, and the command that fixes it.

Commands are named as they can be pasted: `command("export", run)` → `slipway export runs/demo`.
"""

from __future__ import annotations

import difflib
import errno
import getpass
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

SOME_PASSED = 11  # exit status of an export: what passed is there, what did not is left out
NOT_DECIDED = 12  # nothing passed and nothing is shown to be worse: there are too few rows
NO_ROOM = {  # errno → why something was not written, in words
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would be larger than this process may write",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no right to read or write there",
    errno.EPERM: "no right to read or write there",
    errno.EIO: "the disk fails",
    errno.EMFILE: "too many open files",
}
_NOT_THERE = {
    errno.ENOENT: "a file or directory is missing",
    errno.ENOTDIR: "a file is in a directory's place",
    errno.EISDIR: "a directory is in a file's place",
    errno.EEXIST: "something is in the way",
    errno.ENOTEMPTY: "something is in the way",
    errno.ELOOP: "a symbolic link leads back to itself",
    errno.ENAMETOOLONG: "a name is too long for the file system",
    errno.ESTALE: "the network file system has changed underneath",
}
_EXPECTED = {  # of the others: that it can be read and written
    errno.ENOSPC: "room for what is written",
    errno.EDQUOT: "room for what is written",
    errno.EFBIG: "files as large as a model",
    errno.EROFS: "a place that can be written to",
    errno.EMFILE: "a few hundred open files",
    errno.ENOENT: "it to be there",
    errno.EEXIST: "nothing there yet",
    errno.ENOTEMPTY: "nothing there yet",
}
_ADVICE = {  # of the others: "look at it: ls -ld PATH"
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "lift the limit: ulimit -f unlimited",
    errno.EROFS: "copy it to where it can be written, or mount that for writing",
    errno.EIO: "look for the disk in dmesg",
    errno.EMFILE: "lift the limit: ulimit -n 4096",
}
NOWHERE = "."  # a StorageError's `where`, of an error that names no file
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORDS = {os.strerror(number): number for number in NO_ROOM}
_NO_TEMPORARY = "No usable temporary directory"  # of Python's tempfile, when it cannot write to any
_NUMBER = re.compile(r"\[Errno (\d+)\]")
# Of manifest.atomic_directory and write_json, which a person knows by the name in it; others'
# scratch directories are gone when somebody reads about them.
_BESIDE, _SCRATCH = re.compile(r"\.(.+)\.(?:building-)?\d+"), re.compile(r"\.[a-z]+-[a-z0-9_]{8}")


class SlipwayError(Exception):
    """Something outside the program is not as it should be; the entry exits with `exit_code`."""

    exit_code = 1

    def __init__(self, summary: str, *, expected: str, found: str, where: str, fix: str) -> None:
        self.summary, self.expected, self.found, self.where, self.fix = summary, expected, found, where, fix
        super().__init__(self.__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        """Make the error picklable, so that another process can raise it."""
        parts = {"expected": self.expected, "found": self.found, "where": self.where, "fix": self.fix}
        return partial(type(self), self.summary, **parts), ()

    def __str__(self) -> str:
        return (
            f"{self.summary}\n  expected  {self.expected}\n  found     {self.found}\n"
            f"  where     {self.where}\n  fix       {self.fix}"
        )


class UsageError(SlipwayError):
    """Options that do not go together; argparse ends with the same status for one that is wrong."""

    exit_code = 2


class CorpusError(SlipwayError):
    """A corpus or a file of texts is missing, or a row of it breaks a rule."""

    exit_code = 3


class EncoderError(SlipwayError):
    """The encoder cannot be loaded, or is not a TF Hub BERT."""

    exit_code = 4


class TrainingError(SlipwayError):
    """A training process ended before the bundle was complete."""

    exit_code = 5


class Interrupted(SlipwayError):
    """SIGTERM or Ctrl-C stopped training, and a checkpoint is there to go on from."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command with --resume goes on


class ManifestError(SlipwayError):
    """A directory has no manifest, or its files are not the ones the manifest names."""

    exit_code = 6


class ConversionError(SlipwayError):
    """A conversion did not produce a usable model file."""

    exit_code = 7


class ParityError(SlipwayError):
    """A model's answers differ from the reference beyond its limits, or were not compared."""

    exit_code = 1


class ServerError(SlipwayError):
    """The server did not start, is not reachable, or answered wrongly."""

    exit_code = 8


class ToolError(SlipwayError):
    """A program or library that this step needs is not on this machine."""

    exit_code = 9


class PublishingError(SlipwayError):
    """Somebody else is publishing, or a version may not replace the one that is served."""

    exit_code = 10


class StorageError(SlipwayError):
    """A file cannot be read or written: no room, no right, or it is not there."""

    exit_code = 74  # EX_IOERR of sysexits.h


def command(*words: object) -> str:
    """Return the `slipway` command line of these words, quoted so that it can be pasted.

    Where `slipway` is not on PATH, as in a checkout whose environment is not activated, the path
    of the program beside this Python is named.
    """
    program = Path(sys.executable).with_name("slipway")
    if shutil.which("slipway") or not program.exists():
        name = "slipway"
    else:
        name = str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)
    return shlex.join([name, *map(str, words)])


def meant(path: Path, beside: Iterable[str]) -> str:
    """Return this command line with the name beside `path` that is most like it; "": none is."""
    near = difflib.get_close_matches(path.name, list(beside), 1)
    return command(*(path.with_name(near[0]) if Path(word) == path else word for word in sys.argv[1:])) if near else ""


def with_options(line: str, options: Sequence[str]) -> str:
    """Return a command line with these options in the place of its own of the same names."""
    names = {word for word in options if word.startswith("--")}
    words, is_replaced = [], False
    for word in shlex.split(line):
        is_replaced = word in names if word.startswith("--") else is_replaced
        words += [] if is_replaced else [word]
    return shlex.join([*words, *options])


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Name `path` in an OSError that names no file, as a write's, which knows its number alone."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None and _number(error):  # shutil.Error names its files itself
            error.filename = str(path)
        raise


def storage_error(error: Exception, again: str = "") -> StorageError | None:
    """Return what a person is told of an error of the file system; None for any other error.

    `again` is the command to repeat; default: this process' own. Libraries wrap such an error, or
    hand on its words alone: tried are errno, then "[Errno N]" and the words in the message.
    """
    number = None if isinstance(error, SlipwayError) else _number(error)
    if number is None:
        return None
    path = _path(error)
    advice = _ADVICE.get(number, f"look at it: {shlex.join(['ls', '-ld', str(path)])}")
    whole = "; nothing was left half-written" if number in _FULL else ""
    return StorageError(
        {**NO_ROOM, **_NOT_THERE}[number] + whole,
        expected=_EXPECTED.get(number, f"that {_user()} can read and write it"),
        found=f"{os.strerror(number)}{_free(path) if number == errno.ENOSPC else ''}",
        where=str(path),
        fix=f"{advice}; then {again or _this_command()}",
    )


def _number(error: Exception) -> int | None:
    """Return the errno of an error of the file system, or None."""
    if _NO_TEMPORARY in str(error):
        return errno.ENOSPC
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in NO_ROOM or error.errno in _NOT_THERE else None
    if stated := _NUMBER.search(str(error)):  # of shutil.Error, which sums up several
        return int(stated[1]) if int(stated[1]) in NO_ROOM or int(stated[1]) in _NOT_THERE else None
    return next((number for words, number in _WORDS.items() if words in str(error)), None)


def _path(error: Exception) -> Path:
    """Return the path that an error is about, by the name that a person knows; else "."."""
    name = os.environ.get("TMPDIR", "/tmp") if _NO_TEMPORARY in str(error) else getattr(error, "filename", None)
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        name = error.args[0][0][1]  # of (source, target, why)
    parts: list[str] = []
    for part in Path(os.fsdecode(name)).parts if isinstance(name, str | bytes | os.PathLike) else ():
        if _SCRATCH.fullmatch(part):
            break
        beside = _BESIDE.fullmatch(part)
        parts.append(beside[1] if beside else part)
    return Path(*parts)


def _this_command() -> str:
    if Path(sys.argv[0]).name in ("slipway", "cli.py"):
        return command(*sys.argv[1:])
    return shlex.join(sys.orig_argv)  # of the benchmarks, and of set-up


def _free(path: Path) -> str:
    there = next((place for place in (path.absolute(), *path.absolute().parents) if place.is_dir()), Path("/"))
    return f"; {shutil.disk_usage(there).free / 1e6:,.1f} MB free in {there}"


def _user() -> str:
    try:
        return f"the user {getpass.getuser()}"
    except (KeyError, OSError):  # no name in this container
        return f"the user {os.getuid()}"


def run(main: Callable[[], int], again: str = "") -> NoReturn:
    """Run an entry's `main` and exit with what it returns.

    A SlipwayError becomes a message on stderr and its exit code, and so does an error of the file
    system, whoever met it; Ctrl-C and SIGTERM become 130. Where a pipe's reader has gone
    (`| head`), it ends as quietly as other programs do. `again` is the command that a person gave,
    where that is another one. `python -X dev` shows where an error of the file system was met.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # clean up and end child processes as Ctrl-C does
        signal.signal(number, _interrupt)
    try:
        status = main()
        sys.stdout.flush()
        sys.exit(status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        sys.exit(128 + signal.SIGPIPE)
    except SlipwayError as error:
        _exit_with(error)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing half-written was left behind", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        told = storage_error(error, again)
        if told is None or sys.flags.dev_mode:
            raise
        _exit_with(told)


def _exit_with(error: SlipwayError) -> NoReturn:
    print(f"\nerror: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
