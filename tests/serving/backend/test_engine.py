"""The served engine is on the provider that was meant and answers as in its gate, or is refused."""

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
from slipway import provenance
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


ROW = [2, 17, 9, 3]  # ids
LIMIT = 1e-4


@pytest.fixture
def settings(engine: Any, model: Path) -> dict[str, Any]:
    """Of a version whose gate saw ROW's own logits, on this machine."""
    opened = engine.Engine(model, 1, engine.CostModel(1e-3, 1e-6), "CPUExecutionProvider")
    logits = opened.run([np.array(ROW, np.int32)]).logits
    return {
        "threads": 1,
        "cost": {"fixed": 1e-3, "per_token": 1e-6},
        "provider": "CPUExecutionProvider",
        "tolerance": LIMIT,
        "proven_on": {"onnxruntime": onnxruntime.__version__, "cpu_flags": provenance.machine()["cpu_flags"]},
        "start_up": [{"text": None, "ids": ROW, "types": [0] * len(ROW), "logits": np.asarray(logits).tolist()}],
    }


def test_a_version_that_answers_as_in_its_gate_is_ready(engine: Any, model: Path, settings: dict[str, Any]) -> None:
    settings["start_up"][0]["logits"][0][1] += LIMIT / 2
    assert engine.load(model.parent, settings).run([np.array(ROW, np.int32)]).batches == 1


def test_other_logits_than_the_gates_are_refused_with_row_difference_and_limit(
    engine: Any, model: Path, settings: dict[str, Any]
) -> None:
    settings["start_up"][0]["logits"][0][1] += 0.25
    with pytest.raises(
        RuntimeError, match=r"start-up row 0, of 4 tokens, .* \|Δlogit\| is 0\.25, the limit 0\.0001; compare again"
    ):
        engine.load(model.parent, settings)


def test_another_count_of_logits_than_the_gates_is_refused(engine: Any, model: Path, settings: dict[str, Any]) -> None:
    settings["start_up"][0]["logits"][0].append(0.0)
    with pytest.raises(RuntimeError, match=r"expected the shape \(1, \d+\), found \(1, \d+\)"):
        engine.load(model.parent, settings)


@pytest.mark.parametrize("compared", [True, False])
def test_logits_that_are_not_finite_are_refused_whatever_the_gate_saw(
    engine: Any, model: Path, settings: dict[str, Any], compared: bool
) -> None:
    graph = onnx.load(model)
    for tensor in graph.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32("nan"), tensor.name))
    onnx.save(graph, model)
    logits = settings["start_up"][0].pop("logits")
    if compared:
        settings["start_up"][0]["logits"] = np.full_like(logits, np.nan).tolist()
    with pytest.raises(RuntimeError, match="row 0, of 4 tokens, are not finite"):
        engine.load(model.parent, settings)


ELSEWHERE = {
    "another ONNX Runtime": ("onnxruntime", "1.4.0", "expected onnxruntime 1.4.0, found 1"),
    "another kind of CPU": ("cpu_flags", ["sse9"], "expected cpu_flags sse9, found "),
    "a CPU of no kind": ("cpu_flags", [], "expected cpu_flags none, found "),
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_gate_that_ran_elsewhere_proves_nothing_here(engine: Any, model: Path, settings: dict[str, Any], where: str) -> None:
    name, value, message = ELSEWHERE[where]
    settings["proven_on"][name] = value
    with pytest.raises(
        RuntimeError, match=f"the gate ran elsewhere: {message}.*slipway export RUN --compare-only, then slipway build RUN"
    ):
        engine.load(model.parent, settings)


def test_a_model_without_a_verdict_only_has_to_answer(engine: Any, model: Path, settings: dict[str, Any]) -> None:
    for name in ("proven_on", "tolerance"):
        del settings[name]
    del settings["start_up"][0]["logits"]
    assert engine.load(model.parent, settings)


def test_a_version_and_the_record_of_its_gate_name_the_same_kinds_of_cpu(engine: Any) -> None:
    assert engine._CPU_FLAGS == provenance._CPU_FLAGS
