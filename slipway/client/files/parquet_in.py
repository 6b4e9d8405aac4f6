"""The rows of a Parquet file → questions for a served model, beside all its other columns.

Rows are read in batches, so that memory does not grow with the file. A null text, or one that is
not UTF-8, is a question with an error, and the others go on.
"""

from __future__ import annotations

import base64
import math
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from slipway import errors
from slipway.client.files import questions
from slipway.client.files.questions import Form, InputLine, Source
from slipway.errors import CorpusError, ToolError, UsageError

if TYPE_CHECKING:
    import pyarrow

PYARROW = "pyarrow==25.0.0"  # as in pyproject.toml: 26 takes no numpy 1
_ROWS = 256  # read at a time
_BUFFER = 2**20  # bytes read at a time of a column; else it is read whole
_Texts = list[Any]  # of a column: a text, a list of words, None, or why it is neither (a ValueError)


class Row(Mapping[str, Any]):
    """One row of a record batch. A value becomes what JSON can hold when it is asked for."""

    __slots__ = ("at", "batch")

    def __init__(self, batch: pyarrow.RecordBatch, at: int) -> None:
        self.batch, self.at = batch, at

    def __getitem__(self, name: str) -> Any:
        """Return the value of a column."""
        return plain(self.batch.column(name)[self.at])

    def __iter__(self) -> Iterator[str]:
        """Yield the columns' names."""
        return iter(self.batch.schema.names)

    def __len__(self) -> int:
        """Return the number of columns."""
        return int(self.batch.num_columns)


def require_pyarrow() -> None:
    """Raise ToolError, with the command that installs it, where pyarrow is not there."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ToolError(
            "Parquet is read and written by pyarrow, which the client does not bring",
            expected=PYARROW,
            found=str(error),
            where=sys.executable,
            fix=shlex.join([sys.executable, "-m", "pip", "install", PYARROW]),
        ) from error


def refuse_other_input(begins: bytes, name: str, form: Form, is_file: bool) -> None:
    """Raise UsageError for a Parquet file that is read as something else, or comes from a pipe."""
    if questions.form_of_content(begins) == "parquet" and form.name != "parquet":
        raise UsageError(
            "a Parquet file has no lines",
            expected="no --format, or --format parquet",
            found=f"--format {form.name}",
            where=name,
            fix=errors.command(*without_option("--format")),
        )
    if form.name == "parquet" and not is_file:
        words = [*without_option("--format", "-"), "input.parquet"]
        raise UsageError(
            "a Parquet file is read from its end, which a pipe does not let",
            expected="a file",
            found="a pipe",
            where=name,
            fix=f"read the pipe by {{ cat > input.parquet && {errors.command(*words)}; }}",
        )


def read(file: BinaryIO, name: str, form: Form, task: str) -> Source:
    """Return the rows of a Parquet file.

    Raises CorpusError for a damaged file and for one without the text's column.
    """
    import pyarrow
    from pyarrow import parquet

    questions.check_count(form, name, task)
    try:
        table = parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(name, error) from error
    wanted, columns = form.columns or questions.FIELD_NAMES[task], tuple(table.schema_arrow.names)
    if any(columns.count(column) != 1 for column in (*columns, *wanted)):
        raise _no_such_columns(table, wanted, name)
    for column in wanted:
        _refuse_no_texts(table.schema_arrow.field(column), task, name)
    return Source(_lines(table, name, task, wanted), columns, total=table.metadata.num_rows, schema=table.schema_arrow)


def _lines(table: Any, name: str, task: str, wanted: tuple[str, ...]) -> Iterator[InputLine]:
    import pyarrow

    number = 0
    try:
        for batch in table.iter_batches(_ROWS):
            texts = [_texts(batch.column(column), task == "tagging") for column in wanted]
            for at, values in enumerate(zip(*texts, strict=True)):
                number += 1
                wrong = next((f"{column!r}: {value}" for column, value in zip(wanted, values, strict=True) if _is_error(value)), "")
                question = values[0] if len(values) == 1 else values
                yield InputLine(number, 1, Row(batch, at), None if wrong else question, wrong)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(name, error) from error


def _is_error(value: Any) -> bool:
    return isinstance(value, ValueError)


def _texts(column: pyarrow.Array, tagger: bool) -> _Texts:
    """Return what a column holds: texts, or for a tagger words; a ValueError where none is."""
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_list(column.type):
        return [_words(_texts(row.values, False)) if row.is_valid else ValueError("null") for row in column]
    texts: list[Any] = [_text(value) for value in column.cast(pyarrow.large_binary()).to_pylist()]
    return [text if _is_error(text) else _words(text.split()) for text in texts] if tagger else texts


def _text(value: bytes | None) -> str | ValueError:
    if value is None:
        return ValueError("null")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        return error


def _words(words: list[Any]) -> list[str] | ValueError:
    return next(filter(_is_error, words), words if words else ValueError("no words"))


def _is_list(kind: pyarrow.DataType) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind))


def _holds_text(kind: pyarrow.DataType) -> bool:
    """Return whether a column may hold texts; some programs write them as bytes without a type."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    holds = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary)
    return types.is_null(kind) or any(is_kind(kind) for is_kind in holds)


