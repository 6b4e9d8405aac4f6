from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from slipway.errors import CorpusError
from train.data import corpus
from train.data.corpus import Columns

HEADER = "text,label\n"
PLAIN = Columns()


def write(directory: Path, **files: str) -> Path:
    """`train="…"` becomes train.csv, `train_jsonl` train.jsonl; each split has texts of its own."""
    for name, content in files.items():
        split, _, suffix = name.partition("_")
        own = content if split == "train" else content.replace("text ", f"{split} ")
        (directory / f"{split}.{suffix or 'csv'}").write_text(own, "utf-8")
    return directory


def table(*labels: str) -> str:
    return HEADER + "".join(f"text {number},{label}\n" for number, label in enumerate(labels))


def refused(place: Path, columns: Columns = PLAIN, allowed: int = 0) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        corpus.load(place, columns, max_bad_rows=allowed)
    return caught.value


def test_labels_are_discovered_in_sorted_order(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=table("pro", "con", "pro"), test=table("con")))
    assert loaded.labels == ("con", "pro")
    assert loaded.train == [("text 0", 1), ("text 1", 0), ("text 2", 1)]


def test_labels_that_are_given_keep_their_order(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=table("pro", "con"), test=table("con")), Columns(labels=("pro", "con")))
    assert [label for _, label in loaded.train] == [0, 1]


def test_numeric_labels_are_names_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=table("10", "9", "10"), test=table("10")))
    assert (loaded.labels, loaded.train[0].label) == (("9", "10"), 1)


def test_labels_that_differ_in_what_is_not_seen_are_one_and_warned_about_with_escapes(tmp_path: Path) -> None:
    write(tmp_path, train=table("caf\u00e9", "tea", "cafe\u0301"), test=table("te\u200ba", "caf\u00e9"))
    loaded = corpus.load(tmp_path)
    assert loaded.labels == ("caf\u00e9", "tea")
    assert [label for _, label in loaded.train + loaded.test] == [0, 1, 0, 1, 0]
    accent, zero_width = loaded.warnings
    assert r"'cafe\u0301', 'caf\xe9' are one label" in accent
    assert r"'tea', 'te\u200ba' are one label" in zero_width


def test_texts_stay_as_they_are_written(tmp_path: Path) -> None:
    write(tmp_path, train="text,label\ncafe\u0301,a\u200b\nx,b\n", test=table("a", "b"))
    assert corpus.load(tmp_path).train[0] == ("cafe\u0301", 0)


def test_labels_that_look_alike_are_two_and_warned_about(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=table("AB", "\u0410B", "c"), test=table("AB", "c")))
    assert len(loaded.labels) == 3
    assert "U+0410" in loaded.warnings[0]


def test_given_labels_that_are_one_are_refused_with_escapes(tmp_path: Path) -> None:
    error = refused(write(tmp_path, train=table("a", "b")), Columns(labels=("caf\u00e9", "cafe\u0301")))
    assert error.found == r"'caf\xe9', 'cafe\u0301'"


def test_test_rows_of_one_label_are_warned_about_by_its_name(tmp_path: Path) -> None:
    assert "all of 'b'" in corpus.load(write(tmp_path, train=table("a", "b"), test=table("b", "b"))).warnings[0]


def test_an_ordinary_corpus_has_no_warnings(generated: Path) -> None:
    assert corpus.load(generated).warnings == ()


def test_two_text_columns_make_a_pair(tmp_path: Path) -> None:
    write(tmp_path, train_tsv="q\ta\ts\none\ttwo\tyes\none\tto\tno\n", test_jsonl='{"q": "1", "a": "2", "s": "no"}\n')
    loaded = corpus.load(tmp_path, Columns(text=("q", "a"), label="s"))
    assert loaded.task == "text_pair"
    assert loaded.train[0] == (("one", "two"), 1)
    assert loaded.test == [(("1", "2"), 0)]


def test_conll_makes_a_tagger(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train_conll="In O\nRome LOC\n\nYes O\n", test_conll="No O\n"))
    assert loaded.task == "tagging"
    assert loaded.train == [(["In", "Rome"], [1, 0]), (["Yes"], [1])]


