"""Words with tags, a word a line, and an empty line between sentences.

The word is the first column and the tag the last one, unless their numbers are given. What lies
around them in published files is known: comments before a sentence, -DOCSTART- lines, a column that
counts the words. A file in which the last column may not be the tag is refused by what it is.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from slipway.contract.formats.layouts import LABEL_NAMES
from slipway.contract.formats.rows import SHOWN, BadRow, Row, Unreadable, listed

_SPACES = re.compile("[ \t]+")  # a no-break space is a letter of its word
_TAG = re.compile(r"O|[BIESLUM]-\S+")
_POSITION = re.compile(r"\S[0-9]")  # a character and its place in its word
_LONGEST_SENTENCE = 200  # words, where a file has no other
_LOOKED_AT = 1000  # lines
_MOST = 0.95
_OF_CONLLU = 10  # columns
_DOCUMENT = "-DOCSTART-"


_TAG_NAMES = (*LABEL_NAMES, "ner", "ner_tag", "ner_tags", "ner-tag", "pos", "upos", "xpos", "iob", "bio", "entity")
_WORD_NAMES = ("word", "words", "token", "tokens", "text", "form")


class _Line(NamedTuple):
    number: int
    columns: list[str]


def rows(content: str, text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    """Yield the sentences; raises Unreadable where it is not known which column is the tag."""
    sentences = list(_sentences(content))
    _refuse_a_header(sentences)
    whole = [sentence for sentence in sentences if len({len(columns) for _, columns in sentence}) == 1]
    word_at, tag_at = _columns(text, label, whole or sentences)
    begin = _usual_begin(sentences) if word_at and not text else None
    ends = content.endswith(("\n", "\r"))
    for sentence in sentences:
        odd = _miscounted(sentence, begin) if word_at and not text else None
        yield odd or _row(sentence, word_at, tag_at, may_be_cut=sentence is sentences[-1] and not ends)


def holds(content: str) -> bool:
    """Return whether what may be a table has words with tags, and lines between sentences."""
    lines = [line.strip() for line in islice(io.StringIO(content, newline=None), _LOOKED_AT)]
    words = [_SPACES.split(line) for line in lines if line and not line.startswith(("#", _DOCUMENT))]
    tagged = [columns for columns in words if len(columns) > 1 and any(map(_TAG.fullmatch, (columns[0], *columns[1:][-2:])))]
    return "" in lines and bool(words) and len(tagged) >= _MOST * len(words)


def _sentences(content: str) -> Iterator[list[_Line]]:
    """Yield the lines of each sentence, without comments."""
    lines = [line.strip(" \n") if line.strip() else "" for line in io.StringIO(content, newline=None)]
    with_words = [line for line in lines if line and not line.startswith(("#", _DOCUMENT))]
    by_tabs = 2 * sum("\t" in line for line in with_words) > len(with_words)
    parted = [_parted(line, by_tabs) for line in lines]
    usual = Counter(len(columns) for line, columns in zip(lines, parted, strict=True) if line and not line.startswith("#"))
    width = max(usual, key=lambda columns: usual[columns], default=0)
    sentence: list[_Line] = []
    for number, (line, columns) in enumerate(zip(lines, parted, strict=True), 1):
        if not line or columns[0].split(" ")[0] == _DOCUMENT:
            if sentence:
                yield sentence
            sentence = []
        elif (sentence or not _is_comment(columns, width)) and not _is_added(columns):
            sentence.append(_Line(number, columns))
    if sentence:
        yield sentence


def _parted(line: str, by_tabs: bool) -> list[str]:
    return [column.strip(" ") for column in line.split("\t")] if by_tabs else _SPACES.split(line.strip(" \t"))


def _is_comment(columns: list[str], width: int) -> bool:
    """Return whether a line before a sentence is no word: `#` may also be one, with its tag."""
    words = " ".join(columns).split()
    return words[0] == "#" and len(words) > 1 and (len(columns) != width or "=" in columns[-1])


def _is_added(columns: list[str]) -> bool:
    """Return whether a line of CoNLL-U is a contraction (3-4) or a word that is left out (3.1)."""
    return len(columns) == _OF_CONLLU and re.fullmatch("[0-9]+[-.][0-9]+", columns[0]) is not None


def _columns(text: tuple[str, ...], label: str, sentences: Sequence[Sequence[_Line]]) -> tuple[int, int]:
    """Return the columns of word and tag, counted from 0; -1: the last one. Raises Unreadable."""
    if not sentences:
        return 0, -1
    line, width = sentences[0][0].number, len(sentences[0][0].columns)
    names = [*text, *filter(None, [label])]
    if wrong := [name for name in names if not name.isdecimal() or not 1 <= int(name) <= width]:
        rule = "columns are named by number, from 1; without any, the first one is the word and the last one the tag"
        raise Unreadable(line, rule, f"the names {listed(wrong)}, and {width} columns")
    word_at = int(text[0]) - 1 if text else int(_counts_words(sentences) and width > 2)
    if not label:
        _refuse_unclear(sentences, word_at, width)
    _refuse_unbroken(sentences)
    _refuse_untagged(sentences)
    return word_at, int(label) - 1 if label else -1


def _counts_words(sentences: Sequence[Sequence[_Line]]) -> bool:
    """Return whether the first column numbers the words, but for a few."""
    firsts = [[line.columns[0] for line in sentence] for sentence in sentences]
    steps = [_follows(*step) for column in firsts for step in pairwise(column)]
    are_numbers = [value.isdecimal() for column in firsts for value in column]
    return 2 * sum(are_numbers) > len(are_numbers) and 2 * sum(steps) >= len(steps)


def _follows(number: str, following: str) -> bool:
    return number.isdecimal() and following.isdecimal() and int(following) == int(number) + 1


def _usual_begin(sentences: Sequence[Sequence[_Line]]) -> str | None:
    """Return the number that most sentences begin with; None where it runs on through the file."""
    first, count = Counter(sentence[0].columns[0] for sentence in sentences).most_common(1)[0]
    return first if 2 * count > len(sentences) else None


def _miscounted(sentence: Sequence[_Line], begin: str | None) -> BadRow | None:
    """Return a sentence as a bad one where its first column does not number its words."""
    rule = "the first column numbers the words of a sentence" + (f" from {begin}" if begin else "")
    number, first = sentence[0].number, sentence[0].columns[0]
    if first != begin if begin else not first.isdecimal():
        return BadRow(number, rule, f"{first[:SHOWN]!r} before the first word")
    for before, line in pairwise(sentence):
        if not _follows(before.columns[0], line.columns[0]):
            return BadRow(line.number, rule, f"{line.columns[0][:SHOWN]!r} after {before.columns[0]!r}; is an empty line missing?")
    return None


def _refuse_a_header(sentences: Sequence[Sequence[_Line]]) -> None:
    """Raise Unreadable where the first line has names of columns: word and tag."""
    if not sentences:
        return
    line, *others = [line for sentence in sentences for line in sentence]
    names = [name.casefold() for name in line.columns]
    tags = {other.columns[-1] for other in others}
    is_tag_name = names[-1] in _TAG_NAMES or (names[0] in _WORD_NAMES and all(map(_TAG.fullmatch, tags)))
    if tags and line.columns[-1] not in tags and is_tag_name and not _TAG.fullmatch(line.columns[-1]):
        value = f"a header: {listed(line.columns)[:SHOWN]}"
        raise Unreadable(line.number, "words with tags from the first line on", value, remedy=f"sed -i.bak {line.number}d {{path}}")


def _refuse_unclear(sentences: Sequence[Sequence[_Line]], word_at: int, width: int) -> None:
    """Raise Unreadable where the last column is not the tag, or not the only one."""
    line = sentences[0][0].number
    columns = list(zip(*(line.columns for sentence in sentences for line in sentence if len(line.columns) == width), strict=True))
    if word_at and width == _OF_CONLLU:
        rule = "one column with the tag, named by its number: --label 4 for UPOS, 5 for XPOS, 10 for MISC"
        telling = [str(at) for at in (4, 5, 10) if len(set(columns[at - 1])) > 1]
        raise Unreadable(
            line, rule, "CoNLL-U: ten columns, of which the last one is for anything", ("--label", (telling or ["4"])[0])
        )
    is_tag = [all(map(_TAG.fullmatch, values)) for values in columns]
    if width > word_at + 2 and all(is_tag[word_at + 1 :]):
        outer, inner = word_at + 2, word_at + 3
        rule = (
            f"one column with the tag, named by its number: --label {outer} for the outer names, --label {inner} for those inside"
        )
        raise Unreadable(line, rule, "several columns of tags, as GermEval's nested names", ("--label", str(outer)))
    if is_tag[word_at] and not is_tag[-1]:
        rule = f"the tag in the last column, or columns named by number: --text {width} --label {word_at + 1}"
        raise Unreadable(line, rule, "the tag comes first", ("--text", str(width), "--label", str(word_at + 1)))
    if "O" not in columns[-1] and (tags := [at + 1 for at in range(word_at + 1, width - 1) if is_tag[at] and "O" in columns[at]]):
        rule = f"the tag in the last column, or its number: --label {tags[-1]}"
        raise Unreadable(line, rule, f"tags in column {tags[-1]}, and {columns[-1][0]!r} in the last", ("--label", str(tags[-1])))
    if word_at + 1 < width and all(map(_POSITION.fullmatch, columns[word_at])) and not all(map(str.isascii, columns[word_at])):
        rule = "a word a line, without its place"
        value = f"a character and its place in its word, as in Weibo's files: {columns[word_at][0]!r}"
        raise Unreadable(line, rule, value, remedy=r"sed -E -i.bak 's/^([^\t]+)[0-9]\t/\1\t/' {path}")


def _refuse_unbroken(sentences: Sequence[Sequence[_Line]]) -> None:
    if len(sentences) == 1 and len(sentences[0]) > _LONGEST_SENTENCE:
        value = f"one sentence of {len(sentences[0])} words"
        raise Unreadable(sentences[0][0].number, "an empty line between sentences", value)


def _refuse_untagged(sentences: Sequence[Sequence[_Line]]) -> None:
    """Raise Unreadable where words outside of names have an empty tag."""
    tags = [line.columns[-1] for sentence in sentences for line in sentence]
    if 2 * tags.count("") > len(tags):
        remedy = r"sed -E -i.bak 's/^(.*[^\t])\t *$/\1\tO/' {path}"
        raise Unreadable(sentences[0][0].number, "words outside of names have the tag O", "an empty tag", remedy=remedy)


def _row(sentence: list[_Line], word_at: int, tag_at: int, may_be_cut: bool) -> Row | BadRow:
    width = max(2, len(sentence[0].columns))
    for number, columns in sentence:
        if len(columns) != width:
            rule = f"a word and its tag, {width} columns in every line of the sentence"
            return BadRow(number, rule, f"{len(columns)} columns: {' '.join(columns)[:SHOWN]}")
    words, tags = [columns[word_at] for _, columns in sentence], [columns[tag_at] for _, columns in sentence]
    is_last = tag_at in (-1, width - 1)
    return Row(sentence[0].number, words, tags, may_be_cut and is_last, lines_per_word=1)