def _refuse_no_texts(field: pyarrow.Field, task: str, name: str) -> None:
    if _holds_text(field.type) or (task == "tagging" and _is_list(field.type) and _holds_text(field.type.value_type)):
        return
    words = ", or lists of strings" if task == "tagging" else ""
    raise CorpusError(
        f"the column {field.name} holds no texts",
        expected=f"strings{words}",
        found=str(field.type),
        where=name,
        fix=errors.command(*without_option("--text"), "--text", "COLUMN"),
    )


def plain(value: pyarrow.Scalar) -> Any:
    """Return a value as JSON can hold it.

    Dates and times are ISO 8601 (those with a zone in UTC), decimals texts that keep their digits,
    bytes base64, NaN and infinities the texts nan, inf, -inf; a duration is a number of its unit,
    and a map a list of its keys and values.
    """
    from pyarrow import types

    kind = value.type
    if not value.is_valid:
        return None
    if types.is_dictionary(kind) or isinstance(kind, _extension()):
        return plain(value.value)
    if types.is_struct(kind):
        return {field.name: plain(value[field.name]) for field in kind}
    if types.is_nested(kind):
        return [plain(item) for item in value.values]
    if types.is_floating(kind):
        number = float(value.as_py())
        return number if math.isfinite(number) else str(number)
    if types.is_integer(kind) or types.is_boolean(kind):
        return value.as_py()
    return _written_out(value)


def _written_out(value: pyarrow.Scalar) -> Any:
    import pyarrow
    from pyarrow import types

    if types.is_duration(value.type):
        return value.value
    if types.is_timestamp(value.type):
        zoned = value.cast(pyarrow.timestamp(value.type.unit, "UTC")) if value.type.tz else value
        return zoned.cast(pyarrow.string()).as_py().replace(" ", "T", 1)
    if types.is_string(value.type) or types.is_large_string(value.type) or types.is_string_view(value.type):
        return value.as_buffer().to_pybytes().decode("utf-8", "replace")
    if hasattr(value, "as_buffer"):
        return base64.b64encode(value.as_buffer().to_pybytes()).decode("ascii")
    return value.cast(pyarrow.string()).as_py()


def _extension() -> Any:
    import pyarrow

    return pyarrow.BaseExtensionType


def without_option(option: str, file: str = "") -> list[str]:
    """Return the words of this command without an option and its values, and without the file."""
    words: list[str] = []
    given = iter(questions.with_other_file(sys.argv[1:], file))
    for word in given:
        if word == option:
            next(given, None)
        elif not word.startswith(f"{option}="):
            words.append(word)
    return words


def _no_such_columns(table: Any, wanted: tuple[str, ...], name: str) -> CorpusError:
    fields = [field for field in table.schema_arrow if _holds_text(field.type)]
    batch = next(table.iter_batches(_ROWS), None) if fields else None
    sizes = {field.name: batch.column(table.schema_arrow.names.index(field.name)).nbytes if batch else 0 for field in fields}
    likely = max(sizes, key=lambda column: sizes[column], default="COLUMN")
    choice = ("--text", likely) if len(wanted) == 1 else ("--text", likely, "--text", "COLUMN")
    return CorpusError(
        "the text's column is not there, or a name is there twice",
        expected=f"columns with {' and '.join(wanted)}, and every name once",
        found=", ".join(table.schema_arrow.names) or "no columns",
        where=name,
        fix=errors.command(*without_option("--text"), *choice),
    )


def _damaged(name: str, error: Exception) -> CorpusError:
    return CorpusError(
        "the Parquet file cannot be read",
        expected="a whole Parquet file, which begins and ends with PAR1",
        found=str(error).partition("\n")[0],
        where=name,
        fix="write or download it again; where it is none, --format says what it is",
    )
