from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.contract.ragged import INPUTS
from slipway.encoder import bert
from slipway.errors import EncoderError
from slipway.tensorflow import hub, tf, tf_keras
from tests.support.models import foreign_models as foreign
from tests.support.models import tiny_modules
from train.model import classifier, hub_encoder
from train.model.hub_encoder import EncoderLayer

FEED = tiny_modules.feed(6, 20, seed=3)


def outputs_of(hidden: Any, inputs: Any, name: str = "pooler_transform") -> tf_keras.Model:
    pooled = tf_keras.layers.Dense(hidden.shape[-1], "tanh", name=name)(hidden[:, 0])
    return tf_keras.Model(inputs, {"pooled_output": pooled, "sequence_output": hidden, "default": pooled})


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An encoder in the structure of the official modules, with the approximate GELU, written
    without bert_encoder.
    """
    layers = tf_keras.layers
    inputs = {name: layers.Input((None,), dtype=tf.int32, name=name) for name in INPUTS}
    random = foreign.normal
    words = layers.Embedding(tiny_modules.WORDS, foreign.HIDDEN, embeddings_initializer=random(1.0), name="word_embeddings")
    types = layers.Embedding(2, foreign.HIDDEN, embeddings_initializer=random(1.0), name="type_embeddings")
    hidden = words(inputs["input_word_ids"]) + types(inputs["input_type_ids"])
    hidden += foreign.Positions(name="position_embedding")(inputs["input_word_ids"])
    hidden = layers.LayerNormalization(epsilon=1e-12, name="embeddings/layer_norm")(hidden)
    mask = inputs["input_mask"][:, tf.newaxis, :]
    for number in range(2):
        block = foreign.Block(f"transformer/layer_{number}", lambda x: tf_keras.activations.gelu(x, True))
        hidden = block(hidden, mask)
    return tiny_modules.save_module(outputs_of(hidden, inputs), tmp_path_factory.mktemp("official") / "module")


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A module with a position table and no transformer."""
    layers = tf_keras.layers
    inputs = {name: layers.Input((None,), dtype=tf.int32, name=name) for name in INPUTS}
    words = layers.Embedding(tiny_modules.WORDS, foreign.HIDDEN, name="word_embeddings")(inputs["input_word_ids"])
    hidden = words + foreign.Positions(name="position_embedding")(inputs["input_word_ids"])
    return tiny_modules.save_module(outputs_of(layers.Dense(8)(hidden), inputs), tmp_path_factory.mktemp("unknown") / "module")


def answers(handle: str) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in hub.KerasLayer(handle)(FEED).items() if name != "encoder_outputs"}


@pytest.mark.parametrize(("which", "gelu"), [("module", "exact"), ("official", "approximate")])
def test_the_rebuilt_encoder_answers_as_its_module(which: str, gelu: str, request: pytest.FixtureRequest) -> None:
    handle = request.getfixturevalue(which)
    expected = answers(handle)
    pooled, sequence = EncoderLayer(handle), EncoderLayer(handle, return_sequence=True)
    assert pooled.size is not None
    assert (pooled.size.gelu, pooled.limits) == (gelu, "")
    np.testing.assert_allclose(pooled(FEED), expected["pooled_output"], atol=1e-4)
    np.testing.assert_allclose(sequence(FEED), expected["sequence_output"], atol=1e-4)


def test_the_two_kinds_of_gelu_are_told_apart(module: str) -> None:
    values = {variable.name.removesuffix(":0"): variable.numpy() for variable in hub.KerasLayer(module).variables}
    shapes = {name: value.shape for name, value in values.items()}
    pooled = []
    for gelu in ("exact", "approximate"):
        twin = bert.build(bert.size_of(shapes, gelu))
        bert.assign(twin, values)
        pooled.append(twin(FEED)["pooled_output"].numpy())
    assert np.abs(pooled[0] - pooled[1]).max() > hub_encoder._TOLERANCE


def test_what_the_module_is_stands_beside_the_layer(module: str) -> None:
    layer = EncoderLayer(module)
    assert (layer.positions, layer.layers, layer.hidden, layer.lower_case) == (32, 2, 16, True)
    assert layer.vocabulary.read_text().startswith("word0\n")
    assert layer.size == tiny_modules.SIZE


