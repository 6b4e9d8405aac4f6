"""From texts and labels to what a model is fed: word pieces, and of a tagger a label at each word's first piece.

One file for training and for models that come from elsewhere (export/adopt.py), so that both align tags the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.bundle import NOT_ASKED
from train.ragged import Ragged
from train.rows import BadRow, Row
from train.tokenizer import Tokenizer, Tokens

_SHOWN = 40  # characters of a label


@dataclass(frozen=True)
class Encoded:
    rows: Ragged
    labels: NDArray[np.int64]  # [rows]; of a tagger [tokens], there with NOT_ASKED


def encode(examples: Sequence[tuple[Any, Any]], task: str, tokenize: Tokenizer) -> Encoded:
    """`examples` are (text, label) as in `corpus.Example`; `task` is one of bundle.TASKS. No examples give no rows.

    A pair may be a tuple or, as JSON has it, a list.
    """
    texts, labels = [text for text, _ in examples], [label for _, label in examples]
    if task == "tagging":
        tokens = tokenize.of_words(texts)
        labels = [label for one, tags in zip(tokens, labels, strict=True) for label in token_labels(one, tags)]
    else:
        tokens = tokenize([tuple(text) for text in texts] if task == "text_pair" else texts)
    rows = Ragged.of([one.ids for one in tokens], [one.types for one in tokens] or None)
    return Encoded(rows, np.array(labels, np.int64))


def token_labels(tokens: Tokens, tags: Sequence[int]) -> list[int]:
    """A word's tag at its first piece, NOT_ASKED at every other, at [CLS] and at [SEP]; [tokens]."""
    before = [None, *tokens.words[:-1]]
    return [
        tags[word] if word is not None and word != earlier else NOT_ASKED
        for word, earlier in zip(tokens.words, before, strict=True)
    ]


def are_labels(names: Sequence[str]) -> bool:
    """Whether these can be a model's labels: two or more, none empty, each once and on a line of its own."""
    return len(set(names)) == len(names) >= 2 and all(len(name.splitlines()) == 1 and name.strip() == name for name in names)


def discovered(names: Iterable[str]) -> tuple[str, ...]:
    """The labels sorted, by their numbers where all of them are numbers."""
    found = sorted(set(names))
    return tuple(sorted(found, key=int) if all(map(is_number, found)) else found)


def is_number(name: str) -> bool:
    return re.fullmatch("-?[0-9]+", name) is not None


def numbers(names: Sequence[str]) -> dict[str, int]:
    """The number of each label by what a file may call it: its name or, unless the names are numbers themselves, its number."""
    by_name = {name: i for i, name in enumerate(names)}
    if any(map(is_number, names)):  # 1 would be a name and a number
        return by_name
    return {str(i): i for i in range(len(names))} | by_name


def numbered(row: Row, number: Mapping[str, int], rule: str) -> int | list[int] | BadRow:
    """The row's label as a number, of a tagger one a word; a row with a label that has none breaks `rule`."""
    for word, label in enumerate(row.labels):
        if label not in number:
            return row.broken(rule, repr(label[:_SHOWN]), word)
    tags = [number[label] for label in row.labels]
    return tags if isinstance(row.label, list) else tags[0]
