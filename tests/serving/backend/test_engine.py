"""The served engine says which provider it runs on, or does not run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks import models
from export.graph import fused
from tests.support.command import CHECKOUT

BACKEND = CHECKOUT / "serving" / "backend"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """serving/backend/engine.py, whose neighbours are imported by their bare names."""
    monkeypatch.syspath_prepend(str(BACKEND))
    import engine

    yield engine
    sys.modules.pop("engine")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(fused.write(models.make("tiny")), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_rows_are_answered_in_their_order_whatever_their_lengths(engine: Any, model: Path) -> None:
    rows = [np.arange(1, length, dtype=np.int32) for length in (9, 3, 30, 5)]
    opened = engine.Engine(model, 1, engine.CostModel(fixed=1e-9, per_token=1.0), "CPUExecutionProvider")
    together = opened.run(rows)
    assert together.batches > 1
    for row, logits in zip(rows, together.logits, strict=True):
        np.testing.assert_allclose(logits, opened.run([row]).logits[0], atol=1e-6)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="onnxruntime-gpu is here")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_an_engine_meant_for_a_gpu_never_runs_on_the_cpu_in_silence(engine: Any, model: Path) -> None:
    with pytest.raises(RuntimeError, match="expected CUDAExecutionProvider, found CPUExecutionProvider"):
        engine.Engine(model, 1, engine.CostModel(fixed=1.0, per_token=1.0), "CUDAExecutionProvider")
