from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import corpora, good_data
from benchmarks.cases.answers import Answer
from benchmarks.cases.good_data import Good

MISSING = "text,label\n" + "".join(f"text {row},{'ab-'[row % 3] if row < 9 else 'ab'[row % 2]}\n" for row in range(80))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "d03-kind/rows.csv"
    path.parent.mkdir()
    path.write_text(MISSING)
    return path


def answers(corpus: Path, good: Good, monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    monkeypatch.setitem(good_data.CORPORA, "d03-kind/rows.csv", good)
    return list(corpora.answers(corpus.parents[1]))


@pytest.mark.parametrize(("rows", "good"), [(77, True), (80, False)])
def test_what_a_refusal_advises_is_done_and_judged(rows: int, good: bool, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused, fixed = answers(corpus, Good(3, ("'-' 3 times",), fixed=Good(0, (f"; {rows} rows: ",))), monkeypatch)
    assert (refused.case, refused.status, refused.good) == ("d03-kind/rows.csv", 3, True)
    assert (fixed.case, fixed.status, fixed.good) == ("d03-kind/rows.csv, as its fix says", 0, good)


def test_a_refusal_that_proposes_no_command_is_not_the_good_answer_where_one_is_expected(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.write_text("nothing that is known\n1\n")
    _, fixed = answers(corpus, Good(3, (), fixed=Good(0, ())), monkeypatch)
    assert fixed.good is False


def test_a_fix_with_an_option_that_is_not_there_is_not_the_good_answer() -> None:
    assert corpora._fixed("case", Good(0, ()), "slipway train RUN --corpus rows.csv --nothing").good is False


def test_a_fix_that_changes_the_file_leaves_the_case_as_it_is(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = "".join(f"Oslo\tB-X\nwent\t\nhome{row}\t\n\n" for row in range(40))
    corpus.unlink()
    words = corpus.with_name("words.conll")
    words.write_text(tags)
    monkeypatch.setitem(good_data.CORPORA, "d03-kind/words.conll", Good(3, (), fixed=Good(0, ("\nOslo/B-X went/O home0/O",))))
    assert [answer.good for answer in corpora.answers(corpus.parents[1])] == [True, True]
    assert words.read_text() == tags


def test_a_traceback_is_never_a_good_answer(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.settings.corpus_of", lambda _: 1 / 0)
    [answer] = answers(corpus, Good(1, ()), monkeypatch)
    assert (answer.good, answer.line) == (False, "ZeroDivisionError('division by zero')")


@pytest.mark.parametrize(("parts", "never", "matches"), [(("a → 1", "b"), "", True), (("a", "c"), "", False), (("a",), "b", False)])
def test_an_answer_has_every_part_and_not_what_must_not_be_there(parts: tuple[str, ...], never: str, matches: bool) -> None:
    assert Good(0, parts, never).matches(0, "a → 1\nb → 2") is matches
