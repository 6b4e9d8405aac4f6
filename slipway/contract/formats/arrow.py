"""Tables of Apache Arrow: a .parquet, a .feather, or an .arrow as Hugging Face's `datasets` saves.

A file may be one of several, as train-00000-of-00003.parquet, or 0000.parquet in a directory of its
table: the first one stands for all, and rows are counted over all of them. Label numbers of a
Hugging Face dataset get the names that its schema keeps.
"""

from __future__ import annotations

import json
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.contract.formats import json_rows
from slipway.contract.formats.encoding import text_of, unpacked
from slipway.contract.formats.rows import BadRow, Row, Unreadable

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".parquet", ".arrow", ".feather")
_BEGINS = (b"PAR1", b"ARROW1", b"FEA1")
_NUMBERED = re.compile(r"\d{4}\.parquet")  # as Hugging Face's hub converts a dataset
_SHARD = re.compile(r"(?P<name>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\b.*")


def holds(path: Path) -> bool:
    """Return whether a file begins as a table of Parquet or Arrow, whatever it is called."""
    with path.open("rb") as file:
        return file.read(6).startswith(_BEGINS)


def rows(path: Path, text: tuple[str, ...], label: str, encoding: str = "", *, labelled: bool = True) -> Iterator[Row | BadRow]:
    """Yield the rows of a table as those of JSON objects whose keys are its columns.

    `encoding` is that of texts that are kept as bytes, and are not UTF-8. Raises Unreadable for a
    file that is damaged, or lacks others of its table.
    """
    files = parts(path)
    _refuse_missing(files)
    objects: list[dict[str, Any]] = []
    for file in files:
        table = _table(file)
        texts, names = json_rows.keys(dict.fromkeys(table.column_names), text, label)
        used = [*(name for part in texts for name in part), names]
        objects += _objects(_with_texts(table, used, encoding, len(objects)), labelled)
    return json_rows.of_objects(list(enumerate(objects, 1)), text, label, labelled=labelled)


def parts(path: Path) -> list[Path]:
    """Return the files that are there of the table that a file is of, in their order."""
    shard = _SHARD.fullmatch(path.name)
    if _NUMBERED.fullmatch(path.name):
        return sorted(file for file in path.parent.iterdir() if _NUMBERED.fullmatch(file.name))
    if not shard:
        return [path]
    others = [match for file in path.parent.iterdir() if (match := _SHARD.fullmatch(file.name))]
    return sorted(path.with_name(match.string) for match in others if _table_of(match) == _table_of(shard))


def label_names(path: Path, text: tuple[str, ...] = (), label: str = "") -> tuple[str, ...]:
    """Return the names that the label's numbers stand for, in their order; () if none are known.

    `text` and `label` are the columns as for `rows`. Raises Unreadable.
    """
    table = _table(path)
    _, column = json_rows.keys(dict.fromkeys(table.column_names), text, label)
    return tuple(_names(table).get(column, ()))


def _table_of(shard: re.Match[str]) -> tuple[str, ...]:
    # Between the count and the ending a file may have a hash of its own.
    return shard["name"], shard["count"], Path(shard.string).suffix.lower()


def _refuse_missing(files: list[Path]) -> None:
    if _NUMBERED.fullmatch(files[0].name):
        numbers = [int(file.stem) for file in files]
        if missing := sorted(set(range(numbers[-1])).difference(numbers)):
            raise _incomplete(files[0], f"{missing[0]:04}.parquet", numbers[-1] + 1)
    shards = [shard for file in files if (shard := _SHARD.fullmatch(file.name))]
    here = {int(shard["number"]) for shard in shards}
    for shard in shards[:1]:
        count, ending = int(shard["count"]), Path(shard.string).suffix
        if missing := sorted(set(range(count)) - here):
            name = f"{shard['name']}-{missing[0]:05}-of-{shard['count']}{ending}"
            raise _incomplete(files[0], name, count)
        if len(here) < len(shards):
            raise Unreadable(1, "each file of this table is there once", ", ".join(file.name for file in files))


