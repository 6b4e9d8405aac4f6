"""JSON, whatever the file is called: an object a line, an array of objects, or one object that
holds a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from slipway.contract.formats.layouts import NAMED, unknown
from slipway.contract.formats.rows import SHOWN, BadRow, Row, Unreadable, listed, text_or_pair

_ARRAY = re.compile(r"\s*\[\s*(?=[{\]])")
_BETWEEN = re.compile(r"\s*(?:,\s*|(\]))\s*")
_FEWEST = 3  # objects
_WORDS = (("words", "tags"), ("tokens", "tags"), ("tokens", "ner_tags"))  # keys of a tagger's rows


def rows(content: str, text: tuple[str, ...], label: str, *, labelled: bool = True) -> Iterator[Row | BadRow]:
    """Yield the rows; raises Unreadable where they cannot be told apart."""
    return of_objects(list(_objects(content)), text, label, labelled=labelled)


def holds(content: str) -> bool:
    """Return whether a text file has JSON: an object a line, or an array of them."""
    first = next((line for line in content.split("\n") if line.strip()), "")
    try:
        return _ARRAY.match(content) is not None or isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def of_objects(
    objects: list[tuple[int, Any]], text: tuple[str, ...], label: str, *, labelled: bool = True
) -> Iterator[Row | BadRow]:
    """Yield the rows of JSON objects, each with its line; raises Unreadable, as `rows` does."""
    _refuse_unknown([(line, fields) for line, fields in objects if isinstance(fields, dict)], text, label, labelled)
    for line, fields in objects:
        if isinstance(fields, BadRow):
            yield fields
        elif not isinstance(fields, dict):
            yield BadRow(line, "every line is a JSON object", json.dumps(fields, ensure_ascii=False)[:SHOWN])
        else:
            yield _row(line, fields if labelled else _with_empty_label(fields, text, label), text, label)


def _refuse_unknown(objects: list[tuple[int, dict[str, Any]]], text: tuple[str, ...], label: str, labelled: bool) -> None:
    """Raise Unreadable if no row has the columns, and there are rows to tell which may be meant."""
    if not labelled or len(objects) < _FEWEST or any(_has_columns(fields, *keys(fields, text, label)) for _, fields in objects):
        return
    names = [name for name, value in objects[0][1].items() if not isinstance(value, list | dict)]
    rows = [[str(fields.get(name, "")) for name in names] for _, fields in objects]
    raise unknown(objects[0][0], names, [names, *rows], text, label, labelled=labelled)


def _has_columns(fields: dict[str, Any], parts: tuple[tuple[str, ...], ...], label: str) -> bool:
    return {*(name for part in parts for name in part), label} <= fields.keys()


def _objects(content: str) -> Iterator[tuple[int, Any]]:
    if begin := _ARRAY.match(content):
        yield from _of_array(content, begin.end())
        return
    if (table := _of_one_object(content)) is not None:
        yield from ((1, fields) for fields in table)
        return
    for line, written in enumerate(content.split("\n"), 1):  # splitlines would also split at U+2028
        if written.strip():
            try:
                yield line, json.loads(written.strip().removesuffix(","))
            except (ValueError, RecursionError) as error:
                value = f"{getattr(error, 'msg', error)}: {written[:SHOWN]}"
                yield line, BadRow(line, "every line is a JSON object", value)


def _of_array(content: str, at: int) -> Iterator[tuple[int, Any]]:
    decoder, line, counted = json.JSONDecoder(), 1, 0
    while at < len(content) and content[at] != "]":
        line, counted = line + content.count("\n", counted, at), at
        try:
            fields, at = decoder.raw_decode(content, at)
        except (ValueError, RecursionError) as error:
            value = f"{getattr(error, 'msg', error)}: {content[at : at + SHOWN]}"
            raise Unreadable(line, "an array of JSON objects", value) from error
        yield line, fields
        between = _BETWEEN.match(content, at)
        if between is None:
            raise Unreadable(line, "an array of JSON objects, whole to its last bracket", repr(content[at : at + SHOWN]))
        at = between.end()
        if between.group(1):
            return


def _of_one_object(content: str) -> list[dict[str, Any]] | None:
    """Return the rows of one object that holds a whole table; None for anything else.

    It is a list of rows under one key, or a column by key, as pandas writes a data frame.
    """
    if not re.match(r'\s*\{\s*"[^"]*"\s*:\s*(\{|\[\s*\{|"[^"]*"\s*,\s*"data")', content):
        return None
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        return None
    lists = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(lists) == 1:
        return lists[0]
    if len(lists) == len(whole):
        value = "lists of rows under " + ", ".join(f"{name!r} ({len(rows)})" for name, rows in whole.items())
        advice = f"write each list into a file of its own, {', '.join(f'{name}.json' for name in whole)}, and name their directory."
        raise Unreadable(1, "one table in a file", value[: 2 * SHOWN], advice=advice)
    if all(isinstance(column, dict) and column.keys() == next(iter(whole.values())).keys() for column in whole.values()):
        return [dict(zip(whole, row, strict=True)) for row in zip(*(column.values() for column in whole.values()), strict=True)]
    return None


def _row(line: int, fields: dict[str, Any], text: tuple[str, ...], label: str) -> Row | BadRow:
    parts, label = keys(fields, text, label)
    wanted = [name for part in parts for name in part]
    if not _has_columns(fields, parts, label):
        return BadRow(line, f"a row has the columns {listed((*wanted, label))}", f"the columns {listed(fields)}")
    values = [fields[part[0]] if len(part) == 1 else " ".join(str(fields[name]) for name in part) for part in parts]
    value = values[0] if len(values) == 1 else values
    texts, written = value if isinstance(value, list) else [value], fields[label]
    if not all(isinstance(part, str) for part in texts):
        return BadRow(line, "a text is a string; pair: two strings; tagger: a list of words", repr(value)[:SHOWN])
    if isinstance(written, list) and isinstance(value, str) and any(isinstance(tag, list | dict) for tag in written):
        return BadRow(line, "a list of words and as many tags; places in a text (spans) are not read", repr(written)[:SHOWN])
    if isinstance(written, list) and isinstance(value, str):
        return BadRow(line, "one label a row; a model of several labels (multi-label) is not trained here", repr(written)[:SHOWN])
    tags = [_written(tag) for tag in (written if isinstance(written, list) else [written])]
    if None in tags:
        return BadRow(line, "a label is a string or a whole number", repr(written)[:SHOWN])
    names = [str(tag).strip() for tag in tags]
    if isinstance(written, list):
        if len(texts) == len(tags):
            return Row(line, texts, names)
        return BadRow(line, "a list of words and as many tags", f"{repr(value)[:SHOWN]} and {len(tags)} tags")
    if isinstance(value, list) and len(texts) != 2:
        return BadRow(line, "a text, or two of a pair", f"{len(texts)} texts")
    return Row(line, text_or_pair(texts), names[0])


def keys(fields: dict[str, Any], text: tuple[str, ...], label: str) -> tuple[tuple[tuple[str, ...], ...], str]:
    """Return the keys of each text's parts and of the label: as named, or of a known form."""
    if text:
        return tuple((name,) for name in text), label or ("tags" if "tags" in fields and "label" not in fields else "label")
    if not label:
        for form in NAMED:
            if {form.label, *(name for part in form.texts for name in part)} <= fields.keys():
                return form.texts, form.label
    for words, tags in _WORDS:
        if words in fields and (tags in fields or label) and ("text" not in fields or label in ("", tags)):
            return ((words,),), label or tags
    return (("text",),), label or ("tags" if "tags" in fields and "label" not in fields else "label")


def _written(label: Any) -> str | None:
    """Return a label as the file has it; None for what is no label."""
    if isinstance(label, bool):
        return str(label).lower()
    if label is None:
        return ""
    is_whole = isinstance(label, float) and (label.is_integer() or label != label)  # NaN stands for none
    return str(label) if isinstance(label, str | int) or is_whole else None


def _with_empty_label(fields: dict[str, Any], text: tuple[str, ...], label: str) -> dict[str, Any]:
    labels = [form.label for form in NAMED if not text and all(part in fields for parts in form.texts for part in parts)]
    name = label or next((name for name in labels if name in fields), (labels or ["label"])[0])
    return fields if fields.get(name) is not None else {**fields, name: ""}
