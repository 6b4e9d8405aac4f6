from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.graph import extract_weights
from export.graph.bert import Bert, Dense, Norm
from tests.export.graph.test_graphs import HIDDEN, tiny_bert


def graph(epsilons: list[float], kinds: list[str], rank: int = 2) -> onnx.GraphProto:
    nodes = [helper.make_node(kind, ["x"], [f"{kind}{i}"]) for i, kind in enumerate(kinds)]
    initializers = []
    for i, epsilon in enumerate(epsilons):
        initializers.append(numpy_helper.from_array(np.array([epsilon], np.float32), f"epsilon{i}"))
        nodes += [helper.make_node("Add", ["x", f"epsilon{i}"], [f"sum{i}"]), helper.make_node("Sqrt", [f"sum{i}"], [f"root{i}"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    return helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)], initializers)


def variables(bert: Bert, prefix: str = "", head: str = "classifier") -> dict[str, np.ndarray]:
    """A Bert's arrays under the names, and in the shapes, of a TF Hub module."""
    result = {
        "word_embeddings/embeddings": bert.word_embeddings,
        "position_embedding/embeddings": bert.position_embeddings,
        "type_embeddings/embeddings": bert.type_embeddings,
    }

    def add(name: str, part: Dense | Norm, shape: tuple[int, ...] = (), bias: tuple[int, ...] = ()) -> None:
        for field, value in dataclasses.asdict(part).items():
            wanted = {"kernel": shape, "bias": bias}.get(field) or value.shape
            result[f"{name}/{field}"] = value.reshape(wanted)

    add("embeddings/layer_norm", bert.embeddings_norm)
    split = (bert.heads, HIDDEN // bert.heads)
    for number, layer in enumerate(bert.layers):
        at = f"transformer/layer_{number}"
        for name in ("query", "key", "value"):
            add(f"{at}/self_attention/{name}", getattr(layer, name), (HIDDEN, *split), split)
        add(f"{at}/self_attention/attention_output", layer.attention_output, (*split, HIDDEN))
        add(f"{at}/self_attention_layer_norm", layer.attention_norm)
        add(f"{at}/intermediate", layer.intermediate)
        add(f"{at}/output", layer.output)
        add(f"{at}/output_layer_norm", layer.output_norm)
    if bert.pooler:
        add("pooler_transform", bert.pooler)
    result = {prefix + name: value for name, value in result.items()}
    return result | {f"{head}/{field}": value for field, value in dataclasses.asdict(bert.classifier).items()}


def assert_same(result: Bert, expected: Bert) -> None:
    np.testing.assert_equal(dataclasses.asdict(result), dataclasses.asdict(expected))


@pytest.mark.parametrize(("kinds", "gelu"), [(["Erf", "Erf"], "exact"), (["Tanh"] * 3, "approximate")])
def test_a_bert_is_read_from_its_variables_and_its_graph(kinds: list[str], gelu: str) -> None:
    expected = dataclasses.replace(tiny_bert(gelu), epsilon=float(np.float32(1e-6)))
    assert_same(extract_weights.bert(variables(expected), graph([1e-6, 1e-6], kinds)), expected)


def test_the_names_of_model_and_head_do_not_matter() -> None:
    expected = dataclasses.replace(tiny_bert(), epsilon=float(np.float32(1e-12)))
    result = variables(expected, prefix="bert_encoder/", head="my_head/dense")
    assert_same(extract_weights.bert(result, graph([1e-12], ["Erf", "Erf"])), expected)


def test_logits_of_every_token_are_a_tagger_and_its_pooler_is_left_out() -> None:
    result = extract_weights.bert(variables(tiny_bert()), graph([1e-12], ["Erf", "Erf"], rank=3))
    assert result.pooler is None


def test_an_epsilon_inside_a_fused_norm_is_found() -> None:
    result = graph([], ["Erf"])
    result.node.append(helper.make_node("BatchNormalization", ["x"] * 5, ["n"], epsilon=1e-3))
    assert extract_weights._epsilon(result) == pytest.approx(1e-3)


def not_recognised(result: dict[str, np.ndarray], reason: str, epsilons: list[float], kinds: list[str]) -> None:
    with pytest.raises(extract_weights.NotRecognised, match=reason):
        extract_weights.bert(result, graph(epsilons, kinds))


def test_without_a_transformer_there_is_no_bert() -> None:
    not_recognised({}, "no variables transformer", [1e-12], ["Erf"])


def test_two_epsilons_are_not_a_bert() -> None:
    not_recognised(variables(tiny_bert()), "epsilon", [1e-12, 1e-3], ["Erf", "Erf"])


@pytest.mark.parametrize("kinds", [["Tanh"], ["Tanh", "Tanh"], ["Relu", "Erf"]])
def test_a_graph_without_gelu_in_every_layer_is_not_a_bert(kinds: list[str]) -> None:
    not_recognised(variables(tiny_bert()), "GELU", [1e-12], kinds)


@pytest.mark.parametrize("name", ["word_embeddings/embeddings", "transformer/layer_1/output/bias", "pooler_transform/kernel"])
def test_a_missing_variable_is_named(name: str) -> None:
    result = variables(tiny_bert())
    del result[name]
    not_recognised(result, f"no variable {name}", [1e-12], ["Erf", "Erf"])


def test_a_head_of_two_layers_is_named_with_what_was_found() -> None:
    result = variables(tiny_bert()) | {"more/kernel": np.zeros((3, 3), np.float32)}
    not_recognised(result, "more/kernel", [1e-12], ["Erf", "Erf"])


THEIRS = {  # TF Hub's names → transformers'
    "word_embeddings/embeddings": "embeddings/word_embeddings/weight",
    "position_embedding/embeddings": "embeddings/position_embeddings/embeddings",
    "type_embeddings/embeddings": "embeddings/token_type_embeddings/embeddings",
    "embeddings/layer_norm": "embeddings/LayerNorm",
    "pooler_transform": "pooler/dense",
    "transformer/layer_": "encoder/layer_._",
    "self_attention_layer_norm": "attention/output/LayerNorm",
    "self_attention/attention_output": "attention/output/dense",
    "self_attention": "attention/self",
    "output_layer_norm": "output/LayerNorm",
    "/intermediate": "/intermediate/dense",
    "/output/kernel": "/output/dense/kernel",
    "/output/bias": "/output/dense/bias",
}


def transformers_variables(bert: Bert) -> dict[str, np.ndarray]:
    """The same arrays, two-dimensional, under the names of a TFBertForSequenceClassification."""
    result = {}
    for name, value in variables(bert).items():
        other = name
        for ours, theirs in THEIRS.items():
            if "attention/output/dense" not in other:
                other = other.replace(ours, theirs)
        flat = value.reshape(-1) if name.endswith("bias") else value
        flat = value.reshape(HIDDEN, HIDDEN) if value.ndim == 3 else flat
        result[f"tf_bert_for_sequence_classification/{other if other.startswith('classifier') else f'bert/{other}'}"] = flat
    return result


def attention(scale: float, kind: str = "Div", count: int = 2) -> onnx.GraphProto:
    """Products that are scaled, masked, kept finite, and summed up by a softmax."""
    result = graph([1e-12], ["Erf", "Erf"])
    constants = {"scale": scale, "tiny": 1e-9, "far": -1e4}
    result.initializer.extend(numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items())
    for i in range(count):
        result.node.extend(
            [
                helper.make_node("MatMul", ["q", "k"], [f"product{i}"]),
                helper.make_node(kind, [f"product{i}", "scale"], [f"scaled{i}"]),
                helper.make_node("Mul", ["mask", "far"], [f"away{i}"]),
                helper.make_node("Add", [f"scaled{i}", f"away{i}"], [f"masked{i}"]),
                helper.make_node("Add", [f"masked{i}", "tiny"], [f"finite{i}"]),
                helper.make_node("Softmax", [f"finite{i}"], [f"shares{i}"]),
            ]
        )
    return result


@pytest.mark.parametrize("kind", ["Div", "Mul"])
def test_a_bert_under_transformers_names_is_the_same_bert(kind: str) -> None:
    expected = dataclasses.replace(tiny_bert(), epsilon=float(np.float32(1e-12)))
    scale = (HIDDEN // expected.heads) ** (0.5 if kind == "Div" else -0.5)
    assert_same(extract_weights.bert(transformers_variables(expected), attention(scale, kind)), expected)


@pytest.mark.parametrize("model", [graph([1e-12], ["Erf", "Erf"]), attention(5.0)], ids=["no scale", "a size that does not fit"])
def test_without_a_scale_that_fits_its_heads_are_not_guessed(model: onnx.GraphProto) -> None:
    with pytest.raises(extract_weights.NotRecognised, match="scale of attention"):
        extract_weights.bert(transformers_variables(tiny_bert()), model)
