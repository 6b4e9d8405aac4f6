from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from slipway.contract import labelling
from slipway.contract.bundle import NOT_ASKED
from slipway.contract.labelling import are_labels, discovered, encode, look_alikes, merged, normalised, numbers
from slipway.contract.readers import BadRow, Row
from slipway.contract.tokenizer import Tokenizer
from slipway.errors import CorpusError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rome", "play", "##ing", "##s"]


@pytest.fixture
def tokenize(tmp_path: Path) -> Tokenizer:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return Tokenizer(tmp_path / "vocab.txt", lower_case=True, max_seq_len=6)


def test_a_single_text_is_one_row_with_its_label(tokenize: Tokenizer) -> None:
    encoded = encode([("Rome", 1), ("playing", 0)], "single_text", tokenize)
    assert [encoded.rows[row].tolist() for row in range(2)] == [[2, 4, 3], [2, 5, 6, 3]]
    assert encoded.labels.tolist() == [1, 0]


@pytest.mark.parametrize("pair", [("rome", "plays"), ["rome", "plays"]])
def test_the_second_text_of_a_pair_has_type_one(tokenize: Tokenizer, pair: object) -> None:
    encoded = encode([(pair, 1)], "text_pair", tokenize)
    assert encoded.rows.ids.tolist() == [2, 4, 3, 5, 7, 3]
    assert encoded.rows.types.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_words_tag_is_asked_at_its_first_piece_only(tokenize: Tokenizer) -> None:
    encoded = encode([(["Rome", "playing"], [2, 1])], "tagging", tokenize)
    assert encoded.rows.ids.tolist() == [2, 4, 5, 6, 3]
    assert encoded.labels.tolist() == [NOT_ASKED, 2, 1, NOT_ASKED, NOT_ASKED]


def test_the_same_word_twice_is_asked_twice(tokenize: Tokenizer) -> None:
    assert encode([(["rome", "rome"], [1, 0])], "tagging", tokenize).labels.tolist() == [NOT_ASKED, 1, 0, NOT_ASKED]


def test_tags_of_words_that_were_cut_are_not_asked(tokenize: Tokenizer) -> None:
    encoded = encode([(["rome"] * 9, list(range(9)))], "tagging", tokenize)
    assert encoded.labels.tolist() == [NOT_ASKED, 0, 1, 2, 3, NOT_ASKED]


@pytest.mark.parametrize("task", ["single_text", "text_pair", "tagging"])
def test_no_examples_give_no_rows(tokenize: Tokenizer, task: str) -> None:
    encoded = encode([], task, tokenize)
    assert (len(encoded.rows), len(encoded.labels)) == (0, 0)


def test_labels_are_sorted_as_names_or_as_numbers() -> None:
    assert discovered(["b", "10", "a", "b"]) == ("10", "a", "b")
    assert discovered(["10", "9", "-1", "9"]) == ("-1", "9", "10")


@pytest.mark.parametrize(
    ("names", "written", "is_class_index", "number"),
    [
        (["neg", "pos"], "1.0", False, 1),
        (["neg", "pos"], "1", True, 0),
        (["neg", "pos"], "2", True, 1),
        (["1", "2"], "1", True, 0),
        (["0.0", "1.0"], "1.0", False, 1),
    ],
)
def test_a_number_is_the_label_that_it_stands_for(names: list[str], written: str, is_class_index: bool, number: int) -> None:
    row = Row(1, "a", written, is_class_index=is_class_index)
    assert labelling.numbered(row, numbers(names), "a rule") == number


def test_a_class_index_is_counted_from_zero_where_its_file_has_a_zero() -> None:
    row = Row(1, "a", "1", is_class_index=True, counts_from_zero=True)
    assert labelling.numbered(row, numbers(["neg", "pos"]), "a rule") == 1


@pytest.mark.parametrize("written", ["0", "3"])
def test_a_class_beyond_the_names_is_none(written: str) -> None:
    row = Row(1, "a", written, is_class_index=True)
    assert isinstance(labelling.numbered(row, numbers(["neg", "pos"]), "a rule"), BadRow)


def test_a_label_has_its_number_as_a_second_name_unless_names_are_numbers() -> None:
    assert numbers(["A", "B"]) == {"A": 0, "0": 0, "B": 1, "1": 1}
    assert numbers(["1", "2"]) == {"1": 0, "2": 1}


@pytest.mark.parametrize("names", [[], ["A"], ["A", "A"], ["A", ""], ["A", "B\nC"], ["A", " B"]])
def test_names_that_are_no_choice_are_no_labels(names: list[str]) -> None:
    assert not are_labels(names)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("Wor\u200bld", "World"),
        ("\ufeffWorld\u00a0", "World"),
        ("e\u200d\u0301", "\u00e9"),
        ("World", "World"),
        ("Sci/Tech \u2460", "Sci/Tech \u2460"),
    ],
)
def test_a_label_is_normalised_and_nothing_that_is_seen_is_lost(written: str, name: str) -> None:
    assert normalised(written) == name


