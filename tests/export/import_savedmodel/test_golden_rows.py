from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.import_savedmodel import golden_rows
from export.import_savedmodel.golden_rows import Columns, GoldenRows
from slipway.contract.bundle import NOT_ASKED
from slipway.contract.parity.bounds import least_rows
from slipway.contract.variants import VARIANTS
from slipway.errors import ConversionError, CorpusError, UsageError

NAMES = ["World", "Sports"]


def read(tmp_path: Path, name: str, text: str) -> GoldenRows:
    (tmp_path / name).write_text(text, "utf-8")
    return golden_rows.read_golden_rows(tmp_path / name, NAMES, Columns(), "again")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", 'text,label\n"Oil, up",World\nGoal,1\n'),
        ("rows.tsv", "label\ttext\n0\tOil, up\nSports\tGoal\n"),
        ("rows.jsonl", '{"text": "Oil, up", "label": 0}\n{"text": "Goal", "label": "Sports"}\n'),
    ],
)
def test_single_texts_are_read_with_labels_by_name_or_number(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, name, text) == GoldenRows("single_text", ["Oil, up", "Goal"], [0, 1])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("my rows.csv", "text\none\ntwo\n"),
        ("my rows.csv", "text,label\none,-1\ntwo,-1\n"),
        ("my rows.txt", "one\ntwo\n"),
        ("my rows.jsonl", '{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n'),
    ],
)
def test_texts_without_labels_are_refused_with_the_option_that_compares_them(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(CorpusError, match="texts without labels") as refused:
        read(tmp_path, name, text)
    assert f"--unlabelled '{tmp_path / name}'" in refused.value.fix
    (tmp_path / "labelled.csv").write_text("text,label\na text,World\n")
    rows = golden_rows.read_golden_rows(tmp_path / "labelled.csv", NAMES, Columns(), "again")
    assert len(golden_rows.read_unlabelled(tmp_path / name, rows, Columns(), "again", "without").texts) >= 2


def test_of_a_directory_a_file_of_its_test_rows_is_proposed(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "my rows" / split).mkdir(parents=True)
        (tmp_path / "my rows" / split / "data-00000-of-00001.arrow").write_bytes(b"")
    with pytest.raises(CorpusError, match="a directory with test/data-00000") as refused:
        golden_rows.read_golden_rows(tmp_path / "my rows", NAMES, Columns(), "again")
    assert refused.value.fix == f"again --golden '{tmp_path}/my rows/test/data-00000-of-00001.arrow'"


def test_a_byte_order_mark_is_not_part_of_the_header(tmp_path: Path) -> None:
    assert read(tmp_path, "rows.csv", "\ufefftext,label\na,World\n").texts == ["a"]


def test_labels_that_are_numbers_are_names_and_not_places(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,1\nb,2\n")
    assert golden_rows.read_golden_rows(tmp_path / "rows.csv", ["1", "2"], Columns(), "again").labels == [0, 1]


@pytest.mark.parametrize("names", [["A"], ["A", "A"], ["A", ""]])
def test_labels_that_are_no_choice_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(CorpusError, match="two labels or more"):
        golden_rows.label_names(names, tmp_path / "labels.txt")


def test_labels_that_are_one_label_in_nfc_are_refused_with_escapes(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as refused:
        golden_rows.label_names(["caf\u00e9", "cafe\u0301", "tea"], tmp_path / "labels.txt")
    assert refused.value.found == r"'cafe\u0301', 'caf\xe9'"


def test_labels_are_normalised_in_their_order(tmp_path: Path) -> None:
    assert golden_rows.label_names(["Wor\u200bld\r", " Sports"], tmp_path / "labels.txt") == ["World", "Sports"]


def test_a_label_of_a_row_is_normalised_and_its_text_is_not(tmp_path: Path) -> None:
    assert read(tmp_path, "rows.csv", "text,label\ncafe\u0301,Wor\u200bld\n") == GoldenRows("single_text", ["cafe\u0301"], [0])


@pytest.mark.parametrize(
    ("name", "text"),
    [("rows.csv", "text,text_b,label\na,b,World\n"), ("rows.jsonl", '{"text": ["a", "b"], "label": "World"}\n')],
)
def test_pairs_are_read(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, name, text) == GoldenRows("text_pair", [["a", "b"]], [0])


def test_sentences_are_read_from_conll(tmp_path: Path) -> None:
    result = read(tmp_path, "rows.conll", "-DOCSTART- O\n\nIn IN World\nRome NNP Sports\n\n\nYes World\n")
    assert result == GoldenRows("tagging", [["In", "Rome"], ["Yes"]], [[0, 1], [0]])


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("rows.csv", "headline,label\na,World\n", "rows.csv:1"),
        ("rows.csv", "text,label\na,World\nb,Weather\n", "rows.csv:3"),
        ("rows.csv", "text,label\na\n", "rows.csv:2"),
        ("rows.csv", "text,label\n", "0 rows"),
        ("rows.jsonl", '{"text": "a", "label": "World"}\nno json\n', "rows.jsonl:2"),
        ("rows.jsonl", '{"text": ["a"], "label": "World"}\n', "rows.jsonl:1"),
        ("rows.jsonl", '{"text": "a", "label": 0}\n{"text": ["a", "b"], "label": 0}\n', "single_text"),
        ("rows.conll", "Rome\n", "rows.conll:1"),
        ("rows.conll", "Rome NNP City\n", "rows.conll:1"),
        ("rows.xml", "", "'.xml'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, name: str, text: str, where: str) -> None:
    with pytest.raises(CorpusError, match=where):
        read(tmp_path, name, text)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"text,label\n\xff,World\n")
    with pytest.raises(CorpusError, match="UTF-8"):
        golden_rows.read_golden_rows(tmp_path / "rows.csv", NAMES, Columns(), "again")


LEAST = min(least_rows(variant.limits) for variant in VARIANTS.values())
PLACE, AGAIN = Path("rows.csv"), "slipway import runs/x"


def rows(texts: list[object], labels: list[object], unlabelled: list[object] | None = None) -> GoldenRows:
    return GoldenRows("single_text", texts, labels, unlabelled or [])


def test_repeated_rows_count_once_and_those_without_labels_count() -> None:
    assert rows(["a", "b", "a"], [0, 1, 0], ["c", "d"]).distinct == 4
    assert GoldenRows("text_pair", [["a", "b"], ["a", "b"], ["b", "a"]], [0, 0, 1]).distinct == 2


def test_texts_without_labels_come_last_and_have_no_label() -> None:
    assert rows(["a", "b"], [0, 1], ["c"]).examples == [("a", 0), ("b", 1), ("c", NOT_ASKED)]


def test_rows_that_can_decide_nothing_are_refused_with_both_numbers() -> None:
    with pytest.raises(CorpusError, match=f"{LEAST} different rows") as refused:
        golden_rows.check_number(LEAST - 1, 10_000, PLACE, AGAIN)
    assert refused.value.found == f"{LEAST - 1} different ones in 10000 rows"


def test_as_many_rows_as_equal_answers_take_are_enough() -> None:
    golden_rows.check_number(LEAST, LEAST, PLACE, AGAIN)


@pytest.mark.parametrize(
    "of_one_class", [rows(["a", "b"], [1, 1], ["c"]), GoldenRows("tagging", [["a", "b"], ["c"]], [[1, 1], [1]])]
)
def test_rows_of_one_class_are_refused_by_its_name(of_one_class: GoldenRows) -> None:
    with pytest.raises(CorpusError, match="all of 'Sports'"):
        golden_rows.check_classes(of_one_class, NAMES, PLACE, AGAIN)


@pytest.mark.parametrize("several", [rows(["a", "b"], [0, 1]), GoldenRows("tagging", [["a", "b"]], [[0, 1]])])
def test_rows_of_two_classes_are_taken(several: GoldenRows) -> None:
    golden_rows.check_classes(several, NAMES, PLACE, AGAIN)


def test_a_tagger_refuses_texts_without_labels_and_names_the_command_without_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tagger takes no texts") as refused:
        golden_rows.read_unlabelled(tmp_path / "texts.txt", GoldenRows("tagging", [["a"]], [[0]]), Columns(), "again", AGAIN)
    assert refused.value.fix == AGAIN


def test_texts_without_labels_that_are_golden_rows_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a\nc\n")
    assert golden_rows.read_unlabelled(tmp_path / "texts.txt", rows(["a", "b"], [0, 1]), Columns(), "again", AGAIN).texts == ["c"]


def test_labels_in_another_order_are_named() -> None:
    with pytest.raises(ConversionError, match="World is answered as Sports"):
        golden_rows.check_better_than_guessing(np.array([[10, 90], [80, 20]]), NAMES, PLACE, AGAIN)


def test_a_rare_class_that_is_answered_as_another_is_no_order_of_the_labels() -> None:
    confusion = np.diag([50] * 19 + [0])
    confusion[19, 18] = confusion[18, 19] = 1  # and one row the other way
    golden_rows.check_better_than_guessing(confusion, [str(label) for label in range(20)], PLACE, AGAIN)
    confusion[18, 18] = 0
    golden_rows.check_better_than_guessing(confusion, [str(label) for label in range(20)], PLACE, AGAIN)


def test_names_that_nobody_gave_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,World\n")
    with pytest.raises(CorpusError) as refused:
        golden_rows.read_golden_rows(tmp_path / "rows.csv", ["LABEL_0", "LABEL_1"], Columns(), "again")
    assert refused.value.fix.startswith("again --labels labels.txt")


def test_answers_no_better_than_the_most_frequent_label_are_refused() -> None:
    with pytest.raises(ConversionError, match="no better than guessing"):
        golden_rows.check_better_than_guessing(np.array([[60, 0], [40, 0]]), NAMES, PLACE, AGAIN)


def test_columns_encodings_and_missing_labels_are_read_as_in_training(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("stars,body\nWorld,größer\n-,nichts\nSports,Tor\n".encode("cp1252"))
    columns = Columns(("body",), "stars", "windows-1252", ("-",))
    found = golden_rows.read_golden_rows(tmp_path / "rows.csv", NAMES, columns, "again")
    assert found == GoldenRows("single_text", ["größer", "Tor"], [0, 1])


def test_a_file_that_an_option_reads_is_refused_with_that_option(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("text,label\ngrößer,World\nTor,Sports\n".encode("cp1252"))
    with pytest.raises(CorpusError) as refused:
        golden_rows.read_golden_rows(tmp_path / "rows.csv", NAMES, Columns(), "slipway import runs/x")
    assert refused.value.fix == "slipway import runs/x --encoding windows-1252"
