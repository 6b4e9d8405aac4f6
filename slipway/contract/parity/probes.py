"""Probe rows: what golden texts do not touch, so that a fault there cannot hide.

Every word piece of the vocabulary once, every position, both segments; and texts of other scripts,
with accents in both forms, controls, emoji, far too long. Whoever makes a bundle runs the reference
on them. Their answers mean nothing, so they are compared by their logits, and no flips are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slipway.contract.ragged import Ids, Ragged
from slipway.contract.tokenizer import Tokenizer, Tokens

# Short, so that a single piece weighs in its row's logits; [CLS] and [SEP] included.
_WIDTH = 16
_LONGEST = 8  # rows of full length, for the positions
TEXTS = (
    "The located market rose.",
    "MIXED Case, lower case, and Ünïcödé Çase",
    "caf\u00e9 na\u00efve \u00fcber stra\u00dfe",  # composed
    "cafe\u0301 nai\u0308ve u\u0308ber strasse",  # the same, decomposed
    "Łódź, Ångström, İstanbul, ığdır",
    "ﬁne ﬂuﬀy ½ ² № ™ Ⅷ",  # compatibility characters
    "ＦＵＬＬ ｗｉｄｔｈ　ｔｅｘｔ",
    "北京和上海的天气很好。",
    "東京タワーは高いです。",
    "서울은 대한민국의 수도입니다",
    "สวัสดีชาวโลก",
    "हिन्दी में एक वाक्य",
    "Привет, мир! Ёлка и ёж",
    "Ελληνικά με τόνους",
    "שלום עולם",
    "مرحبا بالعالم",
    "\u202eright to left override\u202c and back",
    "zero\u200bwidth\u200djoiner\ufeffmark and soft\u00adhyphen",
    "no\u00a0break\u2009thin\u3000wide\u2028line\u2029paragraph",
    "tab\tnew\nline\rreturn\x0bvertical",
    "bell\x07null\x00escape\x1b[31m delete\x7f",
    "replacement \ufffd and private \ue000",
    "😀 smile 👩‍👩‍👧 family 🇩🇪 flag 👍🏽 tone",
    "https://example.org/a_b?c=d&e=%20#f mail@example.org",
    "don't can't it's O'Neill rock 'n' roll",
    "“quoted” ‘single’ — dash – en … dots",
    "$1,234.56 €99 £5 100% 1e-5 +49-30-123",
    "C++ C# .NET a/b a\\b <tag> {json: [1, 2]}",
    "[CLS] [SEP] [MASK] [PAD] [UNK] in the text",
    "##ing ##s continuation marks",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9",
    "! \" # $ % & ' ( ) * + , - . / : ; < = > ? @ [ \\ ] ^ _ ` { | } ~",
    "x" * 100,  # the longest word that is read
    "x" * 101,  # [UNK]
    "ab" * 500,
    "long " * 600,
    "." * 600,
    "é" * 300,
)


@dataclass(frozen=True)
class ProbeRows:
    """Probe texts and, as ids, them and the rows of word pieces."""

    texts: list[Any]  # str; pair: [str, str]; tagger: the words, list[str]
    ids: Ragged  # of the texts, and then of the rows of word pieces


def rows(tokenizer: Tokenizer, vocabulary: Path, max_seq_len: int, task: str) -> ProbeRows:
    """Make the probe rows of a vocabulary. The same arguments give the same rows.

    `task` is one of bundle.TASKS. A text of which the tokenizer leaves nothing is left out, as no
    server answers it.
    """
    names = _names(vocabulary)
    texts = _texts(task, names)
    tokens = tokenizer.of_words(texts) if task == "tagging" else tokenizer([_given(text) for text in texts])
    read = [place for place, row in enumerate(tokens) if _is_read(row, task)]
    pieces = _pieces(names, max_seq_len)
    types = [np.zeros(len(row), np.int32) if number % 2 else _second_half(row) for number, row in enumerate(pieces)]
    ids = Ragged.of(
        [*(tokens[place].ids for place in read), *pieces],
        [*(tokens[place].types for place in read), *types],
    )
    return ProbeRows([texts[place] for place in read], ids)


def _names(vocabulary: Path) -> list[str]:
    lines = vocabulary.read_bytes().split(b"\n")
    return [line.rstrip(b"\r").decode("utf-8", "replace") for line in (lines[:-1] if lines[-1] == b"" else lines)]


def _texts(task: str, names: list[str]) -> list[Any]:
    """Return the texts; among them words of the vocabulary itself in other capitals, which are
    read as something else where `lower_case` is not as it was.
    """
    words = [name for name in names if name.isalpha()]
    own = " ".join(words[:: max(1, len(words) // 8)][:8])
    texts = [text for text in (*TEXTS, own.lower(), own.upper(), own.title()) if text]
    if task == "text_pair":
        return [[text, texts[-place]] for place, text in enumerate(texts)]
    if task == "tagging":  # words are what white space leaves; a tagger's are given one by one
        return [text.split() for text in texts]
    return texts


def _given(text: Any) -> Any:
    return tuple(text) if isinstance(text, list) else text


def _is_read(row: Tokens, task: str) -> bool:
    """Return whether the tokenizer left something of the text; of a pair, of each text."""
    return row.types.count(0) > 2 and (task != "text_pair" or row.types.count(1) > 1)


def _pieces(names: list[str], max_seq_len: int) -> list[Ids]:
    """Return rows of ids that hold every word piece but [PAD], in an order that mixes rare and
    frequent ones: most rows are short, some have every position.
    """
    first, last = names.index("[CLS]"), names.index("[SEP]")
    order = np.random.default_rng(0).permutation(np.arange(1, len(names)))
    width = min(_WIDTH, max_seq_len)
    starts = np.arange(0, len(order), width - 2)
    short = [order[start : start + width - 2] for start in starts]
    long = [np.resize(np.roll(order, -997 * number), max_seq_len - 2) for number in range(_LONGEST)]
    return [np.array([first, *row, last], np.int32) for row in (*short, *long)]


def _second_half(row: Ids) -> Ids:
    """Return segment ids with ones in the second half, as the second text of a pair has them."""
    return (np.arange(len(row)) >= len(row) // 2).astype(np.int32)
