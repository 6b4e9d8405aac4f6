"""SavedModels as other libraries write them: asked by our three inputs, they give the logits that
they had before their end, or are told by what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.import_savedmodel import meta_graph, outputs, signature
from export.import_savedmodel.signature import ForeignModel, Wanted
from slipway.contract.parity.probabilities import softmax
from slipway.contract.ragged import Ragged
from slipway.errors import ConversionError, UsageError
from slipway.tensorflow import SavedClassifier, tf
from tests.support.models import small_models
from tests.support.models.small_models import LABELS, feed, logits, save

NOTHING = Wanted(None, None, None, LABELS, "slipway import runs/x")


def load(path: Path, wanted: Wanted = NOTHING) -> ForeignModel:
    key = meta_graph.signature_name(meta_graph.choose(path, wanted.again), wanted.signature, path, wanted.again)
    return signature.load(path, path, key, wanted)


def plain(tensor: Any) -> Any:
    return tensor


def test_names_and_types_of_other_libraries_are_ours(tmp_path: Path) -> None:
    path = save(tmp_path / "m", plain, names=("input_ids", "attention_mask", "segment_ids"), dtype="int64")
    np.testing.assert_allclose(load(path).infer(feed()), logits(feed()), atol=1e-5)


def test_names_that_say_nothing_are_asked_for_and_taken(tmp_path: Path) -> None:
    path = save(tmp_path / "m", plain, names=("args_0", "args_1", "args_2"))
    with pytest.raises(ConversionError, match="not a BERT") as refused:
        load(path)
    assert "--inputs ids=NAME,mask=NAME,types=NAME" in refused.value.fix
    assert "args_0, args_1, args_2" in refused.value.fix
    given = Wanted(None, "ids=args_0,mask=args_1,types=args_2", None, LABELS, "again")
    np.testing.assert_allclose(load(path, given).infer(feed()), logits(feed()), atol=1e-5)


@pytest.mark.parametrize("inputs", ["words=args_0", "ids=nothing"])
def test_inputs_that_are_not_there_are_refused(tmp_path: Path, inputs: str) -> None:
    path = save(tmp_path / "m", plain, names=("args_0", "args_1", "args_2"))
    with pytest.raises(UsageError, match="names what is not there") as refused:
        load(path, Wanted(None, inputs, None, LABELS, "again"))
    assert refused.value.found == inputs


def test_position_ids_are_made_where_a_model_takes_them(tmp_path: Path) -> None:
    path = save(tmp_path / "m", plain, positions="position_ids")
    np.testing.assert_allclose(load(path).infer(feed()), logits(feed()), atol=1e-5)


def test_a_fixed_length_is_padded_to_and_is_the_longest_text(tmp_path: Path) -> None:
    model = load(save(tmp_path / "m", plain, length=24))
    assert model.positions == 24
    np.testing.assert_allclose(model.infer(feed(tokens=7)), logits(feed(tokens=7)), atol=1e-5)
    model.save("logits", tmp_path / "saved")
    np.testing.assert_allclose(SavedClassifier(tmp_path / "saved").infer(feed(tokens=9)), logits(feed(tokens=9)), atol=1e-5)


def test_a_length_of_an_example_is_told_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="not a BERT") as refused:
        load(save(tmp_path / "m", plain, length=5))
    assert "tf.TensorSpec([None, None]" in refused.value.fix


def test_a_signature_of_another_name_is_taken_and_one_of_several_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "m", plain, key="predict")
    np.testing.assert_allclose(load(path).infer(feed()), logits(feed()), atol=1e-5)
    with pytest.raises(ConversionError) as refused:
        load(path, Wanted("classify", None, None, LABELS, "again"))
    assert refused.value.fix == "again --signature predict"


def several(tensor: Any) -> Any:
    return {"pooled": 2 * tensor, "scores": tensor, "classes": tf.argmax(tensor, -1)}


def test_one_of_several_outputs_is_asked_for_and_taken(tmp_path: Path) -> None:
    path = save(tmp_path / "m", several)
    with pytest.raises(ConversionError) as refused:
        load(path)
    assert refused.value.fix == "slipway import runs/x --output pooled"
    model = load(path, Wanted(None, None, "scores", LABELS, "again"))
    np.testing.assert_allclose(model.infer(feed()), logits(feed()), atol=1e-5)


def test_logits_beside_probabilities_and_classes_are_the_output(tmp_path: Path) -> None:
    def beside(tensor: Any) -> Any:
        return {"classes": tf.argmax(tensor, -1), "logits": tensor, "probabilities": tf.nn.softmax(tensor)}

    assert load(save(tmp_path / "m", beside)).output == "logits"


def test_of_several_outputs_the_one_with_a_number_a_label_is_taken(tmp_path: Path) -> None:
    def beside(tensor: Any) -> Any:
        return {"hidden": tf.tile(tensor, [1, 5]), "scores": tensor}

    assert load(save(tmp_path / "m", beside)).output == "scores"


def test_a_squeezed_sigmoid_is_one_number_a_row(tmp_path: Path) -> None:
    model = load(save(tmp_path / "m", lambda tensor: tf.sigmoid(tensor)[:, 0], labels=1))
    assert model.infer(feed()).shape == (len(feed()["input_word_ids"]), 1)


def by_hand(tensor: Any) -> Any:
    powers = tf.exp(tensor)
    return powers / tf.reduce_sum(powers, axis=-1, keepdims=True)


def both(tensor: Any) -> Any:
    share = tf.sigmoid(tensor)
    return tf.concat([1 - share, share], axis=-1)


@pytest.mark.parametrize(
    ("finish", "columns", "kind", "cut"),
    [
        (tf.nn.softmax, LABELS, outputs.PROBABILITIES, True),
        (lambda tensor: tf.identity(tf.nn.softmax(tensor)), LABELS, outputs.PROBABILITIES, True),
        (by_hand, LABELS, outputs.PROBABILITIES, False),
        (tf.nn.log_softmax, LABELS, outputs.LOG_PROBABILITIES, False),
        (tf.sigmoid, 1, outputs.SIGMOID, True),
        (both, 1, outputs.PROBABILITIES, False),
        (plain, 1, outputs.LOGIT, False),
        (plain, LABELS, outputs.LOGITS, False),
    ],
    ids=["softmax", "softmax handed on", "softmax by hand", "log-softmax", "sigmoid", "both sides", "one logit", "logits"],
)
def test_what_is_served_has_the_models_own_probabilities(
    tmp_path: Path, finish: Callable[[Any], Any], columns: int, kind: str, cut: bool
) -> None:
    path = save(tmp_path / "m", finish, labels=columns)
    model = load(path)
    raw = model.infer(feed(200))
    assert outputs.meaning(raw, None).kind == kind
    graph = meta_graph.choose(path, "again")
    operation = outputs.ACTIVATIONS.get(kind, "none")
    assert meta_graph.without_activation(graph, "serving_default", "output_1", operation) == cut
    if cut:
        meta_graph.write(graph, path, tmp_path / "cut")
        model, kind = signature.load(tmp_path / "cut", path, "serving_default", NOTHING), outputs.before_activation(kind)
    model.save(kind, tmp_path / "saved")
    served = softmax(SavedClassifier(tmp_path / "saved").infer(feed(200)).astype(np.float64))
    own = logits(feed(200), columns).astype(np.float64)
    expected = softmax(own if columns > 1 else np.concatenate([0 * own, own], axis=1))
    np.testing.assert_allclose(served, expected, atol=2e-6 if kind != outputs.PROBABILITIES else 2e-5)


def test_of_two_graphs_the_one_for_serving_alone_is_taken(tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    path = save(tmp_path / "m", plain)
    for tags in ((["serve", "tpu"], ["serve"]), (["train"], [])):
        whole = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        del whole.meta_graphs[1:]
        whole.meta_graphs.add().CopyFrom(whole.meta_graphs[0])
        for graph, names in zip(whole.meta_graphs, tags, strict=True):
            del graph.meta_info_def.tags[:]
            graph.meta_info_def.tags.extend(names)
        (path / "saved_model.pb").write_bytes(whole.SerializeToString())
        graph = meta_graph.choose(path, "again")
        assert list(graph.meta_info_def.tags) == tags[1]
        meta_graph.write(graph, path, tmp_path / f"one{len(tags[0])}")
        np.testing.assert_allclose(load(tmp_path / f"one{len(tags[0])}").infer(feed()), logits(feed()), atol=1e-5)


def test_graphs_of_which_none_is_for_serving_alone_are_named(tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    whole = saved_model_pb2.SavedModel()
    for name in ("tpu", "train"):
        whole.meta_graphs.add().meta_info_def.tags.extend(["serve", name])
    (tmp_path / "saved_model.pb").write_bytes(whole.SerializeToString())
    with pytest.raises(ConversionError, match="several graphs") as refused:
        meta_graph.choose(tmp_path, "again")
    assert refused.value.found == "[serve, tpu], [serve, train]"


def test_an_operation_of_another_library_is_named(tmp_path: Path) -> None:
    graph = meta_graph.choose(save(tmp_path / "m", plain), "again")
    meta_graph.check_operations(graph, tmp_path, "again")
    graph.graph_def.library.function[0].node_def.add(name="fold", op="CaseFoldUTF8")
    with pytest.raises(ConversionError, match="not TensorFlow's own: CaseFoldUTF8"):
        meta_graph.check_operations(graph, tmp_path, "again")


def test_a_model_that_takes_texts_is_told_so(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(text: Any) -> Any:
        return {"scores": tf.cast(tf.strings.length(text), tf.float32)[:, tf.newaxis]}

    tf.saved_model.save(tf.Module(), str(tmp_path / "m"), signatures={"serving_default": serve})
    with pytest.raises(ConversionError, match="takes texts"):
        meta_graph.check_inputs(tmp_path / "m", None, "again")


def test_rows_of_any_length_are_answered(tmp_path: Path) -> None:
    model = load(save(tmp_path / "m", plain))
    ids = Ragged.of([[2, 5, 3], [2, 5, 6, 7, 3]])
    assert model.infer(ids.padded()).shape == (2, small_models.LABELS)