def _incomplete(file: Path, missing: str, count: int) -> Unreadable:
    advice = f"copy {missing} to {shlex.quote(str(file.parent))}"
    return Unreadable(1, f"{count} files of this table lie side by side", f"{missing} is not there", advice=advice)


def _table(path: Path) -> pyarrow.Table:
    # Only here, since the client's wheel has no pyarrow.
    import pyarrow
    import pyarrow.feather
    import pyarrow.parquet

    data = unpacked(path)
    try:
        if data[:4] == b"PAR1":
            table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
        elif data[:4] == b"FEA1":  # Feather's first version, which pyarrow reads and advises against
            with warnings.catch_warnings(action="ignore"):
                table = pyarrow.feather.read_table(pyarrow.BufferReader(data))
        else:
            open_ipc = pyarrow.ipc.open_file if data[:6] == b"ARROW1" else pyarrow.ipc.open_stream
            table = open_ipc(pyarrow.BufferReader(data)).read_all()
    except (pyarrow.ArrowException, OSError) as error:
        raise Unreadable(1, "a whole table in the format of Parquet or Arrow", str(error).partition("\n")[0]) from error
    if len(set(table.column_names)) < table.num_columns:
        raise Unreadable(1, "a column's name is there once", ", ".join(table.column_names))
    # A time is no text and no label; of some Python has no equal.
    return table.select([field.name for field in table.schema if not pyarrow.types.is_temporal(field.type)])


def _with_texts(table: pyarrow.Table, used: list[str], encoding: str, before: int) -> pyarrow.Table:
    """Return a table whose texts are strings where they are bytes, as some programs write them.

    Raises Unreadable by the row, `before` being those of earlier files.
    """
    import pyarrow

    types = pyarrow.types
    for at, field in enumerate(table.schema):
        if field.name in used and (types.is_binary(field.type) or types.is_large_binary(field.type)):
            cells = table.column(at).to_pylist()
            table = table.set_column(at, field.name, pyarrow.array(_decoded(cells, field.name, encoding, before), pyarrow.string()))
    return table


def _decoded(cells: list[bytes | None], column: str, encoding: str, before: int) -> list[str | None]:
    for name in filter(None, ("utf-8", encoding)):
        try:
            return [cell if cell is None else cell.decode(name) for cell in cells]
        except UnicodeDecodeError as error:
            odd = error.object
    value, options = "bytes that are no text", tuple[str, ...]()
    try:
        text_of(b"\n".join(filter(None, cells)), encoding)
    except Unreadable as error:
        value, options = error.row.found, error.row.options
    rule = f"the bytes in the column {column} are UTF-8, or --encoding names what they are"
    raise Unreadable(before + cells.index(odd) + 1, rule, value, options)


def _objects(table: pyarrow.Table, labelled: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows; without labels, the -1 that `datasets` has in their place is left out."""
    names = _names(table)
    try:
        rows = table.to_pylist()
    except ValueError as error:
        raise Unreadable(1, "a table whose texts are UTF-8", str(error).partition("\n")[0]) from error
    for fields in rows:
        known = {column: _named(fields[column], names[column]) for column in names}
        yield fields | {column: None if not labelled and label == -1 else label for column, label in known.items()}


def _names(table: pyarrow.Table) -> dict[str, list[str]]:
    """Return the names of the columns whose numbers have some, as `datasets` keeps them."""
    try:
        features = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    names = {column: _names_of(feature) for column, feature in features.items()} if isinstance(features, dict) else {}
    return {column: of for column, of in names.items() if of and column in table.column_names}


def _names_of(feature: Any) -> list[str]:
    """Return the names of a feature, or of what it is a list of, as a tagger's; none are []."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names_of(feature[0])
    if not isinstance(feature, dict):
        return []
    return list(feature.get("names") or []) or _names_of(feature.get("feature"))


def _named(number: Any, names: list[str]) -> Any:
    """Return a label's name; what is no number of one, such as -1 for a missing one, as it is."""
    if isinstance(number, list):
        return [_named(item, names) for item in number]
    return names[number] if isinstance(number, int) and 0 <= number < len(names) else number
