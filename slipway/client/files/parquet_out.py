"""Answers as the columns of a Parquet file, beside the input's own, which keep their types.

The file is called FILE.part until every row is answered. It cannot be gone on with: its end says
where everything is, and comes last.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway import errors
from slipway.client.files import answers
from slipway.client.files.answers import Answered, Tally, Write
from slipway.client.files.parquet_in import Row, without_option
from slipway.client.files.questions import Source
from slipway.errors import SlipwayError, UsageError

if TYPE_CHECKING:
    import pyarrow

_MOST_ROWS, _MOST_BYTES = 2**16, 2**25  # of a row group; so much is kept in memory


def is_written(output: Path | None, source_is_parquet: bool) -> bool:
    """Return whether answers become Parquet: by the output's suffix, or as the input is."""
    if not output:
        return False
    suffix = output.suffix.lower()
    return suffix == ".parquet" or (source_is_parquet and suffix not in (*answers.SUFFIXES, *answers.NOT_WRITTEN))


def not_resumable(output: Path) -> UsageError:
    """Return the error of --resume, which names a file that can be gone on with."""
    return UsageError(
        "a Parquet file cannot be gone on with",
        expected="--resume with a file .jsonl or .csv",
        found=str(output),
        where="the option --resume",
        fix=_resumable(output),
    )


@contextmanager
def in_file(output: Path, source: Source, task: str, tally: Tally) -> Iterator[Write]:
    """Yield a function that writes answers to `output`.part, which is called `output` once the
    block has ended.

    A block that ends early leaves in it the rows that were answered. Raises SlipwayError for a file
    that is there, or cannot be written, and when the block is interrupted.
    """
    import pyarrow
    from pyarrow import parquet

    answers.refuse_no_columns(source, output)
    partial = output.with_name(f"{output.name}.part")
    _refuse_existing(output, partial)
    kept, own = _kept_schema(source, task), _answer_schema(task)
    try:
        with parquet.ParquetWriter(partial, _joined(kept, own)) as file:
            groups = _RowGroups(file)
            try:
                yield lambda answered: groups.add(_table(answered, kept, own))
            finally:
                groups.write()
    except (OSError, pyarrow.ArrowException) as error:
        partial.unlink(missing_ok=True)  # without its end it cannot be read
        raise answers.unwritable(str(partial), getattr(error, "strerror", None) or str(error)) from error
    except KeyboardInterrupt as interrupt:
        raise errors.Interrupted(
            "interrupted",
            expected="every row answered",
            found=_keep(partial, tally),
            where=str(partial),
            fix=f"{_resumable(output)} can be interrupted, and gone on with by --resume",
        ) from interrupt
    except SlipwayError:
        print(_keep(partial, tally), file=sys.stderr)
        raise
    partial.replace(output)


class _RowGroups:
    """The rows of a Parquet file's next row group."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._tables: list[pyarrow.Table] = []
        self._rows = self._bytes = 0

    def add(self, table: pyarrow.Table) -> None:
        self._tables.append(table)
        self._rows, self._bytes = self._rows + table.num_rows, self._bytes + table.nbytes
        if self._rows >= _MOST_ROWS or self._bytes >= _MOST_BYTES:
            self.write()

    def write(self) -> None:
        import pyarrow

        if self._tables:
            self._file.write_table(pyarrow.concat_tables(self._tables).unify_dictionaries())
        self._tables, self._rows, self._bytes = [], 0, 0


def _refuse_existing(output: Path, partial: Path) -> None:
    there = next((path for path in (partial, output) if path.exists()), None)
    if there:
        raise UsageError(
            "answers are there already",
            expected="a new file",
            found="a finished one" if there == output else "those of a run that was interrupted, or is under way",
            where=str(there),
            fix=f"name another --output; or, to answer all rows again: {shlex.join(['rm', str(there)])}",
        )


def _keep(partial: Path, tally: Tally) -> str:
    """Say how many rows a file holds that is not finished; it is removed if there are none."""
    if tally.written:
        return f"{tally.written} rows are kept in {partial}, a Parquet file of its own"
    partial.unlink(missing_ok=True)
    return "no row was answered"


def _resumable(output: Path) -> str:
    return errors.command(*without_option("--output"), "--output", output.with_suffix(".jsonl"))


def _kept_schema(source: Source, task: str) -> pyarrow.Schema:
    """Return the schema of the input's own columns, without an earlier run's answers."""
    import pyarrow

    schema = source.schema
    if schema is None:  # a text's words are a list, a CSV's a cell
        is_words = task == "tagging" and not source.delimiter
        kind = pyarrow.list_(pyarrow.string()) if is_words else pyarrow.string()
        schema = pyarrow.schema([(name, kind) for name in source.columns])
    own = answers.answer_columns(task)
    return pyarrow.schema([field for field in schema if field.name not in own], schema.metadata)


def _answer_schema(task: str) -> pyarrow.Schema:
    import pyarrow

    text, number, count, flag = pyarrow.string(), pyarrow.float64(), pyarrow.int64(), pyarrow.bool_()
    numbers = pyarrow.list_(number)
    kinds = {"label": text, "probability": number, "logits": numbers, "truncated": flag, "tokens": count, "error": text}
    if task == "tagging":
        kinds |= {"labels": pyarrow.list_(text), "probabilities": numbers, "logits": pyarrow.list_(numbers)}
    return pyarrow.schema([(name, kinds[name.removeprefix("answer_")]) for name in answers.answer_columns(task)])


def _joined(kept: pyarrow.Schema, own: pyarrow.Schema) -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema([*kept, *own], kept.metadata)


def _table(answered: Answered, kept: pyarrow.Schema, own: pyarrow.Schema) -> pyarrow.Table:
    """Return the rows with their answers."""
    import pyarrow

    values = [answers.values_of(answer) for _, answer in answered]
    ours = [pyarrow.array([row.get(field.name.removeprefix("answer_")) for row in values], field.type) for field in own]
    return pyarrow.Table.from_arrays([*_given(answered, kept), *ours], schema=_joined(kept, own))


def _given(answered: Answered, kept: pyarrow.Schema) -> list[pyarrow.ChunkedArray]:
    """Return the input's own columns of the rows; those of Parquet as they were read."""
    import pyarrow

    rows = [line.fields for line, _ in answered]
    read = [row for row in rows if isinstance(row, Row)]
    if len(read) < len(rows):
        columns = [[row.get(name) for row in rows] for name in kept.names]
        return [pyarrow.chunked_array([column], field.type) for column, field in zip(columns, kept, strict=True)]
    runs = [list(run) for _, run in groupby(read, key=lambda row: id(row.batch))]
    slices = [run[0].batch.slice(run[0].at, len(run)) for run in runs]
    return [pyarrow.chunked_array([part.column(field.name) for part in slices], field.type) for field in kept]
