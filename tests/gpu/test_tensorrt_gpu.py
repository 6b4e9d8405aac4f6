"""Acceptance of the TensorRT leg on a machine with TensorRT 10 or 11 and a GPU: `make test-gpu`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.graph import canonical
from export.graph.bert import Dense
from export.runtime import tensorrt as tensorrt_runtime
from export.runtime import tensorrt_profiles
from export.runtime.tensorrt_profiles import Profile
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle
from slipway.contract.parity.comparison import Precision
from slipway.contract.variants import VARIANTS
from slipway.errors import ConversionError
from tests.gpu.conftest import BATCH, PRECISIONS, TOKENS, bert, feed, judged, reference

pytestmark = pytest.mark.gpu
TOLERANCE = {"fp32": 1e-3, "fp16": 0.02}  # max |Δlogit|; logits are about 1
SHAPES = [(1,), (4,), (40,), (TOKENS,), (3, 9, 50), (5,) * BATCH, (TOKENS,) * BATCH]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_engine_answers_as_the_graph_it_was_built_from(precision: str, engines: dict[str, Path], artifacts: Path) -> None:
    with tensorrt_runtime.open_engine(engines[precision], tensorrt_runtime.fingerprint()) as engine:
        for lengths in (*SHAPES, *reversed(SHAPES)):  # there and back: every profile is left and entered again
            result, expected = engine.infer(feed(*lengths)), reference(artifacts, feed(*lengths))
            assert result.dtype == np.float32
            np.testing.assert_allclose(result, expected, atol=TOLERANCE[precision], rtol=0, err_msg=str(lengths))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_gate_passes_an_engine(precision: str, engines: dict[str, Path], golden: Bundle) -> None:
    here = tensorrt_runtime.fingerprint().facts()
    passed, result = judged(engines[precision].parent, f"tensorrt_{precision}", golden, fingerprint=here)
    assert passed, result


def test_the_gate_refuses_an_fp32_engine_labelled_fp16(engines: dict[str, Path], golden: Bundle) -> None:
    here = tensorrt_runtime.fingerprint().facts()
    passed, result = judged(engines["fp32"].parent, "tensorrt_fp16", golden, fingerprint=here)
    assert not passed
    assert "not fp16" in result


def test_the_gate_refuses_an_engine_of_other_weights(
    tensorrt: None, artifacts: Path, profiles: list[Profile], golden: Bundle
) -> None:
    head, here = bert().classifier, tensorrt_runtime.fingerprint()
    other = replace(bert(), classifier=Dense(np.roll(head.kernel, 1, axis=1), np.roll(head.bias, 1)))  # labels change places
    onnx.save(canonical.write(other), artifacts / "other.onnx")
    target = artifacts / "other" / "model.plan"
    target.parent.mkdir()
    tensorrt_runtime.build(artifacts / "other.onnx", target, profiles, tensorrt_profiles.timing_cache(artifacts, here))
    passed, result = judged(target.parent, "tensorrt_fp32", golden, fingerprint=here.facts())
    assert not passed
    assert "flip rate" in result


@pytest.mark.parametrize("precision", PRECISIONS)
def test_padding_does_not_change_an_answer(precision: str, engines: dict[str, Path]) -> None:
    with tensorrt_runtime.open_engine(engines[precision], tensorrt_runtime.fingerprint()) as engine:
        alone, padded = engine.infer(feed(4)), engine.infer(feed(4, TOKENS))
    np.testing.assert_allclose(padded[0], alone[0], atol=TOLERANCE[precision], rtol=0)


def test_an_answer_is_not_overwritten_by_the_next(engines: dict[str, Path]) -> None:
    with tensorrt_runtime.open_engine(engines["fp32"], tensorrt_runtime.fingerprint()) as engine:
        first = engine.infer(feed(4))
        kept = first.copy()
        engine.infer(feed(9))
    np.testing.assert_array_equal(first, kept)


def test_the_engine_holds_the_profiles_that_were_planned(engines: dict[str, Path], profiles: list[Profile]) -> None:
    with tensorrt_runtime.open_engine(engines["fp16"], tensorrt_runtime.fingerprint()) as engine:
        assert engine.profiles == profiles


def test_the_engine_says_where_it_runs(engines: dict[str, Path]) -> None:
    here = tensorrt_runtime.fingerprint()
    assert "not recorded" not in here.facts().values()
    assert "unknown" not in here.facts().values()
    with tensorrt_runtime.open_engine(engines["fp16"], here) as engine:
        assert engine.provider == f"TensorRT {here.tensorrt} on {here.gpu}"


def proof(engine: Path) -> Precision:
    facts = {"fingerprint": tensorrt_runtime.fingerprint().facts()}
    return tensorrt_runtime.proof(Artifact(engine.parent, VARIANTS[engine.parent.name], "not sealed", facts))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_proof_says_the_precision_it_was_built_in(precision: str, engines: dict[str, Path]) -> None:
    result = proof(engines[precision])
    assert result.weights.get(precision, 0.0) >= VARIANTS["onnx_fp16"].limits.precision_share, result


def test_an_fp32_engine_labelled_fp16_fails_the_proof(engines: dict[str, Path]) -> None:
    result = proof(engines["fp32"])
    assert result.weights.get("fp16", 0.0) < VARIANTS["onnx_fp16"].limits.precision_share, result


@pytest.mark.parametrize("field", ["tensorrt", "gpu", "compute_capability", "system", "driver"])
def test_an_engine_of_another_machine_is_refused(field: str, engines: dict[str, Path]) -> None:
    elsewhere = replace(tensorrt_runtime.fingerprint(), **{field: "other"})
    with (
        pytest.raises(ConversionError, match=rf"{field} other(.|\n)*export "),
        tensorrt_runtime.open_engine(engines["fp16"], elsewhere),
    ):
        pass


def test_a_shape_the_engine_was_not_built_for_is_refused(engines: dict[str, Path]) -> None:
    with tensorrt_runtime.open_engine(engines["fp16"], tensorrt_runtime.fingerprint()) as engine:
        with pytest.raises(ConversionError, match="not built for this shape"):
            engine.infer(feed(*[4] * (BATCH + 1)))
        assert engine.infer(feed(4)).shape[0] == 1  # and answers on


def test_a_damaged_engine_is_refused(engines: dict[str, Path]) -> None:
    damaged = engines["fp16"].with_name("damaged.plan")
    damaged.write_bytes(engines["fp16"].read_bytes()[: 1 << 12])
    with (
        pytest.raises(ConversionError, match="cannot load the engine"),
        tensorrt_runtime.open_engine(damaged, tensorrt_runtime.fingerprint()),
    ):
        pass


def test_a_second_build_takes_its_timings_from_the_cache(
    engines: dict[str, Path], artifacts: Path, profiles: list[Profile]
) -> None:
    cache = tensorrt_profiles.timing_cache(artifacts, tensorrt_runtime.fingerprint())
    source, target = artifacts / "onnx_fp16.onnx", artifacts / "again.plan"

    def seconds(timings: Path) -> float:
        started = time.monotonic()
        tensorrt_runtime.build(source, target, profiles, timings)
        return time.monotonic() - started

    assert cache.is_file()
    assert seconds(cache) < seconds(artifacts / "empty" / "new.cache")
