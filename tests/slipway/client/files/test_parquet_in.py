"""How the rows of a Parquet file become questions, and their values JSON."""

from __future__ import annotations

import datetime
import decimal
import io
import random
import sys
import tomllib
from typing import Any, ClassVar

import pyarrow
import pytest
from pyarrow import parquet

from slipway.client.files import parquet_in
from slipway.client.files.questions import Form, InputLine, Source
from slipway.errors import CorpusError, ToolError, UsageError
from tests.support.command import CHECKOUT


def content(**columns: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def source(columns: dict[str, Any], *names: str, task: str = "single_text") -> Source:
    return parquet_in.read(io.BytesIO(content(**columns)), "rows.parquet", Form("parquet", names), task)


def lines(columns: dict[str, Any], *names: str, task: str = "single_text") -> list[InputLine]:
    return list(source(columns, *names, task=task).lines)


@pytest.mark.parametrize(
    "kind",
    [
        *(pyarrow.string(), pyarrow.large_string(), pyarrow.string_view(), pyarrow.binary()),
        pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
    ],
    ids=str,
)
def test_a_text_may_be_kept_in_any_type_of_text(kind: pyarrow.DataType) -> None:
    rows = lines({"text": pyarrow.array(["ä", None, "b"]).cast(kind)})
    assert [(row.question, row.error) for row in rows] == [("ä", ""), (None, "'text': null"), ("b", "")]


def test_a_text_that_is_not_utf_8_fails_alone() -> None:
    bad, good = lines({"text": pyarrow.array([b"caf\xe9", b"good"])})
    assert (bad.question, "0xe9" in bad.error, good.question) == (None, True, "good")


def test_both_columns_of_a_pair_are_read() -> None:
    pair, half = lines({"a": ["1", "3"], "b": ["2", None]}, "b", "a", task="text_pair")
    assert (pair.question, half.error) == (("2", "1"), "'b': null")


def test_a_taggers_words_are_a_list_or_parted_by_white_space() -> None:
    columns = {"listed": [["New", "York"], [], ["a", None], None], "typed": ["New  York", " ", "a", None]}
    for name in columns:
        good, empty, *_ = lines(columns, name, task="tagging")
        assert (good.question, empty.error) == (["New", "York"], f"{name!r}: no words")
    assert [row.error for row in lines(columns, "listed", task="tagging")[2:]] == ["'listed': null"] * 2


def test_more_rows_than_are_read_at_a_time_keep_their_order_and_numbers() -> None:
    table = source({"text": [str(number) for number in range(1000)]})
    rows = list(table.lines)
    assert [(row.question, row.number) for row in rows] == [(str(number), number + 1) for number in range(1000)]
    assert sum(row.size for row in rows) == table.total


def test_a_row_group_is_not_read_whole() -> None:
    class Counted(io.BytesIO):
        sizes: ClassVar[list[int]] = []

        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            self.sizes.append(len(content))
            return content

    file = Counted(content(text=[random.randbytes(500).hex() for _ in range(8000)]))
    for _ in parquet_in.read(file, "rows.parquet", Form("parquet"), "single_text").lines:
        pass
    assert sum(Counted.sizes) > 2 * max(Counted.sizes)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (pyarrow.scalar(None, pyarrow.date32()), None),
        (pyarrow.scalar(datetime.date(2024, 2, 29)), "2024-02-29"),
        (pyarrow.scalar(1577934245123456789, pyarrow.timestamp("ns")), "2020-01-02T03:04:05.123456789"),
        (pyarrow.scalar(1577934245, pyarrow.timestamp("s", "Europe/Berlin")), "2020-01-02T03:04:05Z"),
        (pyarrow.scalar(5, pyarrow.duration("ms")), 5),
        (pyarrow.scalar(decimal.Decimal("1.50")), "1.50"),
        (pyarrow.scalar(b"\xff\x00"), "/wA="),
        (pyarrow.scalar(float("nan")), "nan"),
        (pyarrow.scalar(float("-inf"), pyarrow.float32()), "-inf"),
        (pyarrow.scalar(2**60), 2**60),
        (pyarrow.scalar(True), True),
        (pyarrow.scalar({"x": [datetime.date(2024, 2, 29), None]}), {"x": ["2024-02-29", None]}),
        (pyarrow.scalar([("k", 1)], pyarrow.map_(pyarrow.string(), pyarrow.int64())), [{"key": "k", "value": 1}]),
        (pyarrow.array(["a"]).dictionary_encode()[0], "a"),
        (pyarrow.array([b"\xff" * 16], pyarrow.uuid())[0], "/////////////////////w=="),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_a_value_becomes_what_json_can_hold(value: pyarrow.Scalar, plain: Any) -> None:
    assert parquet_in.plain(value) == plain


def test_a_column_that_is_not_there_is_proposed_by_the_longest_text() -> None:
    with pytest.raises(CorpusError, match=r"found     id, short, review\n(.*\n)*.*--text review"):
        source({"id": [1], "short": ["a"], "review": ["a long review"]})


def test_a_column_of_numbers_is_refused_before_all_rows_fail() -> None:
    with pytest.raises(CorpusError, match="the column id holds no texts"):
        source({"id": [1, 2]}, "id")


@pytest.mark.parametrize("cut", [10, -10])
def test_a_damaged_file_is_refused(cut: int) -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        parquet_in.read(io.BytesIO(content(text=["a"])[:cut]), "rows.parquet", Form("parquet"), "single_text")


def test_a_parquet_file_is_not_read_as_text() -> None:
    with pytest.raises(UsageError, match="has no lines"):
        parquet_in.refuse_other_input(content(text=["a"]), "rows", Form("csv"), is_file=True)


def test_without_pyarrow_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ToolError, match=rf"-m pip install {parquet_in.PYARROW}$"):
        parquet_in.require_pyarrow()


def test_the_pyarrow_that_is_named_is_the_one_of_training() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    assert parquet_in.PYARROW in project["optional-dependencies"]["train"]
