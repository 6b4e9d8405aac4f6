"""What labels may be, from whole files: classes by name or number, and what only looks like one.

Whatever is refused is read with the options of its own fix.
"""

from __future__ import annotations

import argparse
import shlex
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


def fixed(error: CorpusError) -> Corpus:
    """The corpus that the command of an error's fix reads."""
    parser = argparse.ArgumentParser()
    options.train_options(parser)
    words = shlex.split(error.fix.splitlines()[0])
    return settings.corpus_of(parser.parse_args(words[words.index("train") + 1 :]))


@pytest.mark.parametrize("none", ["-", "-1", "nan", "NaN", "null", "\\N", "?", ""])
def test_a_label_that_stands_for_none_is_asked_about_and_left_out_by_its_option(tmp_path: Path, none: str) -> None:
    error = refused(write(tmp_path, [*"0123" * 3, none]))
    assert repr(none) in error.found
    loaded = fixed(error)
    assert loaded.labels == ("0", "1", "2", "3")
    assert loaded.card is not None
    assert loaded.card.left_out.without_label == 3


@pytest.mark.parametrize(
    "labels", [["-1", "1"], ["-1", "1", "1", "1", "1"], ["-1", "0", "1"], ["-1.0", "0", "1.0"], ["0", "1", "-1", "2"]]
)
def test_minus_one_that_is_as_frequent_as_others_is_proposed_as_a_class(tmp_path: Path, labels: list[str]) -> None:
    error = refused(write(tmp_path, labels))
    assert "--missing-label" in error.fix
    loaded = fixed(error)
    assert loaded.labels == tuple(sorted((label.removesuffix(".0") for label in set(labels)), key=int))
    assert len(loaded.train) + len(loaded.validation) + len(loaded.test) == 40


def test_two_labels_that_stand_for_none_are_left_out_together(tmp_path: Path) -> None:
    assert fixed(refused(write(tmp_path, ["a", "b", "-", "nan"]))).labels == ("a", "b")


def test_minus_one_is_a_class_when_it_is_given_as_one(tmp_path: Path) -> None:
    assert load(write(tmp_path, ["-1", "0", "1"]), "--labels", "-1", "0", "1").labels == ("-1", "0", "1")


def test_a_tag_may_be_a_minus_sign(tmp_path: Path) -> None:
    (tmp_path / "rows.conll").write_text("".join(f"word{row} -\nRome LOC\n\n" for row in range(20)))
    assert load(tmp_path / "rows.conll").labels == ("-", "LOC")


@pytest.mark.parametrize("labels", [["0.0", "1.0"], ["0.0", "1"], ["1.00", "0"]])
def test_numbers_of_a_data_frame_are_whole_and_said_so(tmp_path: Path, labels: list[str]) -> None:
    loaded = load(write(tmp_path, labels))
    assert loaded.labels == ("0", "1")
    assert "are taken as the numbers" in loaded.warnings[0]


def test_a_whole_number_with_decimals_among_names_is_a_bad_row(tmp_path: Path) -> None:
    assert refused(write(tmp_path, ["a", "b", "c", "1.0"])).found == "'1.0'"


def test_scores_are_refused_by_what_they_are(tmp_path: Path) -> None:
    assert "regression" in refused(write(tmp_path, ["3.8", "2.25", "5.0"])).found


@pytest.mark.parametrize("labels", [["toxic|insult", "toxic", "none"], ["a;b", "b;c"], ["x, y", "y", "z"]])
def test_labels_that_are_joined_of_others_are_refused_until_each_is_given_as_a_class(tmp_path: Path, labels: list[str]) -> None:
    error = refused(write(tmp_path, labels))
    assert "multi-label" in error.expected
    assert labels[0] in error.found
    assert set(fixed(error).labels) == set(labels)


@pytest.mark.parametrize("labels", [["Sci/Tech", "World"], ["Arts, Crafts", "World"], ["a|b", "c|d"]])
def test_a_sign_inside_of_a_name_is_no_joint(tmp_path: Path, labels: list[str]) -> None:
    assert set(load(write(tmp_path, labels)).labels) == set(labels)


def test_labels_that_differ_by_case_or_space_are_refused_until_they_are_merged(tmp_path: Path) -> None:
    error = refused(
        write(tmp_path, ["Positive", "positive", "positive", "NEGATIVE", "negative", "neg  ative", "neg ative", "negative"])
    )
    assert "'Positive' 5 times, 'positive' 10 times" in error.found
    loaded = fixed(error)
    assert loaded.labels == ("neg  ative", "negative", "positive")
    assert "--merge-labels" in loaded.warnings[0]