def test_an_unrecognised_module_is_called_as_it_is(unknown: str) -> None:
    layer = EncoderLayer(unknown)
    assert layer.size is None
    assert "no mixed precision" in layer.limits
    np.testing.assert_array_equal(layer(FEED), answers(unknown)["pooled_output"])
    assert layer.trainable_variables


def test_a_bert_that_computes_something_else_is_not_rebuilt(module: str, tmp_path: Path) -> None:
    """The names and shapes of a BERT do not prove that it is one."""
    inputs = {name: tf_keras.layers.Input((None,), dtype=tf.int32, name=name) for name in INPUTS}
    inner = bert.build(tiny_modules.SIZE)
    outputs = inner(inputs)
    outputs["pooled_output"] = outputs["pooled_output"] * 2
    handle = tiny_modules.save_module(tf_keras.Model(inputs, outputs), tmp_path / "twice")
    assert EncoderLayer(handle).size is None


def trainable(layer: EncoderLayer) -> set[str]:
    """Cells, and the other parts' first names."""
    return {variable.name.split("/")[1 if variable.name.startswith("transformer") else 0] for variable in layer.trainable_variables}


EMBEDDINGS = {"word_embeddings", "position_embedding", "type_embeddings", "embeddings"}


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (-1, EMBEDDINGS | {"layer_0", "layer_1", "pooler_transform"}),
        (0, set()),
        (1, {"layer_1", "pooler_transform"}),
        (2, {"layer_0", "layer_1", "pooler_transform"}),
    ],
)
def test_fine_tune_layers_says_what_is_trainable(module: str, top: int, expected: set[str]) -> None:
    assert trainable(EncoderLayer(module, fine_tune_layers=top)) == expected


def test_a_tagger_has_no_pooler_to_train(module: str) -> None:
    assert trainable(EncoderLayer(module, fine_tune_layers=1, return_sequence=True)) == {"layer_1"}


@pytest.mark.parametrize("wanted", [3, -2])
def test_more_layers_than_there_are_are_refused_with_both_numbers(module: str, wanted: int) -> None:
    with pytest.raises(EncoderError) as refused:
        EncoderLayer(module, fine_tune_layers=wanted)
    assert "to 2" in refused.value.expected
    assert str(wanted) in refused.value.found


def test_single_cells_of_an_unrecognised_module_cannot_be_trained(unknown: str) -> None:
    with pytest.raises(EncoderError, match="all or none"):
        EncoderLayer(unknown, fine_tune_layers=1)
    assert EncoderLayer(unknown, fine_tune_layers=0).trainable_variables == []


def test_another_output_size_is_refused_with_both_numbers(module: str) -> None:
    with pytest.raises(EncoderError, match=r"output_size 768\n.*16 hidden units"):
        EncoderLayer(module, output_size=768)
    assert EncoderLayer(module, output_size=16).hidden == 16


def test_debug_prints_every_trainable_variable_with_dimensions_and_counts(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    layer = EncoderLayer(module, fine_tune_layers=1, debug=True)
    *lines, total = capsys.readouterr().out.splitlines()
    printed = [line.split() for line in lines]
    assert [name for name, *_ in printed] == [variable.name.removesuffix(":0") for variable in layer.trainable_variables]
    assert ["transformer/layer_1/self_attention/query/kernel", "16×2×8", "256"] in printed
    elements = sum(int(np.prod(variable.shape)) for variable in layer.trainable_variables)
    assert sum(int(count.replace(",", "")) for *_, count in printed) == elements
    assert total == f"{len(printed)} trainable variables, {elements:,} elements"


def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="cannot be loaded"):
        EncoderLayer(str(tmp_path))


def test_a_module_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    tf.saved_model.save(bert.build(tiny_modules.SIZE), str(tmp_path))
    with pytest.raises(EncoderError, match="vocab_file"):
        EncoderLayer(str(tmp_path))


@pytest.mark.usefixtures("float32")
def test_an_encoder_built_for_bfloat16_computes_in_it_and_keeps_float32_weights(module: str) -> None:
    classifier.set_precision("bfloat16")
    layer = EncoderLayer(module)
    assert layer.size is not None
    assert layer(FEED).dtype == tf.bfloat16
    assert {variable.dtype for variable in layer.trainable_variables} == {tf.float32}
    twin = layer.in_float32()
    assert twin is not None
    np.testing.assert_allclose(twin(FEED)["pooled_output"], answers(module)["pooled_output"], atol=1e-5)
