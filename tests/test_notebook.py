"""The notebook is executed as a reader would, on the tiny run."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import CHECKOUT


def test_the_notebook_walks_a_model_through_every_variant(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_RUN", str(finished_run))
    notebook = nbformat.read(CHECKOUT / "docs/notebooks/convert.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(CHECKOUT)}}).execute()
    printed = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    assert "canonical encoder, 2 layers" in printed
    assert "the labels are in another order" in printed