def test_each_tag_of_a_row_is_normalised_and_its_words_are_not() -> None:
    row = Row(1, ["cafe\u0301", "x"], ["LOC\u200b", "O"])
    assert labelling.with_normal_label(row) == Row(1, ["cafe\u0301", "x"], ["LOC", "O"])


def test_a_text_is_as_it_was_when_its_label_is_normalised() -> None:
    assert labelling.with_normal_label(Row(1, " cafe\u0301", "a\u200b")) == Row(1, " cafe\u0301", "a")


def test_names_that_are_written_in_several_ways_are_listed_under_the_normal_one() -> None:
    assert merged(["caf\u00e9", "a", "cafe\u0301", "b\u200b"]) == {"caf\u00e9": ["cafe\u0301", "caf\u00e9"]}


def test_names_that_look_the_same_read_differently_with_escapes() -> None:
    assert labelling.escaped(["caf\u00e9", "cafe\u0301"]) == r"'caf\xe9', 'cafe\u0301'"


@pytest.mark.parametrize(
    ("pair", "points", "why"),
    [
        (("Sport", "\u0405\u0440\u043ert"), ("U+0053", "U+0405"), "letters of different scripts"),
        (("\u0410\u0412", "AB"), ("U+0410, U+0412", "U+0041, U+0042"), "letters of different scripts"),
        (("\u039fX", "OX"), ("U+039F", "U+004F"), "letters of different scripts"),
        (("fine", "\ufb01ne"), ("U+0066, U+0069", "U+FB01"), "compatibility form"),
        (("World", "world"), ("U+0057", "U+0077"), "only by case"),
    ],
)
def test_labels_that_look_alike_are_named_with_their_code_points(pair: tuple[str, str], points: tuple[str, str], why: str) -> None:
    sentence = look_alikes(pair)[0]
    assert all(name in sentence and point in sentence for name, point in zip(pair, points, strict=True))
    assert why in sentence


@pytest.mark.parametrize(
    ("name", "points"),
    [("Sp\u043ert", "U+043E"), ("\u0441\u043fo\u0440\u0442", "U+006F"), ("World N\u03bfrth", "U+03BF")],
)
def test_a_letter_of_another_script_inside_of_a_word_is_named(name: str, points: str) -> None:
    (sentence,) = look_alikes([name, "other"])
    assert repr(name) in sentence
    assert points in sentence


@pytest.mark.parametrize(
    "names",
    [
        ["World", "Sports", "Business", "Sci/Tech"],
        ["\u0441\u043f\u043e\u0440\u0442", "\u043c\u0438\u0440"],  # Russian alone
        ["\u03b2-blocker", "5 \u03bcm", "\u0394t"],  # Greek as science writes it
        ["B-LOC", "I-LOC", "O", "0"],
        ["K\u00f6ln", "Koln"],
        ["\u65e5\u672c", "\u4e2d\u56fd"],
    ],
)
def test_ordinary_labels_are_not_warned_about(names: list[str]) -> None:
    assert look_alikes(names) == []


def unlabelled(tmp_path: Path, content: str, name: str = "texts.txt", task: str = "single_text") -> labelling.Unlabelled:
    (tmp_path / name).write_text(content, "utf-8")
    return labelling.unlabelled(tmp_path / name, task, ["Oil up", ["one", "two"]])


def test_texts_that_come_again_or_have_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    extra = unlabelled(tmp_path, "new\nOil up\nnew\nnewer\n")
    assert (extra.texts, extra.left_out) == (["new", "newer"], 2)


def test_pairs_are_compared_with_labelled_pairs(tmp_path: Path) -> None:
    extra = unlabelled(tmp_path, "text,text_b\none,two\ntwo,one\n", "texts.csv", "text_pair")
    assert (extra.texts, extra.left_out) == ([("two", "one")], 1)


def test_the_bundle_tells_how_many_texts_there_are_and_of_which_file(tmp_path: Path) -> None:
    facts = unlabelled(tmp_path, "new\nOil up\n").facts
    assert facts.pop("sha256") == hashlib.sha256(b"new\nOil up\n").hexdigest()
    assert facts == {"where": str(tmp_path / "texts.txt"), "rows": 1, "left_out": 1}


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("texts.csv", "text,label\na,World\n", "texts.csv:2"),
        ("texts.csv", "text,text_b\na,b\n", "task, single_text"),
        ("texts.conll", "a B\n", "'.conll'"),
        ("texts.jsonl", "{", "texts.jsonl:1"),
    ],
)
def test_texts_that_cannot_be_used_are_refused_by_file_and_line(tmp_path: Path, name: str, content: str, where: str) -> None:
    with pytest.raises(CorpusError, match=where):
        unlabelled(tmp_path, content, name)
