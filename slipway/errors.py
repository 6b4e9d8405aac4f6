"""The errors a person is meant to read: expected, found, where, and the command that fixes it.

Commands are named as they can be pasted: `command("export", run)` → `slipway export runs/demo`.
"""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

SOME_PASSED = 11  # exit status of an export: what passed is there, what did not is left out
NOT_DECIDED = 12  # nothing passed and nothing is shown to be worse: there are too few rows


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
    """The corpus is missing, or a row of it breaks a rule."""

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


def run(main: Callable[[], int]) -> NoReturn:
    """Run an entry's `main` and exit with what it returns.

    A SlipwayError becomes a message on stderr and its exit code; Ctrl-C and SIGTERM become 130.
    Where a pipe's reader has gone (`| head`), it ends as quietly as other programs do.
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
        print(f"\nerror: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing half-written was left behind", file=sys.stderr)
        sys.exit(130)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
