"""The command lines that the pages show, and what they are to the real parser and to make.

Taken from every page of git: lines of code blocks, and code inside of sentences.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from slipway import cli
from slipway.cli import COMMANDS, Command
from tests.support.command import CHECKOUT

PAGES = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md"), CHECKOUT / "benchmarks/README.md"])
GENERATED = CHECKOUT / "docs/commands.md"
MAKEFILE = (CHECKOUT / "Makefile").read_text("utf-8")
_PROGRAM = re.compile(r"(?:\$ |fix +)?(?:exec |[A-Z_]+=\S+ )*((?:slipway|\.venv/bin/slipway|make|(?:\.venv/bin/)?python -m) .*)")
_OPTIONS_ALONE = {"docs/training.md": "slipway train runs/mine "}  # page → what its lines of options belong to
_IN_A_SENTENCE = re.compile(r"`((?:slipway|\.venv/bin/slipway|make) [^`]+)`")
_SLIPWAY = ("slipway", ".venv/bin/slipway")


@dataclass(frozen=True)
class Shown:
    """A command line of a page, without its prompt and its comment."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.text}"

    @property
    def words(self) -> list[str]:
        """Up to a pipe, a redirection or the next command."""
        return first_command(self.text)


def in_blocks() -> list[Shown]:
    """The command lines of code blocks, fenced or indented, of all pages but the generated one."""
    return [shown for page in PAGES if page != GENERATED for shown in _of_a_page(page)]


def in_sentences() -> list[Shown]:
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in _IN_A_SENTENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Shown(_name(page), line, " ".join(match[1].split())))
    return [shown for shown in found if shown.page != _name(GENERATED)]


def _of_a_page(page: Path) -> Iterator[Shown]:
    lines, fenced = page.read_text("utf-8").splitlines(), False
    for number, line in enumerate(lines):
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            text = line.strip()
            if text.startswith("--") and _name(page) in _OPTIONS_ALONE:
                text = _OPTIONS_ALONE[_name(page)] + text
            if match := _PROGRAM.fullmatch(text):
                text, following = match[1], number
                while text.endswith("\\"):
                    following += 1
                    text = text[:-1] + lines[following].strip()
                yield Shown(_name(page), number + 1, re.split(r" {3,}| +# ", text)[0])


def _name(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


def first_command(text: str) -> list[str]:
    words = []
    for word in _split(text):
        if set(word) <= set("();<>|&") and word:
            break
        words.append(word)
    return words


def _split(text: str) -> list[str]:
    reader = shlex.shlex(text, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    return list(reader)


def is_slipway(words: list[str]) -> bool:
    return words[0] in _SLIPWAY


def command_of(words: list[str]) -> Command:
    """The command of `slipway WORDS`, which has to be there."""
    found = [command for command in COMMANDS if words[1:][: len(command.name.split())] == command.name.split()]
    assert found, f"slipway has no command {words[1]}"
    return found[0]


@cache
def parser_of(command: Command) -> argparse.ArgumentParser:
    """The real parser, with this command's options."""
    return cli._parser((command,))


def options_of(command: Command) -> argparse.ArgumentParser:
    """The parser of this command alone."""
    parser = argparse.ArgumentParser(prog=f"slipway {command.name}", add_help=False, allow_abbrev=False)
    command.declare(parser)
    return parser


def refusal(words: list[str]) -> str:
    """What the real parser says against `slipway WORDS`; "" if it takes them."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parser_of(command_of(words)).parse_args(words[1:])
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1]
    return ""


def made_by(words: list[str]) -> list[list[str]]:
    """The `slipway` commands that `make WORDS` would run. Raises for a verb that make has not."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-n", "--no-print-directory", *words[1:]],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [first_command(line[at.start() :]) for line in lines for at in re.finditer(r"\.venv/bin/slipway (?=[a-z])", line)]


def shape(words: list[str]) -> str:
    """The command and the options that differ from their defaults: "train --corpus --encoder"."""
    command = command_of(words)
    given, parser = parser_of(command).parse_args(words[1:]), options_of(command)
    changed = [
        max(action.option_strings, key=len)
        for action in parser._actions
        if action.option_strings and getattr(given, action.dest) not in (parser.get_default(action.dest), "", [""])
    ]
    return " ".join([command.name, *sorted(changed)])
