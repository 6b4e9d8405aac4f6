"""The formula against what TensorFlow's own graph computes, and against published figures."""

from __future__ import annotations

import pytest

from slipway.contract.ragged import INPUTS
from slipway.encoder import bert
from slipway.encoder.bert import Size
from slipway.tensorflow import tf, tf_keras
from train.analysis import flops

TINY = Size(vocabulary=50, positions=64, hidden=32, layers=3, heads=2, intermediate=64)
BASE = Size(vocabulary=30522, positions=512, hidden=768, layers=12, heads=12, intermediate=3072)
ROWS, TOKENS, LABELS = 2, 16, 4


def graph(fine_tune_layers: int, *, tagging: bool = False, train: bool = True) -> tf.Graph:
    """One step of a tiny classifier or tagger, of fixed shapes; variables that are not to be
    trained are not watched.
    """
    encoder = bert.build(TINY)
    head = tf_keras.layers.Dense(LABELS)
    output = "sequence_output" if tagging else "pooled_output"

    def step(ids: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            logits = head(encoder(dict.fromkeys(INPUTS, ids), training=False)[output])
            loss = tf.reduce_sum(logits**2)
        return [gradient for gradient in tape.gradient(loss, trained) if gradient is not None] if train else [logits]

    trained: list[tf.Variable] = []
    step(tf.zeros((ROWS, TOKENS), tf.int32)) if not train else head(tf.zeros((1, TINY.hidden)))
    trained = [
        variable for variable in encoder.trainable_variables if _is_trained(variable.name, fine_tune_layers)
    ] + head.variables
    return tf.function(step).get_concrete_function(tf.TensorSpec((ROWS, TOKENS), tf.int32)).graph


def _is_trained(name: str, fine_tune_layers: int) -> bool:
    if fine_tune_layers <= 0:
        return fine_tune_layers < 0
    if name.startswith("transformer/layer_"):
        return int(name.split("/")[1].removeprefix("layer_")) >= TINY.layers - fine_tune_layers
    return name.startswith("pooler")


@pytest.mark.parametrize("tagging", [False, True])
def test_a_forward_pass_costs_what_the_graph_multiplies(tagging: bool) -> None:
    expected = ROWS * flops.forward(TINY, TOKENS, LABELS, tagging=tagging)
    assert flops.counted(graph(0, tagging=tagging, train=False)) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("layers", [-1, 0, 1, 2, 3])
def test_a_training_step_costs_what_the_graph_multiplies_also_with_frozen_layers(layers: int) -> None:
    expected = ROWS * flops.training(TINY, TOKENS, LABELS, fine_tune_layers=layers)
    assert flops.counted(graph(layers)) == pytest.approx(expected, rel=0.01)


def test_tensorflows_own_counter_agrees_where_it_counts() -> None:
    """It knows MatMul and BatchMatMul, not Einsum; so on products written that way."""

    def products(x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.matmul(x, x, transpose_b=True), tf.ones((5, 8, 7))) + tf.matmul(tf.ones((8, 9)), tf.ones((9, 7)))

    graph = tf.function(products).get_concrete_function(tf.TensorSpec((5, 8, 6), tf.float32)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    profiled = tf.compat.v1.profiler.profile(graph, cmd="op", options=options).total_float_ops
    elementwise = 5 * 8 * 7
    assert flops.counted(graph) == profiled - elementwise


def test_bert_base_at_128_tokens_costs_the_published_22_5_gflop() -> None:
    """Sun et al. 2020, MobileBERT, table 4: 22.5 B."""
    assert flops.forward(BASE, 128, 2) == pytest.approx(22.5e9, rel=0.01)


def test_a_full_training_step_is_three_forward_passes() -> None:
    assert flops.training(BASE, 52, 4) == pytest.approx(3 * flops.forward(BASE, 52, 4))


def test_padding_costs_more_than_its_share_of_tokens() -> None:
    assert flops.forward(BASE, 256, 4) > 4 * flops.forward(BASE, 64, 4)
