from __future__ import annotations

from pathlib import Path

import pytest

from slipway.contract import manifest
from slipway.errors import CorpusError
from train.data import ag_news, corpus

GOOD = '"1","Title","Text of a row"\n'
HELD_OUT = '"1","Title","Text of a test row"\n'


def write(
    directory: Path, train: bytes, test: bytes = HELD_OUT.encode(), names: str = "World\nSports\nBusiness\nSci/Tech\n"
) -> Path:
    """A sample of AG News: its names tell it from other files in its form."""
    directory.mkdir(exist_ok=True)
    (directory / "train.csv").write_bytes(train)
    (directory / "test.csv").write_bytes(test)
    (directory / "classes.txt").write_text(names, "utf-8")
    return directory


def refused(directory: Path) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        corpus.load(directory)
    return caught.value


def test_rows_become_texts_with_labels_from_zero(tmp_path: Path) -> None:
    row = '"3","Oil ""soars""","prices\\rise"\n'
    loaded = corpus.load(write(tmp_path, (GOOD + row).encode()))
    assert loaded.train == [("Title Text of a row", 0), ('Oil "soars" prices rise', 2)]


@pytest.mark.parametrize(
    ("bad", "rule", "value"),
    [
        (b'"1","only two"\n', "3 columns", "2 columns"),
        (b'"1","a","b","c"\n', "3 columns", "4 columns"),
        (b'"0","a","b"\n"4","a","b"\n', "class index is 1 to 4", "'0'"),
        (b'"5","a","b"\n', "class index is 1 to 4", "'5'"),
        (b'"World","a","b"\n', "class index is 1 to 4", "'World'"),
        (b'"","a","b"\n', "a label is one line and not empty", "''"),
        (b'"2","\\","\\"\n', "a text is not empty", "''"),
        (b'"1",""," "\n', "a text is not empty", "''"),
        (b'"1","a","b\x00"\n', "NUL", "x00"),
        (b'"1","a","b\xff"\n', "UTF-8", "0xff"),
        (b'"1","a","never closed\n', "quote", "unexpected end of data"),
        (b'"1","a","closed too late\n"1","a","b"\n', "quote", "expected after"),
        (b'"1","a","' + b"x" * 200_000 + b'"\n', "131,072 characters", "200,002 characters"),
        (b'"1","cut after the title",', "last row is whole", "without a line end"),
        (b'"1","cut', "quote", "unexpected end of data"),
    ],
)
def test_a_bad_row_is_named_by_file_line_rule_and_value(tmp_path: Path, bad: bytes, rule: str, value: str) -> None:
    error = refused(write(tmp_path, GOOD.encode() + bad))
    assert error.where.endswith("train.csv:2")
    assert rule in error.expected
    assert value in error.found


def test_a_header_changes_nothing(tmp_path: Path) -> None:
    loaded = corpus.load(write(tmp_path, b"Class Index,Title,Description\n" + GOOD.encode()))
    assert (loaded.train, loaded.labels) == ([("Title Text of a row", 0)], ag_news.LABELS)


@pytest.mark.parametrize("content", [GOOD.encode("utf-16"), GOOD.encode("utf-16-le"), GOOD.encode("utf-16-be")])
def test_utf16_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    assert "UTF-16" in refused(write(tmp_path, content)).found


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n").encode(), GOOD.strip().encode()])
def test_a_byte_order_mark_crlf_and_a_missing_last_line_end_change_nothing(tmp_path: Path, content: bytes) -> None:
    assert corpus.load(write(tmp_path, content)).train == [("Title Text of a row", 0)]


def test_a_line_separator_inside_a_text_does_not_shift_line_numbers(tmp_path: Path) -> None:
    assert refused(write(tmp_path, '"1","a\u2028b","c"\n"9","a","b"\n'.encode())).where.endswith("train.csv:2")


def test_a_class_that_only_the_test_rows_have_is_refused(tmp_path: Path) -> None:
    error = refused(write(tmp_path, GOOD.encode(), HELD_OUT.encode() + b'"4","a","b"\n'))
    assert error.where.endswith("test.csv:2")
    assert "training rows have: World" in error.expected
    assert error.found == "'Sci/Tech'"


@pytest.mark.parametrize("names", [b"only one\n", b"a\n\nb\n", b"\xff\nb\n"])
def test_class_names_that_are_none_are_refused(tmp_path: Path, names: bytes) -> None:
    directory = write(tmp_path, GOOD.encode())
    (directory / "classes.txt").write_bytes(names)
    assert "class names" in str(refused(directory))


def test_class_names_are_read_from_their_file(tmp_path: Path) -> None:
    assert corpus.load(write(tmp_path, GOOD.encode(), names="News\r\nViews\r\n")).labels == ("News", "Views")


def test_the_official_files_have_the_names_without_a_file_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write(tmp_path, GOOD.encode() + b'"3","Oil\\soars","a"\n')
    (directory / "classes.txt").unlink()
    monkeypatch.setitem(ag_news.SHA256, "train.csv", manifest.sha256(directory / "train.csv"))
    loaded = corpus.load(directory)
    assert (loaded.labels, loaded.train[1].text) == (ag_news.LABELS, "Oil soars a")


def test_the_official_test_rows_are_kept_although_they_are_training_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write(tmp_path, GOOD.encode(), GOOD.encode())
    monkeypatch.setitem(ag_news.SHA256, "test.csv", manifest.sha256(directory / "test.csv"))
    loaded = corpus.load(directory)
    assert len(loaded.train) == len(loaded.test) == 1
    assert any("1 test rows are in another split" in warning for warning in loaded.warnings)


def test_no_generated_test_row_is_a_training_row(generated: Path) -> None:
    loaded = corpus.load(generated)
    assert loaded.card is not None
    assert loaded.card.leaks == {}


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "at least one row" in refused(write(tmp_path, b"")).expected


def test_the_first_bad_rows_are_all_listed(tmp_path: Path) -> None:
    error = refused(write(tmp_path, (GOOD + '"9","a","b"\n' + GOOD + '"7","a","b"\n').encode()))
    assert "train.csv:2" in error.fix
    assert "train.csv:4" in error.fix


def test_without_any_corpus_a_generated_one_is_made_and_said_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AG_NEWS_DIR", raising=False)
    monkeypatch.setattr(ag_news, "ADDRESS", "http://127.0.0.1:9/nothing-listens-here")
    loaded = corpus.load(corpus.find("", tmp_path / "checkout", "slipway train runs/x"))
    assert loaded.generated
    assert "GENERATED" in capsys.readouterr().out


def test_a_corpus_of_ones_own_is_compared_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text('"1","a","b"\n')
    assert ag_news.beside(tmp_path) is None


def test_one_file_is_compared_with_nothing(tmp_path: Path) -> None:
    assert ag_news.beside(tmp_path / "rows.csv") is None


def test_the_official_test_rows_are_compared_with_the_published_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test.csv").write_text('"1","a","b"\n')
    monkeypatch.setitem(ag_news.SHA256, "test.csv", manifest.sha256(tmp_path / "test.csv"))
    table = ag_news.beside(tmp_path)
    assert table is not None
    assert table.test_accuracy == {"BERT-base": 0.941, "BERT-large": 0.946, "XLNet": 0.955}
