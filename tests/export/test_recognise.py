from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import recognise


def graph(epsilons: list[float], kinds: list[str]) -> helper.GraphProto:  # type: ignore[name-defined]
    nodes = [helper.make_node(kind, ["x"], [f"{kind}{i}"]) for i, kind in enumerate(kinds)]
    initializers = []
    for i, epsilon in enumerate(epsilons):
        initializers.append(numpy_helper.from_array(np.array([epsilon], np.float32), f"epsilon{i}"))
        nodes += [helper.make_node("Add", ["x", f"epsilon{i}"], [f"sum{i}"]), helper.make_node("Sqrt", [f"sum{i}"], [f"root{i}"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    return helper.make_graph(nodes, "g", [x], [x], initializers)


def test_what_no_variable_holds_is_read_from_the_graph() -> None:
    found = graph([1e-6, 1e-6], ["Erf"])
    assert recognise._epsilon(found) == pytest.approx(1e-6)
    assert recognise._gelu(found) == "exact"
    assert recognise._gelu(graph([1e-6], ["Tanh", "Tanh"])) == "approximate"


def test_without_a_transformer_there_is_no_bert() -> None:
    with pytest.raises(recognise.NotRecognised, match="no variables transformer"):
        recognise.bert({}, graph([1e-12, 1e-12], ["Erf"]))


def test_two_epsilons_are_not_a_bert() -> None:
    with pytest.raises(recognise.NotRecognised, match="epsilon"):
        recognise.bert({}, graph([1e-12, 1e-3], ["Erf"]))


def test_a_graph_without_gelu_is_not_a_bert() -> None:
    with pytest.raises(recognise.NotRecognised, match="GELU"):
        recognise.bert({}, graph([1e-12], ["Tanh"]))


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(recognise.NotRecognised, match="no variable word_embeddings/embeddings"):
        recognise.bert({"transformer/layer_0/output/kernel": np.zeros((1, 1), np.float32)}, graph([1e-12], ["Erf"]))
