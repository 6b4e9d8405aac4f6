"""Files that are not UTF-8 are refused with the option that reads them, and read with it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from slipway.contract import readers
from slipway.contract.readers import BadRow, Row

CONTENT = "text,label\nca va\u2026 caf\u00e9,A\n"


def read(path: Path, content: bytes, encoding: str = "") -> Row | BadRow:
    path.write_bytes(content)
    (row,) = readers.read(path, encoding=encoding)
    return row


@pytest.mark.parametrize("encoding", ["windows-1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_refused_with_the_option_that_reads_it(tmp_path: Path, encoding: str) -> None:
    bad = read(tmp_path / "rows.csv", CONTENT.encode(encoding))
    assert isinstance(bad, BadRow)
    assert bad.options[0] == "--encoding"
    row = read(tmp_path / "rows.csv", CONTENT.encode(encoding), bad.options[1])
    assert isinstance(row, Row)
    assert row.text == "ca va\u2026 caf\u00e9"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["一是不了人", "Это хорошее кино", "plain"])
def test_a_wide_encoding_without_a_mark_is_named_whatever_its_first_letter(tmp_path: Path, encoding: str, text: str) -> None:
    content = f'{{"text": "{text}", "label": "A"}}\n'
    (tmp_path / "rows.jsonl").write_bytes(f"\n{content}".encode(encoding))
    (bad,) = readers.read(tmp_path / "rows.jsonl")
    assert isinstance(bad, BadRow)
    assert bad.options == ("--encoding", encoding)
    (row,) = readers.read(tmp_path / "rows.jsonl", encoding=encoding)
    assert isinstance(row, Row)
    assert row.text == text


def test_a_single_nul_in_a_file_of_utf8_is_no_wide_encoding(tmp_path: Path) -> None:
    bad = read(tmp_path / "rows.csv", b"text,label\na\0b,A\n")
    assert isinstance(bad, BadRow)
    assert "no NUL" in bad.rule


def test_the_words_around_an_odd_byte_are_shown_as_they_would_read(tmp_path: Path) -> None:
    bad = read(tmp_path / "rows.csv", CONTENT.encode("windows-1252"))
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.found) == (2, "byte 0x85 at offset 16; as windows-1252 it reads 'ca va\u2026 caf\u00e9,A'")


def test_bytes_that_windows_has_no_letter_for_are_latin_1(tmp_path: Path) -> None:
    bad = read(tmp_path / "rows.csv", b"text,label\n\x81\xe9,A\n")
    assert isinstance(bad, BadRow)
    assert bad.options == ("--encoding", "latin-1")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "有之以一他人"),
        ("big5", "一是不了人我在有他"),
        ("shift_jis", "これは日本語の文章です"),
        ("euc-kr", "한국어 문장입니다"),
        ("windows-1251", "Это хорошее кино"),
    ],
)
def test_no_western_encoding_is_proposed_for_characters_of_several_bytes(tmp_path: Path, encoding: str, text: str) -> None:
    content = f"text,label\n{text},A\n".encode(encoding)
    bad = read(tmp_path / "rows.csv", content)
    assert isinstance(bad, BadRow)
    assert bad.options == ("--encoding", "NAME")
    assert f"{encoding} ('{text}" in bad.found
    row = read(tmp_path / "rows.csv", content, encoding)
    assert isinstance(row, Row)
    assert row.text == text


def test_letters_side_by_side_in_a_german_word_are_western(tmp_path: Path) -> None:
    bad = read(tmp_path / "rows.csv", "text,label\nSüße Grüße,A\n".encode("windows-1252"))
    assert isinstance(bad, BadRow)
    assert bad.options == ("--encoding", "windows-1252")


def test_a_broken_byte_in_a_file_of_utf8_is_no_other_encoding(tmp_path: Path) -> None:
    bad = read(tmp_path / "rows.csv", "text,label\ncaf\u00e9 \u00fc\u00f6\u00e4,A\n".encode() + b"\xe9,A\n")
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.options) == (3, ())


def test_a_file_of_utf8_is_read_as_that_whatever_the_others_are(tmp_path: Path) -> None:
    row = read(tmp_path / "rows.csv", CONTENT.encode(), "windows-1252")
    assert isinstance(row, Row)
    assert row.text == "ca va\u2026 caf\u00e9"


@pytest.mark.parametrize("name", ["rows.csv.gz", "ROWS.CSV.GZ"])
def test_a_gzipped_file_is_read_as_what_it_holds(tmp_path: Path, name: str) -> None:
    row = read(tmp_path / name, gzip.compress(CONTENT.encode()))
    assert isinstance(row, Row)
    assert row.label == "A"


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(CONTENT.encode(), mtime=0)[:-12]], ids=["none", "cut"])
def test_a_gzip_file_that_is_none_or_cut_is_refused(tmp_path: Path, content: bytes) -> None:
    bad = read(tmp_path / "rows.csv.gz", content)
    assert isinstance(bad, BadRow)
    assert bad.rule == "a .gz is one whole gzip file"


def test_a_gzipped_file_is_read_without_its_ending(tmp_path: Path) -> None:
    row = read(tmp_path / "rows.csv", gzip.compress(CONTENT.encode()))
    assert isinstance(row, Row)
    assert row.label == "A"


@pytest.mark.parametrize(("content", "what"), [(b"PK\x03\x04\0\0\x08\0", "a .zip"), (b"%PDF-1.7\n\xe2\xe3", "a PDF")])
def test_what_is_no_text_is_refused_by_what_it_is_and_not_as_an_encoding(tmp_path: Path, content: bytes, what: str) -> None:
    bad = read(tmp_path / "rows.csv", content)
    assert isinstance(bad, BadRow)
    assert bad.found.startswith(what)
    assert bad.options == ()
