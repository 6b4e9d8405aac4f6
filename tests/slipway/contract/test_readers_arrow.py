"""Tables of Parquet and Arrow: whole, in several files, with names of labels, damaged."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from slipway.contract import readers
from slipway.contract.readers import BadRow, Row

TEXTS = ["schön", "übel", "naja"]
CLASSES = {"label": {"names": ["sehr gut", "schlecht"], "_type": "ClassLabel"}}


def table(features: dict[str, Any] | None = None, **columns: Any) -> pyarrow.Table:
    """A table with the features that `datasets` would keep in it."""
    plain = pyarrow.table(columns)
    return plain.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}) if features else plain


def parquet(path: Path, content: pyarrow.Table) -> Path:
    pyarrow.parquet.write_table(content, path)
    return path


def read(path: Path, *columns: str, **settings: Any) -> list[tuple[Any, Any]]:
    rows = list(readers.read(path, columns[:-1], "".join(columns[-1:]), **settings))
    assert all(isinstance(row, Row) for row in rows), rows
    return [(row.text, row.label) for row in rows if isinstance(row, Row)]


def broken(path: Path) -> BadRow:
    (row,) = readers.read(path)
    assert isinstance(row, BadRow)
    return row


def test_a_parquet_is_read_by_its_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", table(review=TEXTS, mood=["a", "b", "a"], stars=[1, 2, 3]))
    assert read(path, "review", "mood") == [("schön", "a"), ("übel", "b"), ("naja", "a")]
    assert read(path, "review", "stars")[2] == ("naja", "3")


@pytest.mark.parametrize("new", [pyarrow.ipc.new_stream, pyarrow.ipc.new_file])
@pytest.mark.parametrize("name", ["rows.arrow", "rows.feather"])
def test_an_arrow_is_a_stream_or_a_file(tmp_path: Path, name: str, new: Callable[..., Any]) -> None:
    content = table(text=TEXTS, label=["a", "b", "a"])
    with new(str(tmp_path / name), content.schema) as writer:
        writer.write_table(content)
    assert read(tmp_path / name) == [("schön", "a"), ("übel", "b"), ("naja", "a")]


def test_a_gzipped_parquet_and_categories_are_read(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", table(text=TEXTS, label=pyarrow.array(["a", "b", "a"]).dictionary_encode()))
    packed = tmp_path / "rows.parquet.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed) == [("schön", "a"), ("übel", "b"), ("naja", "a")]


def test_numbers_of_labels_get_the_names_of_the_dataset_and_a_missing_one_stays(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", table(CLASSES, text=TEXTS, label=[1, 0, -1]))
    assert read(path) == [("schön", "schlecht"), ("übel", "sehr gut"), ("naja", "-1")]
    assert readers.label_names(path) == ("sehr gut", "schlecht")


def test_texts_without_labels_have_minus_one(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", table(CLASSES, text=TEXTS, label=[-1, -1, -1]))
    assert read(path, labelled=False) == [(text, "") for text in TEXTS]


@pytest.mark.parametrize("kind", ["Sequence", "List"])  # of older versions, of newer ones
def test_the_tags_of_words_get_their_names(tmp_path: Path, kind: str) -> None:
    features = {"ner_tags": {"feature": {"names": ["O", "B-PER"], "_type": "ClassLabel"}, "_type": kind}}
    content = table(features, tokens=[["Öz", "lacht"], ["Ja"]], ner_tags=[[1, 0], [0]])
    assert read(parquet(tmp_path / "rows.parquet", content)) == [(["Öz", "lacht"], ["B-PER", "O"]), (["Ja"], ["O"])]


SOURCE = {"source": {"names": ["web", "print"], "_type": "ClassLabel"}}


def test_of_two_columns_with_names_those_of_the_label_count(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", table(CLASSES | SOURCE, text=TEXTS, label=[1, 0, 1], source=[0, 0, 1]))
    assert readers.label_names(path) == ("sehr gut", "schlecht")
    assert readers.label_names(path, label="source") == ("web", "print")


def test_the_names_of_another_column_are_not_the_labels(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", table(SOURCE, text=TEXTS, label=["a", "b", "a"], source=[0, 0, 1]))
    assert readers.label_names(path) == ()


@pytest.mark.parametrize(
    "kept", ["{", "null", '{"info": null}', '{"info": {"features": null}}', '{"info": {"features": {"label": null}}}']
)
def test_what_says_nothing_of_names_is_no_error(tmp_path: Path, kept: str) -> None:
    path = parquet(tmp_path / "rows.parquet", table(text=TEXTS, label=[0, 1, 0]).replace_schema_metadata({"huggingface": kept}))
    assert read(path)[1] == ("übel", "1")


def test_a_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    latin = pyarrow.array(["schön".encode("latin-1"), b"b", b"c"]).view(pyarrow.string())
    path = tmp_path / "rows.arrow"
    content = pyarrow.table({"text": latin, "label": ["a", "b", "a"]})
    with pyarrow.ipc.new_file(str(path), content.schema) as writer:
        writer.write_table(content)
    assert "UTF-8" in broken(path).rule


def test_a_time_beside_the_text_is_not_read(tmp_path: Path) -> None:
    times = pyarrow.array([1, 2, 3], pyarrow.timestamp("ns"))
    assert read(parquet(tmp_path / "rows.parquet", table(text=TEXTS, label=["a", "b", "a"], at=times)))[0] == ("schön", "a")


def test_a_name_of_two_columns_is_refused(tmp_path: Path) -> None:
    content = pyarrow.Table.from_arrays([pyarrow.array(TEXTS)] * 2 + [pyarrow.array(["a", "b", "a"])], ["text", "text", "label"])
    with pyarrow.ipc.new_file(str(tmp_path / "rows.arrow"), content.schema) as writer:
        writer.write_table(content)
    assert broken(tmp_path / "rows.arrow").breaks


@pytest.mark.parametrize("rest", ["", "-0a1b2c"])  # a hash of each file's own
def test_the_files_of_a_table_are_read_in_their_order_and_others_are_not(tmp_path: Path, rest: str) -> None:
    for number, text in enumerate(TEXTS):
        parquet(tmp_path / f"train-{number:05}-of-00003{rest and rest + text[0]}.parquet", table(text=[text], label=["a"]))
    parquet(tmp_path / "test-00000-of-00001.parquet", table(text=["nein"], label=["a"]))
    parquet(tmp_path / "train-00000-of-00001.parquet", table(text=["alt"], label=["a"]))
    (first,) = tmp_path.glob("train-00000-of-00003*")
    assert [text for text, _ in read(first)] == TEXTS


@pytest.mark.parametrize(
    ("name", "missing"),
    [("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"), ("0002.parquet", "0000.parquet")],
)
def test_a_file_of_a_table_that_is_not_there_is_refused_by_name(tmp_path: Path, name: str, missing: str) -> None:
    bad = broken(parquet(tmp_path / name, table(text=["eins"], label=["a"])))
    assert bad.found == f"{missing} is not there"
    assert bad.fix(tmp_path / name, "slipway train runs/x") == f"copy {missing} to {tmp_path}, then run: slipway train runs/x"


def test_numbered_files_of_the_hub_are_one_table(tmp_path: Path) -> None:
    for number, text in enumerate(TEXTS):
        parquet(tmp_path / f"{number:04}.parquet", table(text=[text], label=["a"]))
    parquet(tmp_path / "12345.parquet", table(text=["nein"], label=["a"]))
    assert [text for text, _ in read(tmp_path / "0000.parquet")] == TEXTS


def test_two_files_of_one_number_are_refused(tmp_path: Path) -> None:
    for rest in ("-aa", "-bb"):
        path = parquet(tmp_path / f"train-00000-of-00001{rest}.parquet", table(text=["eins"], label=["a"]))
    assert "train-00000-of-00001-aa.parquet" in broken(path).found


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"text,label\na,b\n", b"\xff\xff\xff\xff\x10"])
def test_what_is_no_whole_table_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert broken(tmp_path / name).breaks


def test_a_table_cut_short_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", table(text=TEXTS, label=["a", "b", "a"]))
    path.write_bytes(path.read_bytes()[:-20])
    assert "whole table" in broken(path).rule


def test_texts_and_labels_that_are_bytes_of_utf8_are_read(tmp_path: Path) -> None:
    content = table(text=[text.encode() for text in TEXTS], label=[b"a", b"b", b"a"], image=[b"\xff"] * 3)
    assert read(parquet(tmp_path / "rows.parquet", content)) == [("schön", "a"), ("übel", "b"), ("naja", "a")]


def test_bytes_of_another_encoding_are_refused_by_row_and_column_until_it_is_named(tmp_path: Path) -> None:
    content = table(text=[b"naja", *(text.encode("windows-1252") for text in TEXTS)], label=["a", "b", "a", "b"])
    bad = broken(parquet(tmp_path / "rows.parquet", content))
    assert (bad.line, "column text" in bad.rule, bad.options) == (2, True, ("--encoding", "windows-1252"))
    assert read(tmp_path / "rows.parquet", encoding="windows-1252")[1] == ("schön", "b")


def test_a_parquet_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.csv", table(CLASSES, text=TEXTS, label=[1, 0, 1]))
    assert read(path)[0] == ("schön", "schlecht")
    assert readers.label_names(path) == ("sehr gut", "schlecht")


def test_the_first_version_of_feather_is_read(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        pyarrow.feather.write_feather(table(text=TEXTS, label=["a", "b", "a"]), str(tmp_path / "rows.feather"), version=1)
    assert read(tmp_path / "rows.feather")[0] == ("schön", "a")


def test_numbers_are_no_texts(tmp_path: Path) -> None:
    rows = readers.read(parquet(tmp_path / "rows.parquet", table(text=[1, 2], label=["a", "b"])))
    assert [row.rule.startswith("a text is a string") for row in rows if isinstance(row, BadRow)] == [True, True]
