"""A row of a labelled file, a row that breaks a rule, and the rules of texts and labels."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from slipway import errors

LONGEST_FIELD = 128 * 1024  # characters; longer ones are accidents, such as a quote closed far below
# NUL, and halves of a surrogate pair, which JSON can escape and UTF-8 cannot hold.
_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")
_NO_LABELS = ("-", "-1", "-1.0", "nan", "null", "<na>", "n/a", "#n/a", "\\n", "?")  # without regard to case
SHOWN = 60  # characters of a value in a message


class Row(NamedTuple):
    """A text, a pair or a sentence, with its label or tags as they are written."""

    line: int  # the row begins there, from 1
    text: str | tuple[str, str] | list[str]  # pair: both texts; tagger: the words
    label: str | list[str]  # tagger: a tag a word
    may_be_cut: bool = False  # the file ends in this row's last label, without a line end
    lines_per_word: int = 0  # 1 in a .conll
    is_class_index: bool = False  # the label is a number from 1, which a classes.txt names
    counts_from_zero: bool = False  # is_class_index: the file has the class 0

    @property
    def labels(self) -> list[str]:
        return self.label if isinstance(self.label, list) else [self.label]

    def broken(self, rule: str, value: str, word: int = 0, options: tuple[str, ...] = ()) -> BadRow:
        """Return this row as one that breaks a rule; tagger: at the given word."""
        return BadRow(self.line + word * self.lines_per_word, rule, value, options=options)

    @property
    def task(self) -> str:
        """The task that rows of this form are of, one of bundle.TASKS."""
        return "tagging" if isinstance(self.label, list) else "text_pair" if isinstance(self.text, tuple) else "single_text"


class BadRow(NamedTuple):
    """A row that breaks a rule."""

    line: int
    rule: str  # the property that every row must have
    found: str  # the value that breaks it
    breaks: bool = False  # later rows cannot be told apart, or the whole file cannot be read
    options: tuple[str, ...] = ()  # with these options of training it is read, or left out
    remedy: str = ""  # a command of the shell that makes a file which can be read
    advice: str = ""  # what to do before the command is run, in words; with a full stop: what else

    def fix(self, path: Path, command: str) -> str:
        """Return the command that reads the file all the same, or ""; `command` is the one of now.

        A gzipped file is unpacked before it is changed.
        """
        if self.options:
            return errors.with_options(command, self.options)
        if self.advice:
            return self.advice if self.advice.endswith(".") else f"{self.advice}, then run: {command}"
        if not self.remedy:
            return ""
        packed = shlex.quote(str(path))
        if path.suffix.lower() != ".gz":
            return f"{self.remedy.format(path=packed)} && {command}"
        unpacked = shlex.quote(str(path.with_suffix("")))
        return f"gunzip {packed} && {self.remedy.format(path=unpacked)} && {command.replace(packed, unpacked)}"


class Unreadable(Exception):
    """A file cannot be read from `row` on."""

    def __init__(self, line: int, rule: str, value: str, options: tuple[str, ...] = (), remedy: str = "", advice: str = "") -> None:
        super().__init__(rule)
        self.row = BadRow(line, rule, value, breaks=True, options=options, remedy=remedy, advice=advice)


def broken_text(text: str) -> tuple[str, str] | None:
    """Return (rule, value) of the first rule for texts of all files that `text` breaks, or None."""
    if not text.strip():
        return "a text is not empty", repr(text[:SHOWN])
    if len(text) > LONGEST_FIELD:
        return f"a field holds at most {LONGEST_FIELD:,} characters", f"{len(text):,} characters"
    if character := _NO_CHARACTER.search(text):
        return "a text holds no NUL character and no half of a surrogate pair", repr(character.group())
    return None


def with_broken_text(row: Row, task: str) -> BadRow | None:
    """Return the row as a bad one if a text of it breaks a rule, or it is not of this task."""
    if row.task != task:
        return row.broken(f"all rows are of one task, as the first one's {task}", row.task)
    for word, text in enumerate([row.text] if isinstance(row.text, str) else row.text or [""]):
        if broken := broken_text(text):
            return row.broken(*broken, word)
        if task != "tagging" and all(map(is_dropped, text)):
            return row.broken("a text has a character that is read", ascii(text[:SHOWN]), word)
    return None


def with_broken_label(row: Row, missing: Collection[str]) -> BadRow | None:
    """Return the row as a bad one if a label of it is none, and not one of `missing`."""
    for word, label in enumerate(row.labels):
        if label in missing and not isinstance(row.label, list):
            continue
        # labels.txt has a line for each
        if broken_text(label) or len(label.splitlines()) != 1 or all(map(is_unseen, label)):
            left_out = not label and not isinstance(row.label, list)
            options = ("--missing-label", *missing, "") if left_out else ()
            return row.broken("a label is one line and not empty", ascii(label[:SHOWN]), word, options)
    return None


def without_label(row: Row) -> Row | BadRow:
    """Return the row of a file of texts without labels, a bad one if it has a label."""
    if all(map(is_none, row.labels)):
        return row._replace(label="")
    return row.broken("a text without a label, in a file of such texts", ascii("".join(row.labels)[:SHOWN]))


def is_none(label: str) -> bool:
    """Return whether a label usually stands for none."""
    return label.strip().casefold() in ("", *_NO_LABELS)


def is_unseen(character: str) -> bool:
    """Return whether it is white space or a format character, such as a zero-width one."""
    return character.isspace() or unicodedata.category(character) == "Cf"


def is_dropped(character: str) -> bool:
    """Return whether the tokenizer may drop it; serving refuses a text of nothing else."""
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Co") or category[0] in "ZM" or character == "\ufffd"


def text_or_pair(parts: list[str]) -> str | tuple[str, str]:
    """Return one text, or two as a pair."""
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
