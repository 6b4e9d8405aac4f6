"""The card of a corpus, and texts that are in two splits: counted, refused, removed or kept."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from slipway.errors import CorpusError
from train import finetune, options
from train.data import corpus
from train.data.card import Card
from train.data.corpus import Columns, Corpus
from train.distributed import launcher


def table(*rows: tuple[str, str]) -> str:
    return "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)


def write(tmp_path: Path, **files: str) -> Path:
    for name, content in files.items():
        (tmp_path / f"{name}.csv").write_text(content, "utf-8")
    return tmp_path


TRAIN = table(("one", "a"), ("two", "b"), ("three", "a"), ("four", "b"))


def card_of(loaded: Corpus) -> Card:
    assert loaded.card is not None
    return loaded.card


def test_rows_are_counted_by_split_and_class(tmp_path: Path) -> None:
    card = card_of(corpus.load(write(tmp_path, train=TRAIN, test=table(("five", "a"), ("six", "a"), ("seven", "b")))))
    assert {split: facts.labels for split, facts in card.splits.items()} == {
        "train": {"a": 2, "b": 2},
        "validation": {},
        "test": {"a": 2, "b": 1},
    }


def test_tags_are_counted_by_word(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("In O\nRome LOC\n\nYes O\n")
    (tmp_path / "test.conll").write_text("No O\n")
    assert card_of(corpus.load(tmp_path)).splits["train"].labels == {"LOC": 1, "O": 2}


def test_lengths_are_those_of_the_texts(tmp_path: Path) -> None:
    facts = card_of(corpus.load(write(tmp_path, train=TRAIN, test=table(("x", "a"))))).splits["train"]
    assert (facts.median_length, facts.longest) == (3, 5)


def test_what_was_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    write(tmp_path, train=TRAIN + "five,-\nonly text\n,a\n", test=table(("one", "a"), ("six", "b")))
    left_out = card_of(corpus.load(tmp_path, Columns(missing=("-",)), max_bad_rows=2, leaks="remove")).left_out
    assert left_out.bad == {"a row has 2 columns: text, label": 1, "a text is not empty": 1}
    assert (left_out.without_label, left_out.leaked) == (1, 1)


def test_a_text_with_two_labels_is_warned_about_by_its_words(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=TRAIN + "One,b\n", test=table(("x", "a"), ("y", "b"))))
    assert card_of(loaded).two_labels == 1
    assert "1 texts come with more than one label, such as 'one' → a, b" in loaded.warnings


def test_repeated_texts_are_counted_in_their_split(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=TRAIN + "one,a\none,a\n", test=table(("x", "a"), ("y", "b"))))
    assert [facts.repeated for facts in card_of(loaded).splits.values()] == [2, 0, 0]


def test_a_class_without_a_test_row_is_named(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=TRAIN + "five,c\n", test=table(("x", "a"), ("y", "b"))))
    assert card_of(loaded).without_test_rows == ("c",)
    assert "no test row has the labels c" in loaded.warnings


def test_words_that_are_not_read_are_counted(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("In O\n\u200b LOC\n\nYes O\n", "utf-8")
    (tmp_path / "test.conll").write_text("No O\n")
    assert card_of(corpus.load(tmp_path)).unread_words == 1


def test_the_first_row_shows_which_columns_were_read(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=TRAIN.replace("text,label", "review,sentiment"), test=table(("x", "a"))))
    assert any("'one' → a" in line for line in card_of(loaded).lines())


def test_only_the_largest_of_many_classes_are_printed(tmp_path: Path) -> None:
    rows = [(f"text {row}", f"c{row // 4}") for row in range(100)]
    lines = card_of(corpus.load(write(tmp_path, train=table(*rows, ("more", "c9"))))).lines()
    assert lines[2].startswith("c9 ")
    assert "and 5 more labels" in lines


def test_the_facts_are_json(tmp_path: Path) -> None:
    facts = card_of(corpus.load(write(tmp_path, train=TRAIN, test=table(("x", "a"))))).facts
    assert json.loads(json.dumps(facts))["splits"]["train"]["rows"] == 4


LEAKING = table(("ONE ", "a"), ("six", "b"))


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_text_of_training_is_refused_in_another_split_by_both_lines(tmp_path: Path, split: str) -> None:
    write(tmp_path, train=TRAIN, **{"test": table(("x", "a")), split: LEAKING})
    with pytest.raises(CorpusError) as refused:
        corpus.load(tmp_path, command="slipway train runs/x")
    assert f"1 of 2 {split} rows are training rows" in refused.value.summary
    assert refused.value.found == f"{split}.csv:2 is train.csv:2"
    assert refused.value.fix.startswith("slipway train runs/x --leaks remove")


def test_removed_leaks_stay_in_the_test_rows_and_leave_training(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=TRAIN, test=LEAKING), leaks="remove")
    assert [text for text, _ in loaded.train] == ["two", "three", "four"]
    assert [text for text, _ in loaded.test] == ["ONE ", "six"]
    assert card_of(loaded).leaks == {"test": 1}


def test_kept_leaks_are_warned_about(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, train=TRAIN, test=LEAKING), leaks="keep")
    assert len(loaded.train) == 4
    assert any("1 test rows are in another split" in warning for warning in loaded.warnings)


def test_removing_leaks_makes_another_corpus(tmp_path: Path) -> None:
    write(tmp_path, train=TRAIN, test=LEAKING)
    assert corpus.load(tmp_path, leaks="remove").sha256 != corpus.load(tmp_path, leaks="keep").sha256


def test_a_pair_leaks_when_both_texts_do(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,text_b,label\none,two,a\nthree,four,b\n")
    (tmp_path / "test.csv").write_text("text,text_b,label\none,four,a\nthree,two,b\n")
    assert card_of(corpus.load(tmp_path)).leaks == {}


def test_equal_texts_of_one_file_are_in_one_split(tmp_path: Path) -> None:
    rows = [(f"text {row % 30}", "ab"[row % 2]) for row in range(90)]
    loaded = corpus.load(write(tmp_path, train=table(*rows)), validation_share=0.2)
    texts = [{text for text, _ in split} for split in (loaded.train, loaded.validation, loaded.test)]
    assert all(texts)
    assert sum(map(len, texts)) == 30


def test_test_rows_without_labels_are_said_and_no_split(tmp_path: Path) -> None:
    rows = [(f"text {row}", "ab"[row % 2]) for row in range(40)]
    loaded = corpus.load(write(tmp_path, train=table(*rows), test="id,text\n0,secret\n"))
    assert len(loaded.test) == 4
    assert "test.csv has no labels" in loaded.warnings[0]


@pytest.mark.parametrize("label", ["-1", "-", ""])
def test_test_rows_whose_labels_are_all_secret_are_no_split_either(tmp_path: Path, label: str) -> None:
    rows = [(f"text {row}", "01"[row % 2]) for row in range(40)]
    loaded = corpus.load(write(tmp_path, train=table(*rows), test=table(("secret", label), ("too", label))))
    assert "test.csv has no labels" in loaded.warnings[0]


def test_what_was_noted_of_files_and_the_policy_for_leaks_are_facts(tmp_path: Path) -> None:
    rows = [(f"text {row}", "ab"[row % 2]) for row in range(40)]
    write(tmp_path, train=table(*rows), test="id,text\n0,secret\n")
    facts = card_of(corpus.load(tmp_path, leaks="remove")).facts
    assert facts["leak_policy"] == "remove"
    assert [note.partition(",")[0] for note in facts["notes"]] == ["test.csv has no labels"]


def test_the_card_is_in_the_record_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (write(tmp_path, train=TRAIN, test=table(("x", "a"))) / "encoder").mkdir()
    parser = argparse.ArgumentParser()
    options.train_options(parser)
    words = [tmp_path / "run", "--corpus", tmp_path, "--encoder", tmp_path / "encoder", "--validation-share", 0]
    records = []
    monkeypatch.setattr(launcher, "run", lambda *_: records.append(json.loads((tmp_path / "run/train.json").read_text())))
    with pytest.raises(FileNotFoundError):  # nothing was trained
        finetune.train(parser.parse_args([*map(str, words)]))
    assert records[0]["data_card"]["splits"]["train"]["rows"] == 4
