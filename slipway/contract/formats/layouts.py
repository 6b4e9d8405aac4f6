"""Which columns of a table are the text and the label: by name, by number, or by a known form.

A form that the field publishes is a row of NAMED, or a case of `_headerless`. Anything else is
refused, with the options that name the columns which look like text and label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import NamedTuple

from slipway.contract.formats.rows import SHOWN, Unreadable, listed

_LOOKED_AT = 1000  # rows, to guess which columns are which
_LONGEST_LABEL = 40  # characters, in the mean
_FEWEST = 20  # rows from which on it is known that numbers do not come again
_MOST = 0.9  # share of a column's values
_WORDS = 3  # in a text of a pair, in the mean
_ONE_HOT = 3  # so many columns of 0 and 1 are labels of their own
_ID = re.compile(r"^$|id$|^index$|^idx$|^unnamed")
_COLUMN_NAME = re.compile(r"[^\W\d][\w#.-]*( [\w#.-]+)?")
LABEL_NAMES = ("label", "labels", "class", "classes", "category", "sentiment", "target", "tag", "tags", "y")  # of columns
TEXT_NAMES = ("text", "texts", "sentence", "sentences", "review", "tweet", "comment", "content", "message", "body", "document")
_ANY = ("--text", "NAME", "--label", "NAME")
_OF_TWEETS = 6  # columns of Sentiment140: polarity, id, date, query, user, text
_OF_COLA = 4  # source, label, mark of the author, sentence


class Named(NamedTuple):
    """A published form with a header, or with the keys of JSON objects."""

    texts: tuple[tuple[str, ...], ...]  # two: a pair; the parts of one text are joined with a space
    label: str
    is_class_index: bool = False


NAMED = (  # the first one whose names are all there
    Named((("text",), ("text_b",)), "label"),
    Named((("text",),), "label"),
    Named((("text",),), "labels"),
    Named((("#1 String",), ("#2 String",)), "Quality"),  # GLUE: MRPC
    Named((("question1",), ("question2",)), "is_duplicate"),  # QQP
    Named((("question",), ("sentence",)), "label"),  # QNLI
    Named((("sentence1",), ("sentence2",)), "gold_label"),  # MNLI, SNLI
    Named((("sentence1",), ("sentence2",)), "label"),  # RTE, WNLI, PAWS
    Named((("premise",), ("hypothesis",)), "label"),  # NLI as Hugging Face has it
    Named((("sentence",),), "label"),  # SST-2
    Named((("Title", "Description"),), "Class Index", is_class_index=True),  # Kaggle's AG News
    Named((("v2",),), "v1"),  # Kaggle's SMS spam
    Named((("review",),), "sentiment"),  # IMDB
    Named((("tweet",),), "label"),
)


@dataclass(frozen=True)
class Layout:
    """Where text and label are, as column numbers from 0."""

    texts: tuple[tuple[int, ...], ...]
    label: int | None  # None: there is none
    has_header: bool = True
    is_class_index: bool = False
    counts_from_zero: bool = False  # is_class_index: there is the class 0


def layout(records: Sequence[tuple[int, list[str]]], text: tuple[str, ...], label: str, *, labelled: bool) -> Layout:
    """Return the layout of a table of one record or more. Raises Unreadable."""
    line, first = records[0]
    names = [name.strip() for name in first]
    rows = [columns for _, columns in records[:_LOOKED_AT] if len(columns) == len(first)]
    found = _numbered(text, label, names, labelled) or named(names, text, label, labelled=labelled)
    if found is None and not text and not label:
        found = _headerless(line, rows) if labelled else None
    if found is not None:
        if not found.has_header:
            _refuse_a_header(line, rows, found)
        return found
    raise unknown(line, names, rows, text, label, labelled=labelled)


def _refuse_a_header(line: int, rows: Sequence[Sequence[str]], at: Layout) -> None:
    """Raise Unreadable where the first row of a file that is read without a header seems to be one.

    Its label comes in no other row, and is as short as the name of a column, and so is its text.
    """
    names = [name.strip() for name in rows[0]]
    label, texts = "" if at.label is None else names[at.label], [names[parts[0]] for parts in at.texts]
    if at.label is None:
        is_header = len(rows) > 1 and all(name.casefold() in TEXT_NAMES for name in texts)
    else:
        others = Counter(row[at.label].strip() for row in rows[1:])
        is_told = label.casefold() in LABEL_NAMES or len(rows) >= _FEWEST or min(others.values(), default=0) > 1
        is_header = label not in others and is_told and all(map(_COLUMN_NAME.fullmatch, [label, *texts]))
    if not is_header:
        return
    is_unique = at.label is not None and all(names.count(name) == 1 for name in [label, *texts])
    raise Unreadable(
        line,
        "columns of a file with a header are named by it, not by number",
        f"a header: {listed(names)[: 2 * SHOWN]}",
        ("--text", *texts, "--label", label) if is_unique else (),
        f"sed -i.bak {line}d {{path}}",
    )


def unknown(
    line: int, names: Sequence[str], rows: Sequence[Sequence[str]], text: tuple[str, ...], label: str, *, labelled: bool
) -> Unreadable:
    """Return the refusal of a table whose columns are not known, with those that may be meant.

    `rows` are all of its records, the one with the names first.
    """
    columns = [name for at, name in enumerate(names) if {row[at] for row in rows[1:]} in ({"0", "1"}, {"0"}, {"1"})]
    options = (_guess(names, rows) or _only_other(names, text, label) or _ANY) if labelled else ()
    if len(columns) >= _ONE_HOT and not label:
        value = f"{len(columns)} columns of 0 and 1, so several labels a row: {listed(columns)[: 2 * SHOWN]}"
        rule = "one label a row; a model of several labels (multi-label) is not trained here, but one of its columns can be"
        return Unreadable(line, rule, value, options)
    rule = f"a header with the columns {listed(_wanted(names, text, label, labelled))}, each once"
    return Unreadable(line, rule, f"the columns {listed(names)}", options)


def with_name(records: Sequence[tuple[int, list[str]]], name: str) -> tuple[str, list[str]]:
    """Return a header in which the column that looks like a text is called `name`, with its place.

    The place is one of sed: 1c changes the first line, where that is a header; 1i inserts one.
    """
    line, first = records[0]
    rows = [columns for _, columns in records[:_LOOKED_AT] if len(columns) == len(first)]
    at = max(range(len(first)), key=lambda at: mean(len(row[at]) for row in rows))
    words = [len(row[at].split()) for row in rows[1:]]
    is_header = all(not value.strip() or _COLUMN_NAME.fullmatch(value.strip()) for value in first) and mean(words or [0]) > 2
    names = first if is_header else [f"column{number}" for number in range(1, len(first) + 1)]
    return f"{line}{'c' if is_header else 'i'} ", [name if other == at else names[other] for other in range(len(first))]


def named(names: Sequence[str], text: tuple[str, ...], label: str, *, labelled: bool = True) -> Layout | None:
    """Return the layout of a header; None unless the names, or those of a known form, are there."""
    forms = list(_forms(text, label))
    for form, with_label in [*((form, True) for form in forms), *((form, False) for form in forms if not labelled)]:
        for spelled in (list(names), [name.casefold() for name in names]):
            same = _as_is if spelled == list(names) else str.casefold
            parts = [[same(name) for name in part] for part in form.texts]
            wanted = [name for part in parts for name in part]
            if all(spelled.count(name) == 1 for name in wanted) and spelled.count(same(form.label)) == int(with_label):
                at = spelled.index(same(form.label)) if with_label else None
                texts = tuple(tuple(spelled.index(name) for name in part) for part in parts)
                return Layout(texts, at, is_class_index=form.is_class_index)
    return None


def _forms(text: tuple[str, ...], label: str) -> Iterable[Named]:
    if text:
        return [Named(tuple((name,) for name in text), label or "label")]
    return [form._replace(label=label) for form in NAMED[:2]] if label else NAMED


def _as_is(name: str) -> str:
    return name


def _wanted(names: Sequence[str], text: tuple[str, ...], label: str, labelled: bool) -> tuple[str, ...]:
    texts = text or (("text", "text_b") if "text_b" in names else ("text",))
    return (*texts, label or "label") if labelled else texts


def _numbered(text: tuple[str, ...], label: str, names: Sequence[str], labelled: bool) -> Layout | None:
    """Return the layout of columns that are named by their numbers from 1, without a header."""
    given = [*text, *([label] if labelled else [])]
    if not given or not all(map(str.isdecimal, given)) or ({*given} <= {*names} and _are_counted(names)):
        return None
    if not all(1 <= int(name) <= len(names) for name in given):
        return None
    return Layout(tuple((int(name) - 1,) for name in text), int(label) - 1 if labelled else None, has_header=False)


def _are_counted(names: Sequence[str]) -> bool:
    """Return whether names count the columns, as data frames without names have them.

    A first row of data may have a number that is asked for, too, but not one for each column.
    """
    numbers = [int(name) for name in names if name.isdecimal()]
    begins = min(numbers, default=0)
    return begins <= 1 and len(numbers) >= max(2, len(names) - 1) and numbers == list(range(begins, begins + len(numbers)))


def _headerless(line: int, rows: Sequence[Sequence[str]]) -> Layout | None:
    """Return the layout of a known form that has no header, or None. Raises Unreadable."""
    first = [value.strip() for value in rows[0]]
    width = len(first)
    if width == _OF_TWEETS and first[0] in ("0", "2", "4") and first[1].isdecimal():
        return Layout(((5,),), 0, has_header=False)
    if width == _OF_COLA and first[1] in ("0", "1") and all(row[2] in ("", "*") for row in rows):
        return Layout(((3,),), 1, has_header=False)
    classes = {row[0] for row in rows}
    is_index_of_rows = len(rows) >= _FEWEST and len(classes) * 2 > len(rows)
    if 2 <= width <= 4 and first[0].isdecimal() and not is_index_of_rows:  # AG News, Amazon, Yelp, DBpedia, Yahoo
        _refuse_no_texts(line, rows)
        return Layout((tuple(range(1, width)),), 0, has_header=False, is_class_index=True)
    return None


def _refuse_no_texts(line: int, rows: Sequence[Sequence[str]]) -> None:
    """Raise Unreadable where columns behind the class are not all text: another label, a date."""
    width = len(rows[0])
    odd = {at: reason for at in range(1, width) if width > 2 and (reason := _no_text(rows, at))}
    if not odd:
        return
    at, reason = next(iter(odd.items()))
    texts = [other for other in range(1, width) if other not in odd] or [width - 1]
    text = max(texts, key=lambda other: mean(len(row[other]) for row in rows))
    kinds, numbers = len({row[at] for row in rows}), len({row[0] for row in rows})
    names_classes = at < text and 1 < kinds <= 2 * numbers and any(map(str.isalpha, rows[0][at]))
    label = at if names_classes else 0
    raise Unreadable(
        line,
        "without a header: the class, then one to three columns of text; or both columns by their numbers: --text and --label",
        f"column {at + 1} {reason}, as {rows[0][at][:SHOWN]!r}",
        ("--text", str(text + 1), "--label", str(label + 1)),
    )


def _no_text(rows: Sequence[Sequence[str]], at: int) -> str:
    """Return what a column has that texts have not; nothing for texts, and for too few rows."""
    values = [value for row in rows if (value := row[at].strip())]
    kinds = len(set(values))
    if len(values) < _FEWEST:
        return ""
    if kinds * 4 <= len(values):
        return f"has {kinds} different values in {len(values)} rows"
    if kinds * 2 <= len(values) and len({(row[0], row[at].strip()) for row in rows if row[at].strip()}) == kinds:
        return "has values that come again and again, each with one class"
    if sum(not any(map(str.isalpha, value)) for value in values) > _MOST * len(values):
        return "has no letters"
    if sum(value.isascii() and " " not in value for value in values) > _MOST * len(values):
        return "has single words"
    return ""


def _only_other(names: Sequence[str], text: tuple[str, ...], label: str) -> tuple[str, ...]:
    """Return the options that name a known form's texts, and the only other column; or none."""
    form = None if text or label else named(names, (), "", labelled=False)
    if form is None or form.label is not None or len(set(names)) < len(names):
        return ()
    texts = [names[part] for parts in form.texts for part in parts]
    others = [name for name in names if name not in texts and not _ID.search(name.casefold())]
    is_plain = all(len(parts) == 1 for parts in form.texts) and len(others) == 1
    return ("--text", *texts, "--label", others[0]) if is_plain else ()


