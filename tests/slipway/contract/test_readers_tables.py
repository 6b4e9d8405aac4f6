"""Tables as they are published: known headers, no header, quotes that are letters, other
delimiters. What is not known is refused with the options that read it.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from slipway.contract import readers
from slipway.contract.readers import BadRow, Row

TEXTS = [f"a longer text of its own, number {number}" for number in range(24)]


def read(tmp_path: Path, name: str, content: str, text: tuple[str, ...] = (), label: str = "") -> list[Row | BadRow]:
    (tmp_path / name).write_text(content, "utf-8")
    return list(readers.read(tmp_path / name, text, label))


def first(rows: list[Row | BadRow]) -> tuple[object, object]:
    assert all(isinstance(row, Row) for row in rows), rows
    assert isinstance(rows[0], Row)
    return rows[0].text, rows[0].label


def refused(rows: list[Row | BadRow]) -> BadRow:
    (row,) = rows
    assert isinstance(row, BadRow)
    assert row.breaks
    return row


@pytest.mark.parametrize(
    ("name", "content", "text", "label"),
    [
        ("rows.tsv", "sentence\tlabel\nfine film \t1\n", "fine film ", "1"),
        ("rows.tsv", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tone\ttwo\n", ("one", "two"), "1"),
        ("rows.tsv", "index\tquestion\tsentence\tlabel\n0\twhy?\tso\tentailment\n", ("why?", "so"), "entailment"),
        ("rows.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\ta?\tb?\t0\n", ("a?", "b?"), "0"),
        ("rows.tsv", "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\ta\tb\tneutral\tneutral\n", ("a", "b"), "neutral"),
        ("rows.csv", "premise,hypothesis,label\na,b,2\n", ("a", "b"), "2"),
        ("rows.csv", "Class Index,Title,Description\n3,Oil up,More\n", "Oil up More", "3"),
        ("rows.csv", 'v1,v2,,,\nham,"Ok, then",,,\n', "Ok, then", "ham"),
        ("rows.csv", "review,sentiment\nfine,positive\n", "fine", "positive"),
        ("rows.csv", '"Text","Label"\n"fine","A"\n', "fine", "A"),
        ("rows.csv", ",text,label\n0,fine,A\n", "fine", "A"),
    ],
)
def test_the_columns_of_a_published_header_are_known(tmp_path: Path, name: str, content: str, text: object, label: str) -> None:
    assert first(read(tmp_path, name, content)) == (text, label)


@pytest.mark.parametrize(
    ("name", "content", "text", "label"),
    [
        ("rows.csv", '"2","Great toy","They love it"\n"1","Bad","Broke"\n', "Great toy They love it", "2"),
        ("rows.csv", '"1","only a text"\n"2","another"\n', "only a text", "1"),
        ("rows.csv", '"7","","question","answer"\n', "question answer", "7"),
        ("rows.csv", '"0","1467810369","Mon Apr 06","NO_QUERY","user","so sad"\n', "so sad", "0"),
        ("rows.tsv", "gj04\t1\t\tThey drank the pub.\ngj04\t0\t*\tThey drank pub.\n", "They drank the pub.", "1"),
    ],
)
def test_published_files_without_a_header_are_known(tmp_path: Path, name: str, content: str, text: str, label: str) -> None:
    assert first(read(tmp_path, name, content)) == (text, label)


def test_the_number_of_a_class_is_told_from_a_label(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "rows.csv", '"2","a title","a text"\n')
    (other,) = read(tmp_path, "rows.csv", "text,label\na,2\n")
    assert isinstance(row, Row)
    assert isinstance(other, Row)
    assert (row.is_class_index, other.is_class_index) == (True, False)


def test_a_first_column_that_counts_the_rows_is_no_class(tmp_path: Path) -> None:
    content = "".join(f'{number},"{text}",{"ab"[number % 2]}\n' for number, text in enumerate(TEXTS))
    row = refused(read(tmp_path, "rows.csv", content))
    assert row.options == ("--text", "2", "--label", "3")
    assert first(read(tmp_path, "rows.csv", content, ("2",), "3")) == (TEXTS[0], "a")


def test_names_before_texts_without_a_header_are_refused_with_the_columns_numbers(tmp_path: Path) -> None:
    content = "".join(f"{('ham', 'spam')[number % 2]}\t{text}\n" for number, text in enumerate(TEXTS))
    row = refused(read(tmp_path, "rows.tsv", content))
    assert row.options == ("--text", "2", "--label", "1")
    assert first(read(tmp_path, "rows.tsv", content, ("2",), "1")) == (TEXTS[0], "ham")


def test_a_header_that_is_not_known_is_refused_with_the_columns_that_look_like_text_and_label(tmp_path: Path) -> None:
    content = "id;headline;kind\n" + "".join(f"{number};{text};{'ab'[number % 2]}\n" for number, text in enumerate(TEXTS))
    row = refused(read(tmp_path, "rows.csv", content))
    assert row.options == ("--text", "headline", "--label", "kind")
    assert first(read(tmp_path, "rows.csv", content, ("headline",), "kind")) == (TEXTS[0], "a")


@pytest.mark.parametrize(
    "content", ["sep=;\ntext;label\na, b;W\n", "text;label\na, b;W\n", "text\tlabel\na, b\tW\n", "text|label\na, b|W\n"]
)
def test_another_delimiter_is_told_by_the_header(tmp_path: Path, content: str) -> None:
    assert first(read(tmp_path, "rows.csv", content)) == ("a, b", "W")


def test_lines_are_counted_from_the_line_that_names_the_delimiter(tmp_path: Path) -> None:
    assert [row.line for row in read(tmp_path, "rows.csv", "sep=;\ntext;label\na;W\n")] == [3]


@pytest.mark.parametrize("text", ['"the film', '"the film" , he said', 'the film "'])
def test_quotes_in_a_tsv_without_quoting_are_letters(tmp_path: Path, text: str) -> None:
    rows = read(tmp_path, "rows.tsv", f'sentence\tlabel\n{text}\t1\n"a film\t0\n')
    assert first(rows) == (text, "1")


def test_a_broken_row_of_a_tsv_with_quoting_does_not_make_its_quotes_letters(tmp_path: Path) -> None:
    content = "text\tlabel\n" + "".join(f'"{text}"\t"a"\n' for text in TEXTS) + '"open\t"a"\n'
    row = refused(read(tmp_path, "rows.tsv", content))
    assert (row.line, "quote" in row.rule) == (len(TEXTS) + 2, True)


def test_several_columns_of_zero_and_one_are_several_labels_and_not_one(tmp_path: Path) -> None:
    lines = [f'{number},"{text}",{number % 2},0,{number % 3 % 2}\n' for number, text in enumerate(TEXTS)]
    row = refused(read(tmp_path, "rows.csv", "id,comment_text,toxic,threat,insult\n" + "".join(lines)))
    assert "multi-label" in row.rule
    assert "toxic, threat, insult" in row.found
    assert row.options == ("--text", "comment_text", "--label", "toxic")


def test_one_column_of_several_labels_is_read_when_it_is_named(tmp_path: Path) -> None:
    content = "id,comment_text,toxic,threat,insult\n1,some words,1,0,0\n"
    assert first(read(tmp_path, "rows.csv", content, ("comment_text",), "toxic")) == ("some words", "1")


def test_test_rows_without_labels_are_read_as_texts(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tone\ttwo\n", "utf-8")
    (row,) = readers.read(tmp_path / "test.tsv", labelled=False)
    assert isinstance(row, Row)
    assert row.text == ("one", "two")


def test_a_label_that_is_missing_is_a_bad_row_unless_it_is_expected(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,\nb,W\n", "utf-8")
    bad, _ = readers.read(tmp_path / "rows.csv")
    assert isinstance(bad, BadRow)
    assert bad.options == ("--missing-label", "")
    expected, _ = readers.read(tmp_path / "rows.csv", missing=("",))
    assert isinstance(expected, Row)


def test_the_lines_of_fasttext_are_read(tmp_path: Path) -> None:
    assert first(read(tmp_path, "train.ft.txt", "__label__2 Great CD: my lovely Pat\n__label__1 Bad\n")) == (
        "Great CD: my lovely Pat",
        "2",
    )


def test_several_labels_of_fasttext_are_refused_by_what_they_are(tmp_path: Path) -> None:
    (bad,) = read(tmp_path, "train.txt", "__label__a __label__b a text\n")
    assert isinstance(bad, BadRow)
    assert "multi-label" in bad.rule


@pytest.mark.parametrize("again", ["", "Sentence: 1"])
def test_a_table_of_words_is_read_as_sentences(tmp_path: Path, again: str) -> None:
    content = f"Sentence #,Word,POS,Tag\nSentence: 1,In,IN,O\n{again},Rome,NNP,B-geo\nSentence: 2,Yes,UH,O\n"
    rows = read(tmp_path, "rows.csv", content)
    assert [(row.line, row.text, row.label) for row in rows if isinstance(row, Row)] == [
        (2, ["In", "Rome"], ["O", "B-geo"]),
        (4, ["Yes"], ["O"]),
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_a_class_index_counts_from_zero_where_a_row_has_one(tmp_path: Path, number: int) -> None:
    content = "".join(f'{number + row % 2},"{text}"\n' for row, text in enumerate(TEXTS))
    assert {row.counts_from_zero for row in read(tmp_path, "rows.csv", content) if isinstance(row, Row)} == {number == 0}


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("{number},{name},{text}", "2"),
        ("{fold},{name},{text}", "2"),
        ("{number},2020-01-{row:02d},{text}", "1"),
        ("{number},user{row},{text}", "1"),
    ],
)
def test_what_is_no_text_behind_a_class_is_refused_until_the_columns_are_named(tmp_path: Path, line: str, label: str) -> None:
    rows = [
        line.format(number=1 + row % 2, name=("ham", "spam")[row % 2], fold=row // 8, row=row, text=f'"{text}"')
        for row, text in enumerate(TEXTS)
    ]
    content = "\n".join(rows) + "\n"
    bad = refused(read(tmp_path, "rows.csv", content))
    assert bad.options == ("--text", "3", "--label", label)
    assert first(read(tmp_path, "rows.csv", content, ("3",), label))[0] == TEXTS[0]


def test_a_header_is_no_row_of_columns_that_are_named_by_number(tmp_path: Path) -> None:
    content = "category,message\n" + "".join(f'{("ham", "spam")[row % 2]},"{text}"\n' for row, text in enumerate(TEXTS))
    bad = refused(read(tmp_path, "rows.csv", content, ("2",), "1"))
    assert bad.options == ("--text", "message", "--label", "category")
    assert first(read(tmp_path, "rows.csv", content, ("message",), "category")) == (TEXTS[0], "ham")


def test_a_header_of_few_rows_is_told_by_labels_that_come_again(tmp_path: Path) -> None:
    content = "comment,verdict\n" + "".join(f'"{text}",{("ham", "spam")[row % 2]}\n' for row, text in enumerate(TEXTS[:4]))
    bad = refused(read(tmp_path, "rows.csv", content, ("1",), "2"))
    assert bad.options == ("--text", "comment", "--label", "verdict")


def test_a_header_above_a_pair_that_is_named_by_number_is_refused_with_both_texts(tmp_path: Path) -> None:
    content = "first,second,kind\n" + "".join(f'"{text}","{text}",{"ab"[row % 2]}\n' for row, text in enumerate(TEXTS))
    bad = refused(read(tmp_path, "rows.csv", content, ("1", "2"), "3"))
    assert bad.options == ("--text", "first", "second", "--label", "kind")


def test_the_only_column_beside_known_texts_is_proposed_as_the_label(tmp_path: Path) -> None:
    content = "index\tsentence1\tsentence2\tscore\n" + "".join(f"{row}\t{text}\tb\t{row}.5\n" for row, text in enumerate(TEXTS))
    bad = refused(read(tmp_path, "rows.tsv", content))
    assert bad.options == ("--text", "sentence1", "sentence2", "--label", "score")
    assert first(read(tmp_path, "rows.tsv", content, ("sentence1", "sentence2"), "score")) == ((TEXTS[0], "b"), "0.5")


def test_labels_before_texts_in_a_txt_are_refused_with_the_command_that_parts_them(tmp_path: Path) -> None:
    content = "".join(f"{('DESC:manner', 'NUM:count')[row % 2]} {text}\n" for row, text in enumerate(TEXTS))
    bad = refused(read(tmp_path, "rows.txt", content))
    path = tmp_path / "rows.txt"
    subprocess.run(bad.remedy.format(path=shlex.quote(str(path))), shell=True, check=True)
    assert first(list(readers.read(path, ("2",), "1"))) == (TEXTS[0], "DESC:manner")


def test_a_table_of_nothing_but_an_unknown_header_is_refused(tmp_path: Path) -> None:
    assert refused(read(tmp_path, "rows.csv", "when,what,why\n")).found == "the columns when, what, why"


@pytest.mark.parametrize(("header", "text"), [("0,1", "0"), (",0,1", "0"), ("1,2", "1")])
def test_columns_that_a_data_frame_counts_are_named_by_its_header(tmp_path: Path, header: str, text: str) -> None:
    names = header.split(",")
    rows = "".join(f'{"7," * (len(names) - 2)}"{text}",{row % 2}\n' for row, text in enumerate(TEXTS))
    assert first(read(tmp_path, "rows.csv", f"{header}\n{rows}", (text,), names[-1])) == (TEXTS[0], "0")


def test_a_first_row_with_the_number_that_is_asked_for_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("".join(f'{2 - row % 2},"{text}"\n' for row, text in enumerate(TEXTS)))
    rows = list(readers.read(tmp_path / "texts.csv", ("2",), labelled=False))
    assert [row.text for row in rows if isinstance(row, Row)] == TEXTS


def test_a_label_of_the_first_row_alone_is_one_when_its_text_is_no_name(tmp_path: Path) -> None:
    content = "odd,a text of words\n" + "".join(f'{("ham", "spam")[row % 2]},"{text}"\n' for row, text in enumerate(TEXTS))
    assert first(read(tmp_path, "rows.csv", content, ("2",), "1")) == ("a text of words", "odd")


def test_a_few_quotes_that_do_not_close_are_refused_with_the_command_that_makes_letters_of_all(tmp_path: Path) -> None:
    texts = [f'"quoted" {text}' if row == 5 else f'"{text}"' for row, text in enumerate(TEXTS)]
    torn = [f'"open {text}' if row == 12 else text for row, text in enumerate(texts * 2)]
    content = "text\tlabel\r\n" + "".join(f"{text}\t{row % 2}\r\n" for row, text in enumerate(torn))
    bad = refused(read(tmp_path, "rows.tsv", content))
    path = tmp_path / "rows.tsv"
    subprocess.run(bad.remedy.format(path=shlex.quote(str(path))), shell=True, check=True)
    assert [(row.text, row.label) for row in readers.read(path) if isinstance(row, Row)] == [
        (text, str(row % 2)) for row, text in enumerate(torn)
    ]


def test_no_command_is_proposed_for_a_table_whose_fields_have_line_ends(tmp_path: Path) -> None:
    content = "text\tlabel\n" + '"a text\nof two lines"\t1\n' * 20 + '"open\t1\n'
    assert not [row for row in read(tmp_path, "rows.tsv", content) if isinstance(row, BadRow)][-1].remedy


def test_both_texts_of_a_pair_are_proposed(tmp_path: Path) -> None:
    content = "".join(f"{text}\tanother {text}\t{'ab'[row % 2]}\n" for row, text in enumerate(TEXTS))
    assert refused(read(tmp_path, "rows.tsv", content)).options == ("--text", "1", "2", "--label", "3")


def test_quotes_behind_a_backslash_are_refused_with_the_command_that_doubles_them(tmp_path: Path) -> None:
    bad = refused(read(tmp_path, "rows.csv", 'text,label\n"he said \\"yes\\", twice",a\n'))
    path = tmp_path / "rows.csv"
    subprocess.run(bad.remedy.format(path=shlex.quote(str(path))), shell=True, check=True)
    assert first(list(readers.read(path))) == ('he said "yes", twice', "a")


def test_the_label_of_texts_without_labels_may_have_any_known_name(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,labels\none,A\n")
    (bad,) = readers.read(tmp_path / "rows.csv", labelled=False)
    assert isinstance(bad, BadRow)
    assert bad.found == "'A'"
