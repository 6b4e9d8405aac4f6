"""Published accuracies stand beside one's own only where both are of the same test rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.contract import manifest
from train.data import ag_news


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