def test_one_file_is_a_corpus_and_gives_all_splits(tmp_path: Path) -> None:
    place = write(tmp_path, mine=table(*["a", "b"] * 50)) / "mine.csv"
    loaded = corpus.load(corpus.find(str(place), tmp_path, "slipway train runs/x"), validation_share=0.2, seed=1)
    assert [len(loaded.test), len(loaded.validation), len(loaded.train)] == [10, 18, 72]
    assert len({text for text, _ in loaded.train + loaded.validation + loaded.test}) == 100


def test_validation_rows_of_a_file_are_taken_and_none_are_split_off(tmp_path: Path) -> None:
    write(tmp_path, train=table(*["a", "b"] * 10), validation=table("a"), test=table("b"))
    loaded = corpus.load(tmp_path, validation_share=0.5)
    assert (len(loaded.train), loaded.validation, loaded.test) == (20, [("validation 0", 0)], [("test 0", 1)])


def test_the_sha256_changes_with_the_files_and_the_labels(tmp_path: Path) -> None:
    write(tmp_path, train=table("a", "b"), test=table("a"))
    first = corpus.load(tmp_path)
    other_labels = corpus.load(tmp_path, Columns(labels=("b", "a")))
    other_test = corpus.load(write(tmp_path, test=table("b")))
    assert len({first.sha256, other_labels.sha256, other_test.sha256}) == 3


def test_a_label_that_training_rows_lack_is_refused_by_file_line_and_value(tmp_path: Path) -> None:
    error = refused(write(tmp_path, train=table("a", "b"), test=table("a", "c")))
    assert error.where.endswith("test.csv:3")
    assert "training rows have: a, b" in error.expected
    assert error.found == "'c'"


def test_a_given_label_that_training_rows_lack_is_refused_too(tmp_path: Path) -> None:
    write(tmp_path, train=table("a", "b"), test=table("a"), validation=table("c"))
    assert refused(tmp_path, Columns(labels=("a", "b", "c"))).where.endswith("validation.csv:2")


def test_a_tag_never_seen_in_training_is_named_by_its_own_line(tmp_path: Path) -> None:
    error = refused(write(tmp_path, train_conll="In O\nRome LOC\n", test_conll="Yes O\n\nIn O\nApril DATE\n"))
    assert error.where.endswith("test.conll:4")


def test_a_training_label_that_is_not_among_the_given_ones_is_refused(tmp_path: Path) -> None:
    error = refused(write(tmp_path, train=table("a", "b", "c"), test=table("a")), Columns(labels=("a", "b")))
    assert error.where.endswith("train.csv:4")
    assert "a label out of a, b" in error.expected


@pytest.mark.parametrize(("odd", "others"), [("World", ["1", "2", "1"]), ("3", ["con", "pro", "con"])])
def test_a_name_among_numbers_is_refused_and_a_number_among_names(tmp_path: Path, odd: str, others: list[str]) -> None:
    error = refused(write(tmp_path, train=table(*others, odd)))
    assert error.where.endswith("train.csv:5")
    assert error.found == repr(odd)


def test_a_last_row_that_ends_inside_of_its_label_is_refused(tmp_path: Path) -> None:
    error = refused(write(tmp_path, train=table("World", "Sports", "World") + "text,Wor"))
    assert error.where.endswith("train.csv:5")
    assert "the last row is whole" in error.expected


def test_a_last_row_without_a_line_end_is_read_when_its_label_is_known(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=table("World", "Sports") + "text,World", test=table("World")))
    assert len(loaded.train) == 3


def test_allowed_bad_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, train=table("1", "World", "2", "") + "one column\n", test=table("1", "3"))
    loaded = corpus.load(tmp_path, max_bad_rows=4)
    assert (loaded.bad_rows, len(loaded.train), len(loaded.test)) == (4, 2, 1)


