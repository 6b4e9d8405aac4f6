"""Lines of a .txt that are a text each: with fastText's labels before it, or without any."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator

from slipway.contract.formats import conll, json_rows
from slipway.contract.formats.layouts import TEXT_NAMES
from slipway.contract.formats.rows import SHOWN, BadRow, Row, Unreadable

_LABEL = "__label__"  # fastText's
_MOST_LABELS = 50  # different first words, each several times: TREC has 50 kinds of questions


def are_labelled(content: str) -> bool:
    """Return whether the first line is one of fastText."""
    return content.lstrip().startswith(_LABEL)


def parting(lines: list[str]) -> str:
    """Return the command that parts a label from its text where lines begin with one; or ""."""
    firsts = Counter(line.split(" ")[0] for line in lines)
    are_labels = 1 < len(firsts) <= _MOST_LABELS and min(firsts.values()) > 1 and all(" " in line for line in lines)
    return r"sed -E -i.bak 's/^([^ ]+) /\1\t/' {path}" if are_labels else ""


def of_fasttext(content: str) -> Iterator[Row | BadRow]:
    for line, written in enumerate(io.StringIO(content, newline=None), 1):
        label, _, text = written.strip().removeprefix(_LABEL).partition(" ")
        if not written.startswith(_LABEL):
            yield BadRow(line, f"a line begins with {_LABEL} and the label", repr(written[:SHOWN]))
        elif text.startswith(_LABEL):
            yield BadRow(
                line, "one label a row; a model of several labels (multi-label) is not trained here", repr(written[:SHOWN])
            )
        else:
            yield Row(line, text, label)


def of_texts(content: str, text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    """Yield a text a line, or JSON; raises Unreadable for lines that hold more than a text."""
    if json_rows.holds(content):
        yield from json_rows.rows(content, text, label, labelled=False)
        return
    lines = [(line, written.removesuffix("\n")) for line, written in enumerate(io.StringIO(content, newline=None), 1)]
    lines = [(line, written) for line, written in lines if written.strip()]
    _refuse_more_than_texts(content, [written for _, written in lines])
    for line, written in lines:
        yield Row(line, written, "")


def _refuse_more_than_texts(content: str, lines: list[str]) -> None:
    """Raise Unreadable for labels, columns or a header, with the command that leaves the texts."""
    value, rule = repr("".join(lines[:1])[:SHOWN]), "a text a line, and nothing else"
    if sum(line.startswith(_LABEL) for line in lines) * 2 > len(lines):
        raise Unreadable(1, rule, f"labels: {value}", remedy=f"sed -E -i.bak 's/^({_LABEL}[^ ]+ *)+//' {{path}}")
    if conll.holds(content):
        raise Unreadable(1, rule, f"words with tags: {value}")
    tabs = {line.count("\t") for line in lines}
    if len(lines) > 1 and len(tabs) == 1 and 0 not in tabs:
        columns = list(zip(*(line.split("\t") for line in lines), strict=True))
        longest = max(range(len(columns)), key=lambda at: sum(map(len, columns[at]))) + 1
        cut = f"cp {{path}} {{path}}.bak && cut -f {longest} {{path}}.bak > {{path}}"
        raise Unreadable(1, rule, f"{len(columns)} columns: {value}", remedy=cut)
    if len(lines) > 1 and lines[0].strip().casefold() in TEXT_NAMES:
        raise Unreadable(1, rule, f"a header: {value}", remedy="sed -i.bak 1d {path}")
