from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.repository import engines
from slipway import provenance
from slipway.contract import artifact
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.ragged import Ragged
from slipway.contract.variants import VARIANTS
from slipway.errors import ParityError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
SOURCE = Bundle(Path("run/bundle"), "", {})
GOLDEN = Golden([], Ragged.of([[1] * 20, [1] * 60]), np.zeros(2, np.int64), np.zeros((2, 2), np.float32))  # 40 tokens a text
HERE = {"versions": provenance.versions("onnxruntime"), "machine": provenance.machine()}


class Verdicts:
    """What the gate would have recorded of each variant."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._records: dict[str, dict[str, Any]] = {}
        monkeypatch.setattr(artifact, "verdict", lambda converted, _: self._records[converted.variant.name])

    def passed(self, name: str, fixed: float, per_token: float, on: str = CPU, **changes: Any) -> Artifact:
        cost = {"fixed": fixed, "per_token": per_token}
        self._records[name] = {"compared_on": on, "cost": cost, **HERE, **changes}
        return Artifact(Path("run/artifacts") / name, VARIANTS[name], "", {})


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> Verdicts:
    return Verdicts(monkeypatch)


def order(passed: list[Artifact]) -> list[str]:
    return [converted.variant.name for converted in engines.by_speed(passed, SOURCE, GOLDEN)]


def test_the_fastest_comes_first_by_what_the_gate_measured(verdicts: Verdicts) -> None:
    passed = [
        verdicts.passed("onnx_fp32", 0.008, 2e-4),
        verdicts.passed("ort_fp32", 0.008, 1e-4),
        verdicts.passed("ort_int8", 0.008, 3e-4),
    ]
    assert order(passed) == ["ort_fp32", "onnx_fp32", "ort_int8"]


def test_a_batch_s_fixed_cost_counts_too(verdicts: Verdicts) -> None:
    passed = [verdicts.passed("onnx_fp32", 0.08, 1e-4), verdicts.passed("ort_fp32", 0.008, 2e-4)]
    assert order(passed) == ["ort_fp32", "onnx_fp32"]


@pytest.mark.parametrize(("faster", "first"), [(1.01, "ort_fp32"), (1.03, "ort_int8")])
def test_int8_has_to_be_worth_it(verdicts: Verdicts, faster: float, first: str) -> None:
    passed = [verdicts.passed("ort_fp32", 0, 1e-4), verdicts.passed("ort_int8", 0, 1e-4 / faster)]
    assert order(passed)[0] == first


def test_what_the_embedded_server_cannot_run_is_not_chosen(verdicts: Verdicts) -> None:
    assert order([verdicts.passed("onnx_fp16", 0, 1e-6), verdicts.passed("ort_fp32", 0, 1e-4)]) == ["ort_fp32"]


def test_this_machine_is_the_one_that_gave_the_answers(verdicts: Verdicts) -> None:
    engines.refuse_other_machine(verdicts.passed("ort_fp32", 0, 1e-4), SOURCE)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"versions": {"onnxruntime": "1.4.0"}}, "onnxruntime 1.4.0"),
        ({"machine": {"cpu_flags": ["mmx"]}}, "a CPU with mmx"),
        ({"on": CUDA}, CUDA),
    ],
)
def test_answers_of_another_machine_or_processor_are_refused_with_the_command_that_compares_here(
    verdicts: Verdicts, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ParityError) as refusal:
        engines.refuse_other_machine(verdicts.passed("ort_fp32", 0, 1e-4, **changes), SOURCE)
    assert expected in refusal.value.expected
    assert refusal.value.fix.endswith("export run --compare-only")
