"""Labels as numbers, and texts as word pieces with their labels.

Training and imported models share this file, so that both align tags with word pieces alike.

A label's name is normalised: NFC, without format characters such as zero-width ones, and without
white space around it. Names that are the same after that are one label; what still looks alike is
warned about. Texts are not touched.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from slipway.contract import readers
from slipway.contract.bundle import NOT_ASKED
from slipway.contract.ragged import Numbers, Ragged
from slipway.contract.readers import BadRow, Row
from slipway.contract.tokenizer import Tokenizer, Tokens
from slipway.errors import CorpusError

_SHOWN = 40  # characters of a label
_CORRECT = "correct the file, or leave out --unlabelled, then run the same command again"
# Letters of other scripts, each above the Latin one that it looks like: Unicode's confusables.txt,
# without those that only look similar in some fonts.
_CYRILLIC = str.maketrans("АВЕЅІЈКМНОРСТУХаеорсухѕіјһԁԛԝ", "ABESIJKMHOPCTYXaeopcyxsijhdqw")
_GREEK = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧονρι", "ABEZHIKMNOPTYXovpi")
_LATIN_OF = _CYRILLIC | _GREEK  # code point → code point
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK")


@dataclass(frozen=True)
class Unlabelled:
    """Texts without labels that are golden rows, too: each is distinct, and none has a label."""

    texts: list[Any]  # str; pair: tuple[str, str]
    left_out: int  # rows that came again, or that are labelled rows
    where: str
    sha256: str = ""  # of the file, if they are of one

    @property
    def facts(self) -> dict[str, Any]:
        """Return what bundle.json says of them."""
        of_file = {"sha256": self.sha256} if self.sha256 else {}
        return {"where": self.where, **of_file, "rows": len(self.texts), "left_out": self.left_out}


class Encoded(NamedTuple):
    """Word pieces and label numbers of a list of examples."""

    rows: Ragged
    labels: Numbers  # [rows]; tagger: [tokens], with NOT_ASKED


def encode(examples: Sequence[tuple[Any, Any]], task: str, tokenize: Tokenizer) -> Encoded:
    """Tokenize examples and align their labels; no examples give no rows.

    `examples` are (text, label) as training has them; `task` is one of bundle.TASKS. A pair may
    be a tuple or, as JSON has it, a list.
    """
    texts, labels = [text for text, _ in examples], [label for _, label in examples]
    if task == "tagging":
        tokens = tokenize.of_words(texts)
        labels = [label for sentence, tags in zip(tokens, labels, strict=True) for label in token_labels(sentence, tags)]
    else:
        tokens = tokenize([tuple(text) for text in texts] if task == "text_pair" else texts)
    rows = Ragged.of([row.ids for row in tokens], [row.types for row in tokens] or None)
    return Encoded(rows, np.array(labels, np.int64))


def token_labels(tokens: Tokens, tags: Sequence[int]) -> list[int]:
    """Return [tokens] labels: a word's tag at its first piece, NOT_ASKED at any other token."""
    before = [None, *tokens.words[:-1]]
    return [
        tags[word] if word is not None and word != earlier else NOT_ASKED
        for word, earlier in zip(tokens.words, before, strict=True)
    ]


def unlabelled(
    path: Path,
    task: str,
    labelled: Iterable[Any],
    text: Sequence[str] = (),
    label: str = "",
    *,
    encoding: str = "",
    command: str = "",
) -> Unlabelled:
    """Read texts without labels, of a classifier's `task`, but those that are among `labelled`.

    `text`, `label` and `encoding` are as for `readers.read`. Raises CorpusError by file and line;
    where an option reads the file, its fix is `command` with this option.
    """
    if readers.suffix(path) not in readers.UNLABELLED_SUFFIXES or not path.is_file():
        ending = readers.suffix(path) in readers.UNLABELLED_SUFFIXES
        value = "no such file" if ending else f"the ending {path.suffix!r}"
        _refuse_text(str(path), f"a file that ends in {', '.join(readers.UNLABELLED_SUFFIXES)}", value)
    seen = {_key(row) for row in labelled}
    texts, left_out = [], 0
    for row in readers.read(path, text, label, labelled=False, encoding=encoding):
        if isinstance(row, BadRow):
            _refuse_text(f"{path}:{row.line}", row.rule, row.found, (command and row.fix(path, command)) or _CORRECT)
        if row.task != task:
            _refuse_text(f"{path}:{row.line}", f"rows of the labelled ones' task, {task}", row.task)
        if _key(row.text) in seen:
            left_out += 1
        else:
            seen.add(_key(row.text))
            texts.append(row.text)
    return Unlabelled(texts, left_out, str(path), readers.sha256(path))


def _key(text: Any) -> str | tuple[str, ...]:
    return text if isinstance(text, str) else tuple(text)


