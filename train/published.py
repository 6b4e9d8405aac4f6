"""Accuracies that others published for AG News, to stand beside one's own where both are of the same test rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train import ag_news, manifest

AG_NEWS = {
    "source": "README of NVAITC/bert-finetune, 'Classification Performance', the example that this training replaces",
    "trained_on": "all 120,000 training rows",
    "test_accuracy": {"BERT-base": 0.941, "BERT-large": 0.946, "XLNet": 0.955},
}


def beside(corpus: Path) -> dict[str, Any]:
    """What accuracies on the test rows of the corpus in this directory can stand beside: nothing, but for AG News' own."""
    test = corpus / "test.csv"
    return AG_NEWS if test.is_file() and manifest.sha256(test) == ag_news.SHA256["test.csv"] else {}
