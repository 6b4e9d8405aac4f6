from __future__ import annotations

from pathlib import Path

import pytest

from train import corpus
from train.errors import CorpusError

GOOD = '"1","Title","Text of a row"\n'


def write(directory: Path, train: bytes, test: bytes = GOOD.encode()) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "train.csv").write_bytes(train)
    (directory / "test.csv").write_bytes(test)
    return directory


def test_rows_become_texts_with_labels_from_zero(tmp_path: Path) -> None:
    row = '"3","Oil ""soars""","prices\\rise"\n'
    found = corpus.load(write(tmp_path / "c", (GOOD + row).encode()))
    assert found.train == [("Title Text of a row", 0), ('Oil "soars" prices rise', 2)]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (b'"1","only two"\n', "3 columns"),
        (b'"1","a","b","c"\n', "3 columns"),
        (b'"0","a","b"\n', "class index is 1 to 4"),
        (b'"5","a","b"\n', "class index is 1 to 4"),
        (b'"World","a","b"\n', "class index is 1 to 4"),
        (b'"","a","b"\n', "class index is 1 to 4"),
        (b'"1",""," "\n', "hold a text"),
        (b'"1","a","b\x00"\n', "NUL"),
        (b'"1","a","b\xff"\n', "UTF-8"),
        (b'"1","a","never closed\n', "quote"),
        (b'"1","a","' + b"x" * 200_000 + b'"\n', "quote"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_rule(tmp_path: Path, bad: bytes, rule: str) -> None:
    with pytest.raises(CorpusError) as caught:
        corpus.load(write(tmp_path / "c", GOOD.encode() + bad))
    assert caught.value.where.endswith("train.csv:2")
    assert rule in caught.value.expected


def test_a_line_separator_inside_a_text_does_not_shift_line_numbers(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"train\.csv:2"):
        corpus.load(write(tmp_path / "c", '"1","a\u2028b","c"\n"9","a","b"\n'.encode()))


@pytest.mark.parametrize("names", [b"only one\n", b"a\n\nb\n", b"\xff\nb\n"])
def test_class_names_that_are_none_are_refused(tmp_path: Path, names: bytes) -> None:
    directory = write(tmp_path / "c", GOOD.encode())
    (directory / "classes.txt").write_bytes(names)
    with pytest.raises(CorpusError, match="class names"):
        corpus.load(directory)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="at least one row"):
        corpus.load(write(tmp_path / "c", b""))


def test_the_first_bad_rows_are_all_listed(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        corpus.load(write(tmp_path / "c", (GOOD + '"9","a","b"\n' + GOOD + '"7","a","b"\n').encode()))
    assert "train.csv:2" in caught.value.mend
    assert "train.csv:4" in caught.value.mend


def test_a_directory_that_was_named_but_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="named by CORPUS"):
        corpus.find(str(tmp_path / "nowhere"), tmp_path)


def test_the_environment_names_a_corpus_when_the_command_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write(tmp_path / "c", GOOD.encode())
    monkeypatch.setenv("AG_NEWS_DIR", str(directory))
    assert corpus.find("", tmp_path) == directory


def test_without_any_corpus_a_generated_one_is_made_and_said_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AG_NEWS_DIR", raising=False)
    monkeypatch.setattr(corpus, "AG_NEWS_ADDRESS", "http://127.0.0.1:9/nothing-listens-here")
    found = corpus.load(corpus.find("", tmp_path / "checkout"))
    assert found.generated
    assert "GENERATED" in capsys.readouterr().out


def test_a_sample_has_the_classes_in_equal_shares(generated: Path) -> None:
    rows = corpus.load(generated).train
    labels = [rows[row].label for row in corpus.sample(rows, 100, seed=1)]
    assert [labels.count(label) for label in range(4)] == [25, 25, 25, 25]


def test_the_same_seed_samples_the_same_rows(generated: Path) -> None:
    rows = corpus.load(generated).train
    assert corpus.sample(rows, 50, seed=3) == corpus.sample(rows, 50, seed=3)