def _refuse_text(where: str, expected: str, value: str, fix: str = _CORRECT) -> NoReturn:
    raise CorpusError("the texts without labels cannot be used", expected=expected, found=value, where=where, fix=fix)


def normalised(name: str) -> str:
    """Return a label's name in NFC, without format characters, and white space around it."""
    if name.isascii():
        return name.strip()
    seen = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFC", seen).strip()


def with_normal_label(row: Row) -> Row:
    names = [normalised(label) for label in row.labels]
    return row if names == row.labels else row._replace(label=names if isinstance(row.label, list) else names[0])


def merged(written: Iterable[str]) -> dict[str, list[str]]:
    """Return the normal names that are written in several ways, each with them, sorted."""
    ways: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(written)):
        ways[normalised(name)].append(name)
    return {name: names for name, names in ways.items() if len(names) > 1}


def escaped(names: Iterable[str]) -> str:
    """Return names with escapes for all but ASCII, so that what looks the same is told apart."""
    return ", ".join(map(ascii, names))


def look_alikes(names: Sequence[str]) -> list[str]:
    """Return a sentence for each name that looks like another, or mixes scripts inside of a word.

    `names` are different and normal.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[_skeleton(name)].append(name)
    pairs = [(group[0], other) for group in alike.values() for other in group[1:]]
    sentences = [f"the labels {_with_points(a, b)} and {_with_points(b, a)} look alike: {_difference(a, b)}" for a, b in pairs]
    for name in names:
        if odd := [letter for word in re.findall(r"\w+", name) for letter in _of_another_script(word)]:
            sentences.append(f"the label {name!r} has {_points(odd)}, which looks like a letter of the script around it")
    return sentences


def _skeleton(name: str) -> str:
    """Return the same string for names that look alike: Latin letters, small, in plain form."""
    return unicodedata.normalize("NFKC", name).translate(_LATIN_OF).casefold()


def _difference(name: str, other: str) -> str:
    if unicodedata.normalize("NFKC", name) == unicodedata.normalize("NFKC", other):
        return "they are equal in compatibility form (NFKC)"
    if name.casefold() == other.casefold():
        return "they differ only by case"
    return "letters of different scripts"


def _with_points(name: str, other: str) -> str:
    """Return the name with the code points that only it has."""
    return f"{name!r} ({_points([character for character in name if character not in other] or name)})"


def _points(characters: Iterable[str]) -> str:
    return ", ".join(f"U+{ord(character):04X}" for character in dict.fromkeys(characters))


def _of_another_script(word: str) -> list[str]:
    """Return the letters of the rarer script in a word, if all of them look like the other's."""
    letters: dict[str, list[str]] = defaultdict(list)
    for letter in word:
        script = unicodedata.name(letter, "").partition(" ")[0]
        if script in _SCRIPTS:
            letters[script].append(letter)
    if len(letters) < 2:
        return []
    rarer = min(letters.values(), key=len)
    looks_latin = all(ord(letter) in _LATIN_OF or ord(letter) in _LATIN_OF.values() for letter in rarer)
    return rarer if looks_latin else []


def are_labels(names: Sequence[str]) -> bool:
    """Return whether these can be a model's labels: two or more, all different, a line each."""
    return len(set(names)) == len(names) >= 2 and all(len(name.splitlines()) == 1 and name.strip() == name for name in names)


def discovered(names: Iterable[str]) -> tuple[str, ...]:
    """Return the labels sorted: by value if all are numbers, else by name."""
    labels = sorted(set(names))
    return tuple(sorted(labels, key=int) if all(map(is_number, labels)) else labels)


def is_number(name: str) -> bool:
    return re.fullmatch("-?[0-9]+", name) is not None


def numbers(names: Sequence[str]) -> dict[str, int]:
    """Return each label's number by its name and, unless names are numbers, by its number."""
    by_name = {name: i for i, name in enumerate(names)}
    if any(map(is_number, names)):  # 1 would be a name and a number
        return by_name
    return {str(i): i for i in range(len(names))} | by_name


def numbered(row: Row, number: Mapping[str, int], rule: str) -> int | list[int] | BadRow:
    """Return the row's label as a number (tagger: one a word), or a BadRow without one."""
    tags, from_one = [], row.is_class_index and not row.counts_from_zero
    for word, label in enumerate(row.labels):
        at = _number_of(label, number, from_one=from_one)
        if at is None:
            return row.broken(rule, repr(label[:_SHOWN]), word)
        tags.append(at)
    return tags if isinstance(row.label, list) else tags[0]


def _number_of(label: str, number: Mapping[str, int], *, from_one: bool) -> int | None:
    """Return a label's number, also where it is written as 1.0, or counts from one."""
    if from_one and is_number(label) and not all(map(is_number, number)):
        return number.get(str(int(label) - 1))
    if label in number:
        return number[label]
    return number.get(re.sub(r"\.0+$", "", label))  # as data frames write numbers
