"""Words with tags as they are published: comments, counted words, documents, other columns."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from slipway.contract import readers
from slipway.contract.readers import BadRow, Row

NEW_YORK = [(["New", "York", "is"], ["B", "I", "O"]), (["Yes"], ["O"])]


def read(tmp_path: Path, content: str, text: tuple[str, ...] = (), label: str = "", name: str = "rows.conll") -> list[Row | BadRow]:
    (tmp_path / name).write_text(content, "utf-8")
    return list(readers.read(tmp_path / name, text, label))


def sound(rows: list[Row | BadRow]) -> list[tuple[object, object]]:
    assert all(isinstance(row, Row) for row in rows), rows
    return [(row.text, row.label) for row in rows if isinstance(row, Row)]


def refused(rows: list[Row | BadRow]) -> BadRow:
    (row,) = rows
    assert isinstance(row, BadRow)
    assert row.breaks
    return row


@pytest.mark.parametrize(
    "content",
    [
        "# sent_id = 12\n# text = New York is\nNew\tB\nYork\tI\nis\tO\n\n# sent_id = 13\nYes\tO\n",
        "# id 4cf2a1 \tdomain=en\nNew _ _ B\nYork _ _ I\nis _ _ O\n\n# id 4cf2a2 \tdomain=en\nYes _ _ O\n",
        "#\thttp://de.wiki/1 [2010-01-01]\n1\tNew\tB\n2\tYork\tI\n3\tis\tO\n\n#\thttp://de.wiki/2\n1\tYes\tO\n",
        "# about this file\n\nNew B\nYork I\nis O\n\nYes O\n",
        "-DOCSTART- -X- -X- O\nNew NNP B-NP B\nYork NNP I-NP I\nis VB O O\n-DOCSTART- -X- -X- O\nYes UH O O\n",
        "-DOCSTART-\tO\n\nNew\tB\nYork\tI\nis\tO\n\t\nYes\tO\n",
        "New  NN  B\nYork NN  I \nis  VB  O\n  \nYes  UH  O",
        "0\tNew\tB\n1\tYork\tI\n2\tis\tO\n\n0\tYes\tO\n",
    ],
)
def test_what_lies_around_the_words_is_left_out(tmp_path: Path, content: str) -> None:
    assert sound(read(tmp_path, content)) == NEW_YORK


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("1\ta\tO\n2\tb\tB\n\n2\tc\tO\n3\td\tO\n\n1\te\tO\n2\tf\tB\n", 4),
        ("1\ta\tO\n2\tb\tB\n1\tc\tO\n2\td\tO\n\n1\te\tO\n2\tf\tB\n", 3),
        ("1\ta\tO\n2\tb\tB\n\n1\te\tO\n2\tf\tB\n\n1\tc\tO\n3\td\tO\n", 8),
    ],
)
def test_a_sentence_whose_words_are_counted_wrongly_is_a_bad_row(tmp_path: Path, content: str, line: int) -> None:
    rows = read(tmp_path, content)
    assert [row.line for row in rows if isinstance(row, BadRow)] == [line]
    assert {word for row in rows if isinstance(row, Row) for word in row.text} <= {*"abcdef"}


def test_numbers_of_words_may_run_through_the_file(tmp_path: Path) -> None:
    assert sound(read(tmp_path, "1\ta\tO\n2\tb\tB\n\n3\tc\tO\n4\td\tO\n")) == [(["a", "b"], ["O", "B"]), (["c", "d"], ["O", "O"])]


@pytest.mark.parametrize("word", ["#", "#nlp", "#1"])
def test_a_number_sign_with_a_tag_is_a_word(tmp_path: Path, word: str) -> None:
    assert sound(read(tmp_path, f"{word} O\nRome B\n")) == [([word, "Rome"], ["O", "B"])]


def test_a_number_sign_that_lost_its_tag_is_no_comment(tmp_path: Path) -> None:
    (bad,) = read(tmp_path, "#nlp\nRome B\nis O\n")
    assert isinstance(bad, BadRow)
    assert "#nlp" in bad.found


def test_a_no_break_space_is_a_letter_of_its_word(tmp_path: Path) -> None:
    assert sound(read(tmp_path, "10\u00a0000 CD O\nRome NNP B\n")) == [(["10\u00a0000", "Rome"], ["O", "B"])]


def test_nested_names_are_refused_until_one_column_is_named(tmp_path: Path) -> None:
    content = "1\tBank\tB-ORG\tO\n2\tof\tI-ORG\tO\n3\tRome\tI-ORG\tB-LOC\n"
    row = refused(read(tmp_path, content))
    assert row.options == ("--label", "3")
    assert sound(read(tmp_path, content, label="4")) == [(["Bank", "of", "Rome"], ["O", "O", "B-LOC"])]


CONLLU = (
    "# sent_id = 1\n1-2\tdel\t_\t_\t_\t_\t_\t_\t_\t_\n1\tde\tde\tADP\tIN\t_\t0\troot\t_\t_\n"
    "2\tel\tel\tDET\tDT\t_\t1\tdet\t_\tEntity=X\n2.1\tno\tno\tX\tX\t_\t_\t_\t_\t_\n"
)


@pytest.mark.parametrize("name", ["rows.conll", "rows.conllu"])
def test_conllu_is_refused_by_its_name_until_a_column_is_named(tmp_path: Path, name: str) -> None:
    row = refused(read(tmp_path, CONLLU, name=name))
    assert "CoNLL-U" in row.found
    assert row.options == ("--label", "4")
    assert sound(read(tmp_path, CONLLU, label="4", name=name)) == [(["de", "el"], ["ADP", "DET"])]


def test_tags_in_the_first_column_are_refused_until_the_columns_are_named(tmp_path: Path) -> None:
    row = refused(read(tmp_path, "O\tin\nB-X\tRome\n"))
    assert row.options == ("--text", "2", "--label", "1")
    assert sound(read(tmp_path, "O\tin\nB-X\tRome\n", ("2",), "1")) == [(["in", "Rome"], ["O", "B-X"])]


@pytest.mark.parametrize(
    ("content", "words", "tags"),
    [
        ("北0\tB-LOC.NAM\n京1\tI-LOC.NAM\n\n好0\tO\n", ["北", "京"], ["B-LOC.NAM", "I-LOC.NAM"]),
        ("in\t\nRome\tB\nis\t\n", ["in", "Rome", "is"], ["O", "B", "O"]),
    ],
)
def test_places_of_characters_and_empty_tags_are_refused_with_the_command_that_makes_them_right(
    tmp_path: Path, content: str, words: list[str], tags: list[str]
) -> None:
    row = refused(read(tmp_path, content))
    path = tmp_path / "rows.conll"
    subprocess.run(
        row.remedy.format(path=shlex.quote(str(path))), shell=True, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    )
    assert sound(list(readers.read(path)))[0] == (words, tags)


@pytest.mark.parametrize("header", ["word\ttag\n\n", "Token\tNER\n", "word\tNE-type\n"])
def test_a_header_is_refused_with_the_command_that_removes_it(tmp_path: Path, header: str) -> None:
    row = refused(read(tmp_path, f"{header}New\tB-LOC\nYork\tI-LOC\n\nYes\tO\n"))
    path = tmp_path / "rows.conll"
    subprocess.run(row.remedy.format(path=shlex.quote(str(path))), shell=True, check=True)
    assert sound(list(readers.read(path))) == [(["New", "York"], ["B-LOC", "I-LOC"]), (["Yes"], ["O"])]


def test_a_word_may_be_called_as_a_column_is(tmp_path: Path) -> None:
    assert sound(read(tmp_path, "Word\tB-MISC\nis\tO\n")) == [(["Word", "is"], ["B-MISC", "O"])]


def test_a_file_of_one_endless_sentence_is_refused(tmp_path: Path) -> None:
    assert refused(read(tmp_path, "word O\n" * 201)).found == "one sentence of 201 words"


@pytest.mark.parametrize("label", ["form", "4", "0"])
def test_a_column_that_is_not_there_is_refused(tmp_path: Path, label: str) -> None:
    assert label in refused(read(tmp_path, "Rome NNP B\n", label=label)).found


@pytest.mark.parametrize("name", ["train.tsv", "train.txt", "eng.train"])
def test_words_with_tags_are_told_from_a_table(tmp_path: Path, name: str) -> None:
    assert sound(read(tmp_path, "In\tO\nRome\tB-LOC\n\nYes\tO\n", name=name)) == [
        (["In", "Rome"], ["O", "B-LOC"]),
        (["Yes"], ["O"]),
    ]


def test_a_txt_of_plain_texts_has_no_labels(tmp_path: Path) -> None:
    assert "words with tags" in refused(read(tmp_path, "just a text\nand another\n", name="train.txt")).rule


def test_tags_before_a_last_column_of_something_else_are_refused_until_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text("In O in\nRome B-LOC rome\n\nYes O yes\n")
    (bad,) = readers.read(path)
    assert isinstance(bad, BadRow)
    assert bad.options == ("--label", "2")
    assert [row.label for row in readers.read(path, (), "2") if isinstance(row, Row)] == [["O", "B-LOC"], ["O"]]
