"""BERT's tokenizer as it was published, in plain Python, and texts that tokenizers disagree on.
Independent of slipway/contract/tokenizer.py.

The algorithm: Devlin et al., "BERT", and the comments of its authors' tokenization code. In three
places the library `tokenizers`, which this project uses everywhere, reads otherwise, and so does
this file (docs/bad_input.md): each is marked "departs".
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import islice

LONGEST_WORD = 100  # characters
# Code points of characters that stand alone: the CJK Unified Ideographs and their compatibility
# forms. Departs: Extension E, 0x2B820 to 0x2CEAF, begins 256 characters later.
_ALONE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_DROPPED = ("Cc", "Cf", "Co")  # departs: the published code keeps Co, private use
_ASCII_PUNCTUATION = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")  # also what Unicode calls symbols


def ids(text: str, vocabulary: dict[str, int], lower_case: bool, longest: int) -> list[int]:
    """[CLS], the first `longest` − 2 pieces, [SEP]."""
    pieces = (piece for word in words(text, lower_case) for piece in _pieces(word, vocabulary))
    return [vocabulary[one] for one in ("[CLS]", *islice(pieces, longest - 2), "[SEP]")]


def words(text: str, lower_case: bool) -> Iterator[str]:
    for word in _cleaned(text).split():
        yield from _without_punctuation(_folded(word) if lower_case else word)


def _cleaned(text: str) -> str:
    return "".join(map(_clean, text))


@cache  # 1 MB of text has few characters
def _clean(character: str) -> str:
    code, category = ord(character), unicodedata.category(character)
    if character in "\t\n\r" or category == "Zs":
        return " "
    if code in (0, 0xFFFD) or category in _DROPPED:
        return ""
    return f" {character} " if any(first <= code <= last for first, last in _ALONE) else character


def _folded(word: str) -> str:
    """Lower case without accents. Departs: each character by itself, so that a Greek word's last Σ
    is σ and not ς.
    """
    lowered = "".join(character.lower() for character in word)
    return "".join(one for one in unicodedata.normalize("NFD", lowered) if unicodedata.category(one) != "Mn")


def _without_punctuation(word: str) -> Iterator[str]:
    """The word's parts, every punctuation mark a part of its own."""
    begins = 0
    for at, character in enumerate(word):
        if character in _ASCII_PUNCTUATION or unicodedata.category(character).startswith("P"):
            yield from filter(None, (word[begins:at], character))
            begins = at + 1
    if word[begins:]:
        yield word[begins:]


def _pieces(word: str, vocabulary: dict[str, int]) -> list[str]:
    """The longest piece that the word begins with, then the longest that goes on with it; [UNK]
    where there is none.
    """
    found: list[str] = []
    begins = 0
    while begins < len(word) <= LONGEST_WORD:
        ends = range(len(word), begins, -1)
        candidates = (("##" if begins else "") + word[begins:end] for end in ends)
        piece = next((one for one in candidates if one in vocabulary), None)
        if piece is None:
            return ["[UNK]"]
        found.append(piece)
        begins += len(piece) - (2 if begins else 0)
    return found or ["[UNK]"]


def _codes(*ranges: tuple[int, int]) -> str:
    return "".join(chr(code) for first, last in ranges for code in range(first, last + 1))


# None newer than Unicode 8, whose tables `tokenizers` has.
ALPHABETS = {
    "emoji": _codes((0x1F300, 0x1F5FF), (0x1F600, 0x1F64F), (0x1F1E6, 0x1F1FF)) + "\u200d\ufe0f\u20e3\U0001f3fb\U000e0067#1",
    "cjk": _codes((0x4E00, 0x4E80), (0x3400, 0x3420), (0x20000, 0x20020), (0xF900, 0xF920), (0x2F800, 0x2F820), (0x2CE00, 0x2CE20)),
    "kana and hangul": _codes((0x3041, 0x3096), (0x30A1, 0x30FA), (0xAC00, 0xAC80), (0x1100, 0x1112), (0x3001, 0x3011)),
    "right to left": _codes((0x5D0, 0x5EA), (0x5B0, 0x5BC), (0x621, 0x64A), (0x64B, 0x669), (0x202A, 0x202E), (0x2066, 0x2069))
    + "\u060c\u061f\u200e\u200f",
    "combining": "aeiouAEIO" + _codes((0x300, 0x36F), (0x20D0, 0x20E0), (0x915, 0x94D), (0xE01, 0xE3A)),
    "control": "ab\0" + _codes((0x01, 0x1F), (0x7F, 0x9F), (0x200B, 0x200F), (0xFFF9, 0xFFFD)) + "\xad\ufeff",
    "private use": "ab" + _codes((0xE000, 0xE020), (0xF8F0, 0xF8FF), (0xF0000, 0xF0010), (0x10FFF0, 0x10FFFD)),
    "white space": "ab\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000 " + _codes((0x2000, 0x200A)),
    "punctuation": "ab" + _codes((0x21, 0x7E), (0xA1, 0xBF), (0x2010, 0x2027), (0x2030, 0x205E)),
    "letters": _codes((0x41, 0x5A), (0xC0, 0x24F), (0x391, 0x3C9), (0x400, 0x45F), (0x1E00, 0x1EF9)) + "İıßẞǅΣ",
    "look-alikes": _codes((0x1D400, 0x1D480), (0xFB00, 0xFB06), (0xFF21, 0xFF5A), (0x2160, 0x217F), (0x24B6, 0x24E9), (0xB2, 0xB9)),
}
_WHOLE = ("[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "##ing", "%s", "\\u0000", "<b>&amp;</b>", "o'Neill's", "U.S.A.", "3.14e-10")


def hard_strings(seed: int, count: int = 200) -> list[str]:
    """Texts of every alphabet in turn, most of them also with words, marks and specials; the last
    three are of 1 MB.
    """
    draw = random.Random(seed)
    alphabets = list(ALPHABETS.values())
    texts = [_hard(draw, alphabets[number % len(alphabets)]) for number in range(count - 3)]
    mixed = "".join(alphabets)
    large = ("oil prices fall. " * 60_000, "x" * 1_000_000, " ".join(draw.choices(mixed, k=180_000)))
    return texts + [text.encode()[:1_000_000].decode("utf-8", "ignore") for text in large]


def _hard(draw: random.Random, alphabet: str) -> str:
    parts: list[str] = []
    for _ in range(draw.randint(1, 12)):
        kind = draw.random()
        if kind < 0.7:
            parts.append("".join(draw.choices(alphabet, k=draw.randint(1, 12))))
        elif kind < 0.85:
            parts.append(draw.choice(_WHOLE))
        else:
            parts.append(draw.choice(("oil", "é", "e\u0301")) * draw.choice((1, 33, 34, 50, 100, 101)))
        parts.append(draw.choice(("", " ", "  ")))
    return "".join(parts)


def vocabulary(texts: list[str], seed: int) -> list[str]:
    """A vocabulary that knows most of these texts' characters, and longer pieces of some of their
    words.
    """
    draw = random.Random(seed)
    found = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    for text in texts:
        for word in (*words(text[:2000], True), *words(text[:2000], False)):
            begins = draw.randrange(len(word))
            for piece in (*word[:60], word, word[begins : begins + 3]):
                if draw.random() < 0.8:
                    found.setdefault(piece)
                    found.setdefault("##" + piece)
    return list(found)
