from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command import Once
from tests.support.serving import word_runs


@pytest.fixture(scope="session")
def word_run(once: Once) -> Path:
    """A run whose model keeps its weights in a file of their own. Read only."""
    return once("words", lambda run: word_runs.build(run, external=True))


@pytest.fixture
def run_copy(word_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(word_run, tmp_path / "run"))
