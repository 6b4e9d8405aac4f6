"""Numbers of classes get their own names, however they count; what is not clear is asked."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import pytest

from slipway.errors import CorpusError
from train import options, settings
from train.data.corpus import Corpus


def write(tmp_path: Path, labels: list[str], name: str = "rows.csv") -> Path:
    """Forty rows with these labels in turn."""
    rows = "".join(f'text {row},"{labels[row % len(labels)]}"\n' for row in range(40))
    (tmp_path / name).write_text("text,label\n" + rows, "utf-8")
    return tmp_path / name


def load(place: Path, *words: str) -> Corpus:
    """The corpus as `slipway train` reads it."""
    parser = argparse.ArgumentParser()
    options.train_options(parser)
    return settings.corpus_of(parser.parse_args(["runs/x", "--corpus", str(place), *words]))


def refused(place: Path, *words: str) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        load(place, *words)
    return caught.value


def headerless(tmp_path: Path, classes: list[int], name: str = "train.csv") -> Path:
    rows = [f'"{classes[row % len(classes)]}","title {row}","{name} text {row}"\n' for row in range(40)]
    (tmp_path / name).write_text("".join(rows), "utf-8")
    return tmp_path


def test_classes_without_names_are_numbers_and_never_those_of_ag_news(tmp_path: Path) -> None:
    loaded = load(headerless(tmp_path, [1, 2]))
    assert loaded.labels == ("1", "2")
    assert "classes.txt" in loaded.warnings[0]


def test_texts_of_others_keep_their_backslashes(tmp_path: Path) -> None:
    path = headerless(tmp_path, [1, 2]) / "train.csv"
    path.write_text(path.read_text().replace("title 0", "a\\nb"))
    assert "a\\nb train.csv text 0" in {text for text, _ in load(tmp_path).train}


def test_a_classes_file_names_the_classes_from_one(tmp_path: Path) -> None:
    (headerless(tmp_path, [2, 1]) / "classes.txt").write_text("bad\ngood\n")
    loaded = load(tmp_path)
    assert loaded.labels == ("bad", "good")
    assert dict(loaded.train)["title 0 train.csv text 0"] == 1


def test_a_single_class_of_zero_is_a_bad_row_of_classes_from_one(tmp_path: Path) -> None:
    path = headerless(tmp_path, [1, 2, 1]) / "train.csv"
    rows = "".join(f'"2","title {row}","another text {row}"\n' for row in range(80))
    path.write_text(f'{path.read_text()}{rows}"0","title","odd"\n')
    error = refused(tmp_path, "--labels", "bad", "good", "better")
    assert (error.expected, error.found) == ("the class index is 1 to 3", "'0'")


@pytest.mark.parametrize("named_by", ["classes.txt", "--labels"])
def test_classes_from_zero_are_named_from_zero(tmp_path: Path, named_by: str) -> None:
    headerless(tmp_path, [1, 0])
    if named_by == "classes.txt":
        (tmp_path / "classes.txt").write_text("bad\ngood\n")
    loaded = load(tmp_path, *(["--labels", "bad", "good"] if named_by == "--labels" else []))
    assert loaded.labels == ("bad", "good")
    assert dict(loaded.train)["title 0 train.csv text 0"] == 1


@pytest.mark.parametrize("names", [(), ("--labels", "a", "b", "c")])
@pytest.mark.parametrize("without_header", ["train.csv", "test.csv"])
def test_files_that_do_not_number_their_classes_alike_are_refused(
    tmp_path: Path, names: tuple[str, ...], without_header: str
) -> None:
    headerless(tmp_path, [1, 2], without_header)
    write(tmp_path, ["0", "1", "2"], "test.csv" if without_header == "train.csv" else "train.csv")
    error = refused(tmp_path, *names)
    assert f"{without_header} has the classes 1, 2" in error.found
    assert "0, 1, 2" in error.found


def test_numbers_from_one_and_from_zero_have_the_same_names_where_it_is_clear_which_is_which(tmp_path: Path) -> None:
    (headerless(tmp_path, [1, 2]) / "classes.txt").write_text("bad\ngood\n")
    (tmp_path / "test.csv").write_text("text,label\none,0\ntwo,1\n")
    loaded = load(tmp_path)
    assert [label for _, label in loaded.test] == [0, 1]
    assert dict(loaded.train)["title 0 train.csv text 0"] == 0


def test_numbers_from_one_are_named_alike_with_a_header_and_without(tmp_path: Path) -> None:
    (headerless(tmp_path, [1, 2]) / "classes.txt").write_text("bad\ngood\n")
    (tmp_path / "test.csv").write_text("text,label\none,1\ntwo,2\n")
    assert [label for _, label in load(tmp_path).test] == [0, 1]


@pytest.mark.parametrize("columns", ["Class Index,Title,Description", ""])
def test_given_labels_name_the_classes_from_one(tmp_path: Path, columns: str) -> None:
    path = headerless(tmp_path, [2, 1]) / "train.csv"
    path.write_text(f"{columns}\n{path.read_text()}")
    assert dict(load(tmp_path, "--labels", "bad", "good").train)["title 0 train.csv text 0"] == 1


def test_names_of_classes_may_be_numbers_and_other_splits_may_have_the_names(tmp_path: Path) -> None:
    (headerless(tmp_path, [1, 2]) / "classes.txt").write_text("2019\nearlier\n")
    (tmp_path / "test.jsonl").write_text('{"text": "one", "label": "2019"}\n{"text": "two", "label": "earlier"}\n')
    assert [label for _, label in load(tmp_path).test] == [0, 1]


def corpus_of(tmp_path: Path, train: list[int], test: list[int], *names: str) -> Path:
    headerless(tmp_path, train)
    headerless(tmp_path, test, "test.csv")
    if names:
        (tmp_path / "classes.txt").write_text("\n".join(names))
    return tmp_path


@pytest.mark.parametrize(("train", "test"), [([0, 1], [1, 2]), ([1, 2], [0, 1])])
@pytest.mark.parametrize("names", [("a", "b", "c"), ()])
def test_two_files_without_a_header_that_count_differently_are_refused_until_they_count_alike(
    tmp_path: Path, train: list[int], test: list[int], names: tuple[str, ...]
) -> None:
    error = refused(corpus_of(tmp_path, train, test, *names))
    assert "train.csv has the classes" in error.found
    subprocess.run(error.fix.rpartition(" && ")[0], shell=True, check=True)
    loaded = load(tmp_path)
    assert [label for _, label in loaded.test] == [0, 1] * 20
    assert loaded.labels[:2] == (names[:2] or tuple(map(str, train)))
    assert loaded.test[0].text == "title 0 test.csv text 0"


def test_numbers_that_two_ways_of_counting_could_have_are_refused_without_a_guess(tmp_path: Path) -> None:
    assert "python3" not in refused(corpus_of(tmp_path, [1, 2], [0, 1, 2], "a", "b", "c")).fix


def test_a_test_file_without_class_0_counts_as_training_does_and_that_is_said(tmp_path: Path) -> None:
    loaded = load(corpus_of(tmp_path, [0, 1, 2], [1, 2], "a", "b", "c", "d"))
    assert {label for _, label in loaded.test} == {1, 2}
    assert "there is no class 0 in test.csv" in loaded.warnings[0]


def test_more_names_than_classes_are_said_with_the_name_of_class_1(tmp_path: Path) -> None:
    (headerless(tmp_path, [1, 2]) / "classes.txt").write_text("a\nb\nc")
    assert "1 is 'a', and no row is of 'c'" in load(tmp_path).warnings[0]


def test_places_in_the_given_labels_are_said_where_no_row_has_the_first_one(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, ["1", "2"]), "--labels", "a", "b", "c")
    assert dict(loaded.train)["text 0"] == 1
    assert "1 is 'b'" in loaded.warnings[0]


def test_more_classes_than_names_are_refused_with_both(tmp_path: Path) -> None:
    (headerless(tmp_path, [0, 1, 2]) / "classes.txt").write_text("a\nb\n")
    error = refused(tmp_path)
    assert (error.expected, error.found) == ("a name for each of the classes 0 to 2", "2 names: a, b")


def test_many_classes_count_from_zero_though_each_has_few_rows(tmp_path: Path) -> None:
    rows = [f'"{row % 200}","text {row}"\n' for row in range(400)]
    (tmp_path / "train.csv").write_text("".join(rows))
    (tmp_path / "classes.txt").write_text("\n".join(f"c{number}" for number in range(200)))
    loaded = load(tmp_path)
    assert all(str(label) == str(int(text.split()[-1]) % 200) for text, label in loaded.train)