def test_minus_one_is_proposed_as_a_class_beside_labels_that_are_none(tmp_path: Path) -> None:
    loaded = fixed(refused(write(tmp_path, ["-1", "0", "1", "nan"])))
    assert loaded.labels == ("-1", "0", "1")
    assert loaded.card is not None
    assert loaded.card.left_out.without_label == 10


def test_numbers_that_differ_by_leading_zeros_are_refused_until_they_are_merged(tmp_path: Path) -> None:
    error = refused(write(tmp_path, ["01", "1", "1", "2"]))
    assert "'01' 10 times, '1' 20 times" in error.found
    assert fixed(error).labels == ("1", "2")


def test_labels_that_differ_by_case_are_kept_apart_when_they_are_given(tmp_path: Path) -> None:
    assert load(write(tmp_path, ["us", "US"]), "--labels", "us", "US").labels == ("us", "US")


def test_merged_labels_are_called_as_they_were_given(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, ["pos", "pos", "Pos", "neg"]), "--merge-labels", "--labels", "Pos", "Neg")
    assert (loaded.labels, {label for _, label in loaded.train}) == (("Pos", "Neg"), {0, 1})


def test_a_column_that_is_different_in_every_row_is_no_label(tmp_path: Path) -> None:
    assert "40 different ones in 40 rows" in refused(write(tmp_path, [f"id {row}" for row in range(40)])).found


def test_numbers_from_one_to_n_are_the_given_labels_in_their_order_and_said_so(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, ["1", "2", "3"]), "--labels", "low", "middle", "high")
    assert dict(loaded.train)["text 0"] == 0
    assert "1 to 3" in loaded.warnings[0]


def test_numbers_from_zero_are_the_given_labels_too(tmp_path: Path) -> None:
    assert dict(load(write(tmp_path, ["1", "0"]), "--labels", "low", "high").train)["text 0"] == 1


def test_a_class_that_only_test_rows_have_is_left_out_by_the_option_of_its_refusal(tmp_path: Path) -> None:
    write(tmp_path, ["0", "4"], "train.csv")
    rows = "".join(f"test {row},{'224440000000'[row]}\n" for row in range(12))
    (tmp_path / "test.csv").write_text(f"text,label\n{rows}")
    error = refused(tmp_path)
    assert "training rows have: 0, 4" in error.expected
    assert len(fixed(error).test) == 10


def test_no_option_is_proposed_that_leaves_out_half_of_the_test_rows(tmp_path: Path) -> None:
    write(tmp_path, ["0", "1"], "train.csv")
    write(tmp_path, ["1", "2"], "test.csv").write_text((tmp_path / "test.csv").read_text().replace("text ", "test "))
    assert "--missing-label" not in refused(tmp_path).fix


@pytest.mark.parametrize("labels", [["-1"], ["-"], [""]])
def test_training_rows_without_a_label_are_refused_as_what_they_are(tmp_path: Path, labels: list[str]) -> None:
    path = write(tmp_path, labels, "my texts.csv")
    error = refused(path)
    assert error.summary == "my texts.csv has texts and no labels"
    (tmp_path / "labelled.csv").write_text("text,label\n" + "".join(f"another {row},{'ab'[row % 2]}\n" for row in range(40)))
    parser = argparse.ArgumentParser()
    options.train_options(parser)
    words = shlex.split(error.fix.replace("path/to/labelled.csv", str(tmp_path / "labelled.csv")))
    arguments = parser.parse_args(words[words.index("train") + 1 :])
    data = settings.with_unlabelled(arguments, settings.corpus_of(arguments))
    assert data.unlabelled is not None
    assert len(data.unlabelled.texts) == 40


def test_the_directory_with_training_rows_is_proposed_for_a_test_file_without_labels(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b"], "train.csv")
    assert f"--corpus {tmp_path} --unlabelled {tmp_path}/test.csv" in refused(write(tmp_path, ["-1"], "test.csv")).fix


def test_a_header_in_one_of_two_files_is_removed_where_columns_are_named_by_number(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b"], "test.csv")
    rows = [f"train {row},{'ab'[row % 2]}\n" for row in range(40)]
    (tmp_path / "train.csv").write_text("".join(rows))
    error = refused(tmp_path, "--text", "1", "--label", "2")
    subprocess.run(error.fix.partition(" && ")[0], shell=True, check=True)
    assert len(fixed(error).test) == 40
