"""ONNX files that lead outside, lack a file or answer at random are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.safety.onnx_file import check_onnx
from slipway.errors import ConversionError


@pytest.mark.parametrize("variant", ["onnx_fp32", "ort_fp32", "ort_int8", "onnx_fp16"])
def test_every_artifact_of_a_run_is_accepted(finished_run: Path, variant: str) -> None:
    check_onnx(finished_run / "artifacts" / variant / "model.onnx")


def outside(location: str = "../outside") -> TensorProto:
    tensor = TensorProto(name="planted", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph(*nodes: onnx.NodeProto, **fields: Any) -> onnx.GraphProto:
    return onnx.GraphProto(name="g", node=nodes, **fields)


def node_with(**attribute: Any) -> onnx.NodeProto:
    node = onnx.NodeProto(op_type="Constant")
    node.attribute.add(name="value", **attribute)
    return node


SPARSE = onnx.SparseTensorProto(values=outside())
HIDING_PLACES = {
    "an initializer": onnx.ModelProto(graph=graph(initializer=[outside()])),
    "a sparse initializer": onnx.ModelProto(graph=graph(sparse_initializer=[SPARSE])),
    "an attribute": onnx.ModelProto(graph=graph(node_with(t=outside()))),
    "an attribute's list": onnx.ModelProto(graph=graph(node_with(tensors=[outside()]))),
    "a sparse attribute": onnx.ModelProto(graph=graph(node_with(sparse_tensor=SPARSE))),
    "a subgraph": onnx.ModelProto(graph=graph(node_with(g=graph(initializer=[outside()])))),
    "a subgraph of a subgraph": onnx.ModelProto(
        graph=graph(node_with(graphs=[graph(node_with(g=graph(initializer=[outside()])))]))
    ),
    "a function": onnx.ModelProto(functions=[onnx.FunctionProto(node=[node_with(t=outside())])]),
    "training": onnx.ModelProto(training_info=[onnx.TrainingInfoProto(algorithm=graph(initializer=[outside()]))]),
}


def refuses_onnx(path: Path, *named: str) -> None:
    with pytest.raises(ConversionError) as refused:
        check_onnx(path)
    for name in (path.name, *named):
        assert name in str(refused.value)


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_data_outside_is_found_wherever_it_hides(place: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(HIDING_PLACES[place].SerializeToString())
    refuses_onnx(tmp_path / "model.onnx", "planted", "../outside")


def with_data(location: str, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.ModelProto(graph=graph(initializer=[outside(location)])).SerializeToString())
    return path


@pytest.mark.parametrize("location", ["/etc/hostname", "..", "a/../../b", "", "..\\b", "a\0b", "*/_ORT_MEM_ADDR_/*"])
def test_a_location_outside_is_refused(location: str, tmp_path: Path) -> None:
    refuses_onnx(with_data(location, tmp_path), repr(location))


@pytest.mark.parametrize("location", ["weights", "data/weights", "./weights"])
def test_data_beside_the_model_is_accepted(location: str, tmp_path: Path) -> None:
    path = with_data(location, tmp_path)
    (tmp_path / location).parent.mkdir(exist_ok=True)
    (tmp_path / location).write_bytes(bytes(4))
    check_onnx(path)


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_weights_file_that_was_not_copied_is_missed_wherever_it_is_named(place: str, tmp_path: Path) -> None:
    content = HIDING_PLACES[place].SerializeToString().replace(b"../outside", b"not/copied")
    (tmp_path / "model.onnx").write_bytes(content)
    refuses_onnx(tmp_path / "model.onnx", "planted", "not/copied", "no such file")


def test_a_weights_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "artifacts/onnx_fp32"
    directory.mkdir(parents=True)
    path = with_data("weights", directory)
    (directory / "weights").write_bytes(bytes(4))
    check_onnx(path, ["model.onnx", "weights"])
    with pytest.raises(ConversionError, match=r"external data of planted in weights, .*artifact\.json") as refused:
        check_onnx(path, ["model.onnx"])
    assert refused.value.fix.endswith(f"export {tmp_path} --variant onnx_fp32")


@pytest.mark.parametrize(("extent", "held"), [({}, 3), ({"length": 8}, 7), ({"offset": 4}, 7), ({"offset": 4, "length": 4}, 7)])
def test_a_weights_file_that_is_cut_off_is_refused(extent: dict[str, int], held: int, tmp_path: Path) -> None:
    tensor = outside("weights")
    for key, value in extent.items():
        tensor.external_data.add(key=key, value=str(value))
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.ModelProto(graph=graph(initializer=[tensor])).SerializeToString())
    (tmp_path / "weights").write_bytes(bytes(held + 1))
    check_onnx(path)
    (tmp_path / "weights").write_bytes(bytes(held))
    refuses_onnx(path, "planted", f"{held + 1} bytes", f"{held} bytes")


@pytest.mark.parametrize("extent", [{"offset": "-4"}, {"length": "-1"}, {"offset": "many"}])
def test_an_offset_that_is_none_is_refused(extent: dict[str, str], tmp_path: Path) -> None:
    tensor = outside("weights")
    for key, value in extent.items():
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "model.onnx").write_bytes(onnx.ModelProto(graph=graph(initializer=[tensor])).SerializeToString())
    (tmp_path / "weights").write_bytes(bytes(4))
    refuses_onnx(tmp_path / "model.onnx", "planted", "offset")


@pytest.mark.parametrize("linked", ["data", "data/weights"])
def test_data_behind_a_link_is_refused(linked: str, tmp_path: Path) -> None:
    (tmp_path / linked).parent.mkdir(exist_ok=True)
    (tmp_path / linked).symlink_to(tmp_path.parent)
    refuses_onnx(with_data("data/weights", tmp_path), linked, "a symbolic link")


def test_a_second_location_does_not_hide_the_first(tmp_path: Path) -> None:
    tensor = outside("../outside")
    tensor.external_data.add(key="location", value="inside")
    (tmp_path / "model.onnx").write_bytes(onnx.ModelProto(graph=graph(initializer=[tensor])).SerializeToString())
    refuses_onnx(tmp_path / "model.onnx", "../outside")


def test_a_node_that_loads_an_engine_from_a_path_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], name="engine", domain="com.microsoft", ep_cache_context="../engine.trt")
    (tmp_path / "model.onnx").write_bytes(onnx.ModelProto(graph=graph(node)).SerializeToString())
    refuses_onnx(tmp_path / "model.onnx", "engine")


def random_node(kind: str, *inputs: str, domain: str = "") -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), ["y"], name="planted", domain=domain)


def boolean(name: str, value: bool) -> TensorProto:
    return onnx.numpy_helper.from_array(np.array(value), name)


def mode_node(value: bool) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["mode"], value=boolean("", value))


NOISE = random_node("RandomNormalLike", "x")
RANDOM = {
    **{
        kind: onnx.ModelProto(graph=graph(random_node(kind, "x")))
        for kind in ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
    },
    "in a subgraph": onnx.ModelProto(graph=graph(node_with(g=graph(NOISE)))),
    "in a function": onnx.ModelProto(functions=[onnx.FunctionProto(name="f", node=[NOISE])]),
    "of Microsoft's": onnx.ModelProto(graph=graph(random_node("Sampling", "x", domain="com.microsoft"))),
    "Dropout that trains": onnx.ModelProto(
        graph=graph(random_node("Dropout", "x", "", "mode"), initializer=[boolean("mode", True)])
    ),
    "Dropout that trains by a constant node": onnx.ModelProto(
        graph=graph(mode_node(True), random_node("Dropout", "x", "", "mode"))
    ),
    "Dropout that trains when it is told to": onnx.ModelProto(
        graph=graph(random_node("Dropout", "x", "", "mode"), input=[onnx.ValueInfoProto(name="mode")])
    ),
    "Dropout whose mode is false elsewhere": onnx.ModelProto(
        graph=graph(mode_node(False)),
        functions=[onnx.FunctionProto(name="f", input=["mode"], node=[random_node("Dropout", "x", "", "mode")])],
    ),
    **{
        kind: onnx.ModelProto(
            graph=graph(random_node(kind, *inputs, "mode", domain="com.microsoft"), initializer=[boolean("mode", True)])
        )
        for kind, inputs in {"BiasDropout": ("x", "bias", "", ""), "BitmaskDropout": ("x", "")}.items()
    },
}


@pytest.mark.parametrize("case", RANDOM)
def test_a_node_that_draws_random_numbers_is_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(RANDOM[case].SerializeToString())
    refuses_onnx(tmp_path / "model.onnx", "node planted", "random numbers")


@pytest.mark.parametrize(
    "nodes",
    [
        [random_node("Dropout", "x")],
        [random_node("Dropout", "x", "ratio")],
        [mode_node(False), random_node("Dropout", "x", "", "mode")],
        [mode_node(False), random_node("BiasDropout", "x", "bias", "", "", "mode", domain="com.microsoft")],
    ],
)
def test_a_dropout_that_drops_nothing_is_accepted(nodes: list[onnx.NodeProto], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(onnx.ModelProto(graph=graph(*nodes)).SerializeToString())
    check_onnx(tmp_path / "model.onnx")


def test_a_model_that_is_a_link_is_refused(tmp_path: Path) -> None:
    with_data("inside", tmp_path).rename(tmp_path / "other.onnx")
    (tmp_path / "model.onnx").symlink_to("other.onnx")
    refuses_onnx(tmp_path / "model.onnx", "a symbolic link")


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 10)
    refuses_onnx(tmp_path / "model.onnx", "an ONNX file")