def test_one_bad_row_more_than_allowed_is_refused_with_both_numbers(tmp_path: Path) -> None:
    error = refused(write(tmp_path, train=table("1", "World", "2", "") + "one column\n", test=table("1", "3")), allowed=3)
    assert "4 of 7 rows" in error.summary
    assert "3 are allowed" in error.summary


@pytest.mark.parametrize("content", ['text,label\n"a,A\nb,B\n', "headline,label\na,A\n", "text,label\n"])
def test_what_makes_rows_unreadable_is_never_allowed(tmp_path: Path, content: str) -> None:
    assert "cannot be read" in refused(write(tmp_path, train=content), allowed=1000).summary


def test_files_of_two_tasks_are_refused_by_name(tmp_path: Path) -> None:
    error = refused(write(tmp_path, train=table("A", "B"), test_conll="a A\n"))
    assert error.found == "train.csv single_text, test.conll tagging"


def test_training_rows_of_one_label_are_refused(tmp_path: Path) -> None:
    assert "two labels or more" in refused(write(tmp_path, train=table("A", "A"), test=table("A"))).expected


def test_too_few_rows_for_test_rows_are_refused(tmp_path: Path) -> None:
    assert "no test rows" in refused(write(tmp_path, train=table("A", "B"))).summary


def test_two_training_files_are_refused_by_name(tmp_path: Path) -> None:
    assert "train.csv beside train.tsv" in refused(write(tmp_path, train=table("A"), train_tsv="")).found


@pytest.mark.parametrize("name", ["nowhere", "train.xml", "."])
def test_a_place_that_was_named_but_holds_no_corpus_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "train.xml").write_text("<xml/>")
    with pytest.raises(CorpusError, match="named by --corpus"):
        corpus.find(str(tmp_path / name), tmp_path, "slipway train runs/x")


def test_the_environment_names_a_corpus_when_the_command_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, train=table("A", "B"))
    monkeypatch.setenv("AG_NEWS_DIR", str(tmp_path))
    assert corpus.find("", tmp_path, "slipway train runs/x") == tmp_path


def test_a_packed_file_is_unpacked_before_it_is_made_right(tmp_path: Path) -> None:
    path = tmp_path / "train.conll.gz"
    sentences = "".join(f"{number}\tO\nRome\tB-LOC\n\n" for number in range(20))
    path.write_bytes(gzip.compress(f"word\ttag\n{sentences}".encode()))
    with pytest.raises(CorpusError) as caught:
        corpus.load(path, command=f"echo --corpus {path}")
    shown = subprocess.run(caught.value.fix, shell=True, check=True, capture_output=True, text=True).stdout
    assert shown == f"--corpus {path.with_suffix('')}\n"
    assert corpus.load(path.with_suffix("")).labels == ("B-LOC", "O")


def shard(directory: Path, number: int, *labels: int) -> None:
    """One of two files of a dataset whose label numbers have names."""
    names = {"label": {"names": ["warm", "kalt", "lau"], "_type": "ClassLabel"}}
    rows = pyarrow.table({"text": [f"Text {number} {row} {label}" for row, label in enumerate(labels)], "label": labels})
    kept = rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": names}})})
    pyarrow.parquet.write_table(kept, directory / f"train-{number:05}-of-00002.parquet")


def test_a_datasets_labels_have_its_names_in_its_order(tmp_path: Path) -> None:
    shard(tmp_path, 0, *[0, 1, 2] * 10)
    shard(tmp_path, 1, *[0, 1, 2] * 10)
    read = corpus.load(tmp_path)
    assert read.labels == ("warm", "kalt", "lau")
    assert all(example.text.endswith(str(example.label)) for example in read.train)
    assert corpus.load(tmp_path, Columns(labels=("lau", "kalt", "warm"))).labels == ("lau", "kalt", "warm")


def test_the_sha256_changes_with_each_file_of_a_table(tmp_path: Path) -> None:
    shard(tmp_path, 0, *[0, 1, 2] * 10)
    shard(tmp_path, 1, *[0, 1, 2] * 10)
    before = corpus.load(tmp_path).sha256
    shard(tmp_path, 1, *[0, 1, 2] * 11)
    assert corpus.load(tmp_path).sha256 != before
