"""Acceptance of the TF-TRT leg, on a machine with the TensorRT that its TensorFlow opens, and a
GPU: `make test-gpu`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import models
from export.runtime import tftrt
from export.runtime.tensorrt_profiles import Profile
from slipway.contract.bundle import Bundle
from slipway.contract.parity import judgement
from slipway.contract.ragged import INPUTS, Ragged, infer_rows
from slipway.contract.variants import VARIANTS
from tests.gpu.conftest import BATCH, PRECISIONS, TOKENS, feed, judged

WORDS, HIDDEN, LABELS = 100, 64, 3
pytestmark = pytest.mark.gpu
TOLERANCE = {"fp32": 1e-3, "fp16": 0.02}


@pytest.fixture(scope="module")
def source(tensorflow_tensorrt: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with the bundle's signature: embeddings, two dense layers, a mean over the text,
    a head.
    """
    import tensorflow as tf

    def weights(seed: int, *shape: int) -> Any:
        return tf.Variable(tf.random.stateless_normal(shape, (seed, 1)) / np.sqrt(shape[0]))

    model = tf.Module()
    model.words, model.first, model.second = weights(1, WORDS, HIDDEN), weights(2, HIDDEN, 256), weights(3, 256, HIDDEN)
    model.head = weights(4, HIDDEN, LABELS)

    def classify(input_word_ids: Any, input_mask: Any, input_type_ids: Any) -> dict[str, Any]:
        hidden = tf.gather(model.words, input_word_ids) + tf.cast(input_type_ids, tf.float32)[:, :, None]
        hidden = tf.matmul(tf.nn.relu(tf.matmul(hidden, model.first)), model.second)
        mask = tf.cast(input_mask, tf.float32)[:, :, None]
        return {"logits": tf.matmul(tf.reduce_sum(hidden * mask, 1) / tf.reduce_sum(mask, 1), model.head)}

    path = tmp_path_factory.mktemp("tftrt") / "source" / "saved_model"
    signature = tf.function(classify, input_signature=[tf.TensorSpec((None, None), tf.int32, name=name) for name in INPUTS])
    tf.saved_model.save(model, str(path), signatures=signature)
    return path


@pytest.fixture(scope="module")
def converted(source: Path, profiles: list[Profile]) -> dict[str, Path]:
    """Precision → the converted SavedModel."""
    result = {precision: source.parents[1] / f"tftrt_{precision}" / "saved_model" for precision in PRECISIONS}
    for precision, target in result.items():
        tftrt.build(source, target, precision, profiles)
    return result


@pytest.fixture(scope="module")
def golden(source: Path) -> Bundle:
    """Random texts of every length, with the source's answers; not those that rounding decides."""
    random = np.random.default_rng(0)
    ids = Ragged.of([random.integers(1, WORDS, length) for length in random.integers(1, TOKENS + 1, 3000)])
    with tftrt.open_saved_model(source) as session:
        ranked = np.sort(infer_rows(session.infer, ids, BATCH), axis=1)
        clear = np.flatnonzero(ranked[:, -1] - ranked[:, -2] > TOLERANCE["fp16"])
        return models.reference(session.infer, ids.take(clear), TOKENS, source.parent).bundle


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_gate_passes_a_converted_model(precision: str, converted: dict[str, Path], golden: Bundle) -> None:
    passed, result = judged(converted[precision].parent, f"tftrt_{precision}", golden)
    assert passed, result


def test_the_gate_refuses_an_fp32_model_labelled_fp16(converted: dict[str, Path], golden: Bundle) -> None:
    passed, result = judged(converted["fp32"].parent, "tftrt_fp16", golden)
    assert not passed
    assert "not fp16" in result


def test_the_gate_refuses_a_model_that_has_no_engine(source: Path, golden: Bundle) -> None:
    passed, result = judged(source.parent, "tftrt_fp32", golden)
    assert not passed
    assert result == "share of multiplications outside TensorRT"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_most_multiplications_run_in_segments_whose_engines_were_built(precision: str, converted: dict[str, Path]) -> None:
    result = tftrt.coverage(converted[precision])
    assert result.segments_without_engine == 0, result
    assert result.coverage >= judgement.LEAST_COVERAGE, result


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_proof_says_the_precision_it_was_converted_in(precision: str, converted: dict[str, Path]) -> None:
    result = tftrt.coverage(converted[precision])
    assert result.weights.get(precision, 0.0) >= VARIANTS["onnx_fp16"].limits.precision_share, result


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("lengths", [(1,), (17,), (TOKENS,), (3, 9, 30), (TOKENS,) * BATCH])
def test_a_converted_model_answers_as_its_source(
    precision: str, lengths: tuple[int, ...], source: Path, converted: dict[str, Path]
) -> None:
    with tftrt.open_saved_model(source) as plain, tftrt.open_saved_model(converted[precision]) as session:
        result, expected = session.infer(feed(*lengths)), plain.infer(feed(*lengths))
    np.testing.assert_allclose(result, expected, atol=TOLERANCE[precision], rtol=0)
