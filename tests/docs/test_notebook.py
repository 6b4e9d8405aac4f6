"""Every notebook is executed as a reader would, on the tiny run, the tiny encoder and the generated
corpus.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.command import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "docs/notebooks").glob("*.ipynb"))
CONVERT = CHECKOUT / "docs/notebooks/convert.ipynb"  # the only one that needs a finished run


def executed(path: Path) -> str:
    """What the notebook printed."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(CHECKOUT)}}).execute()
    return "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))


@pytest.fixture
def tiny(generated: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CORPUS", str(generated))
    monkeypatch.setenv("SLIPWAY_ENCODER", str(tiny_encoder))


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path != CONVERT], ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tiny: None) -> None:
    assert executed(path)


def test_the_conversion_notebook_walks_a_model_through_every_variant(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_RUN", str(finished_run))
    printed = executed(CONVERT)
    assert "canonical encoder, 2 layers" in printed
    assert "the labels are in another order" in printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert not [cell.source for cell in cells if cell.outputs or cell.execution_count]
