"""Where a result came from is told of a GPU machine's packages and of a copy without .git too."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from slipway import provenance


@pytest.fixture
def onnxruntime_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which the package is installed as onnxruntime-gpu alone."""

    def version(name: str) -> str:
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(provenance, "_distributions", lambda: {"onnxruntime": ["onnxruntime-gpu"], "numpy": ["numpy"]})


@pytest.mark.usefixtures("onnxruntime_for_gpus")
def test_a_module_has_the_version_of_whatever_package_it_came_in() -> None:
    found = provenance.record("onnxruntime", "numpy", "torch")["versions"]
    del found["python"]
    assert found == {"onnxruntime-gpu": "1.2.3", "numpy": "1.2.3"}


def test_what_is_imported_here_has_its_version() -> None:
    assert provenance.versions("numpy") == {"numpy": importlib.metadata.version("numpy")}


def test_a_copy_of_the_checkout_is_told_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_COMMIT", "abc123-dirty")
    assert provenance.commit() == "abc123-dirty"


def test_a_copy_that_is_told_nothing_has_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SLIPWAY_COMMIT", raising=False)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "train" / "provenance.py"))
    assert provenance.commit() == ""
