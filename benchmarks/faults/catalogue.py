"""What a planted fault is, and how it is seen whether it was caught, and named.

A fault is planted into a copy of a finished run, whose files may be hard links to the original's.
So a file is never changed in place: `replace` and `sealed_anew` write a new one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway.contract import manifest
from slipway.errors import SlipwayError


@dataclass(frozen=True)
class Fault:
    """A fault, how it is planted into a copy of a run, and what has to be said against it.

    `examine` asks whatever should see it, and returns what is said against the run, a sentence
    each; nothing: the fault got past. A SlipwayError is said against it, too.
    """

    name: str  # a part of a sentence: "logits three times as large"
    kind: str  # graph, rows, record, rebuild, import, repository, live
    plant: Callable[[Path], object]
    examine: Callable[[Path], list[str]]
    caught_by: str  # a part of the sentence that names it


@dataclass(frozen=True)
class Catch:
    """What became of a fault."""

    name: str
    kind: str
    caught_by: str  # a part of the sentence that names it
    caught: bool  # something was said against it
    named: str  # the sentence that names it; "": none does
    seconds: float  # to examine it
    sentences: tuple[str, ...]  # all that was said against it

    def __str__(self) -> str:
        state = "caught and named" if self.named else "caught, NOT NAMED" if self.caught else "GOT PAST"
        return f"{self.name}: {state}: {self.named or '; '.join(self.sentences)}"


def catch(fault: Fault, run: Path) -> Catch:
    """Plant `fault` into `run`, a copy, and see what is said against it."""
    fault.plant(run)
    started = time.monotonic()
    try:
        sentences = fault.examine(run)
    except SlipwayError as error:
        sentences = [in_a_line(error)]
    sentences = [sentence.replace(f"{run}/", "") for sentence in sentences]
    named = next((sentence for sentence in sentences if fault.caught_by in sentence), "")
    return Catch(fault.name, fault.kind, fault.caught_by, bool(sentences), named, time.monotonic() - started, tuple(sentences))


def in_a_line(error: SlipwayError) -> str:
    """Return an error as a sentence, without its fix, which is a command and not the fault."""
    return f"{error.summary}: expected {error.expected}; found {error.found} ({error.where})"


def cli_error(*words: object) -> list[str]:
    """Run `slipway …`; return the error that it ends with, in a line, or nothing."""
    command = [sys.executable, "-m", "slipway.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _, _, error = done.stderr.partition("error: ")
    return [" ".join(error.partition("\n  fix ")[0].split())] if done.returncode else []


def copy(run: Path, target: Path) -> Path:
    """Return `target`, now a copy of what the gate reads of a run; its files may be hard links."""
    for part in ("bundle", "artifacts"):
        shutil.copytree(run / part, target / part, copy_function=lambda *paths: manifest.link(*map(Path, paths)))
    return target


def replace(path: Path, data: bytes) -> None:
    """Write `data` where `path` is, as a new file."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def sealed_anew(directory: Path, name: str, *, beside: tuple[str, ...] = (), **facts: object) -> None:
    """Write the manifest `name` for the files that lie there now, with other `facts`.

    So do those who want their changes to look as if they had been made by the stage.
    """
    recorded = {key: value for key, value in json.loads((directory / name).read_text("utf-8")).items() if key != "files"}
    manifest.seal(directory, name, {**recorded, **facts}, beside)