def _guess(names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the options that name the columns which look like text and label, or none."""
    columns = list(zip(*rows[1:], strict=True))
    if len(rows) < 3 or len(names) < 2:
        return ()
    length = [mean(map(len, values)) for values in columns]
    kinds = [len(set(values)) for values in columns]
    labels = [at for at in range(len(names)) if 1 < kinds[at] <= max(2, len(rows) // 4) and length[at] <= _LONGEST_LABEL]
    if not labels:
        return ()
    label = min(labels, key=lambda at: kinds[at])
    text = max((at for at in range(len(names)) if at != label), key=lambda at: length[at])
    texts = sorted({text, *(at for at in _alike(columns, text) if at != label)})
    is_header = rows[0][label] not in columns[label]
    if is_header and all(names.count(names[at]) == 1 for at in [*texts, label]):
        return ("--text", *(names[at] for at in texts), "--label", names[label])
    return () if is_header else ("--text", *(str(at + 1) for at in texts), "--label", str(label + 1))


def _alike(columns: Sequence[Sequence[str]], text: int) -> list[int]:
    """Return the column that may be the other text of a pair, of about as many words; or none."""
    words = [mean(len(value.split()) for value in values) for values in columns]
    others = [at for at in range(len(columns)) if at != text and words[at] >= max(_WORDS, words[text] / 2)]
    return others if len(others) == 1 else []
