from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.contract.ragged import INPUTS
from slipway.tensorflow import SavedClassifier, tf
from tests.support.models import tiny_modules
from train.model import classifier
from train.model.hub_encoder import EncoderLayer

pytestmark = pytest.mark.usefixtures("one_rank")
FEED = tiny_modules.feed(5, 14, seed=4)


@pytest.fixture(scope="module")
def trained(module: str, one_rank: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model after a few steps with dropout in bfloat16, and its SavedModel."""
    take = tiny_modules.step(tiny_modules.job(module, amp="bfloat16"))
    for number in range(3):
        take([tiny_modules.batch(seed=number)], 8, number)
    target = tmp_path_factory.mktemp("saved") / "model"
    classifier.save(take._model, target)
    return take._model, target


def operations(saved: SavedClassifier) -> list[Any]:
    graph = saved.signature.graph.as_graph_def()
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]


def test_the_saved_model_answers_as_the_model_without_training(module: str, tmp_path: Path) -> None:
    model = tiny_modules.build(tiny_modules.job(module))
    classifier.save(model, tmp_path)
    np.testing.assert_allclose(SavedClassifier(tmp_path).infer(FEED), model(FEED, training=False), atol=1e-6)


def test_a_model_trained_in_bfloat16_is_saved_in_float32(trained: tuple[Any, Path]) -> None:
    model, target = trained
    saved = SavedClassifier(target)
    types = {node.attr["T"].type for node in operations(saved) if "T" in node.attr}
    assert tf.bfloat16.as_datatype_enum not in types
    exact, rough = saved.infer(FEED), model(FEED, training=False).numpy()
    assert (exact.dtype, rough.dtype) == (np.float32, np.float32)
    assert 0 < np.abs(exact - rough).max() < 0.1
    assert {variable.name: variable.shape for variable in saved.variables} == {
        variable.name: variable.shape for variable in model.variables
    }


def test_the_saved_model_takes_the_signatures_inputs_and_draws_no_random_numbers(trained: tuple[Any, Path]) -> None:
    saved = SavedClassifier(trained[1])
    assert set(saved.signature.structured_input_signature[1]) == set(INPUTS)
    kinds = {node.op for node in operations(saved)}
    assert not {kind for kind in kinds if "Random" in kind or "Dropout" in kind}
    assert "Erf" in kinds  # the encoder was looked into


def test_of_the_optimizer_nothing_is_saved(trained: tuple[Any, Path]) -> None:
    names = [name for name, _ in tf.train.list_variables(str(trained[1] / "variables" / "variables"))]
    assert sum(name.startswith("model_variables/") for name in names) == len(trained[0].variables)
    assert len(names) == len(trained[0].variables) + 1  # and the graph of objects


def test_a_tagger_answers_for_every_token(module: str, tmp_path: Path) -> None:
    model = tiny_modules.build(tiny_modules.job(module, task="tagging"))
    classifier.save(model, tmp_path)
    logits = SavedClassifier(tmp_path).infer(FEED)
    assert logits.shape == (5, 14, tiny_modules.LABELS)
    np.testing.assert_allclose(logits, model(FEED, training=False), atol=1e-6)


def test_the_second_text_of_a_pair_is_told_apart(module: str) -> None:
    model = tiny_modules.build(tiny_modules.job(module, task="text_pair"))
    single = {**FEED, "input_type_ids": np.zeros_like(FEED["input_type_ids"])}
    assert np.abs(model(FEED) - model(single)).max() > 1e-3


def test_padding_does_not_change_an_answer(module: str) -> None:
    model = tiny_modules.build(tiny_modules.job(module))
    longer = {name: np.pad(value, ((0, 0), (0, 6))) for name, value in FEED.items()}
    np.testing.assert_allclose(model(longer), model(FEED), atol=1e-5)


@pytest.mark.parametrize("task", ["tagging", "single_text"])
def test_an_encoder_of_the_other_kind_of_output_is_refused(module: str, task: str) -> None:
    with pytest.raises(ValueError, match="return_sequence"):
        classifier.build(EncoderLayer(module, return_sequence=task != "tagging"), task, 4, 0.1)
