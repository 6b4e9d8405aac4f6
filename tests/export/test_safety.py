"""Models that reach outside of their own directory, or run code, are refused by name before
anything loads them.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export import safety
from export.safety import FORBIDDEN
from slipway.contract import artifact, bundle, manifest
from slipway.errors import ConversionError, ManifestError
from tests.support.command import slipway, succeed

NAMED_LIKE_A_PLACE = re.compile(
    r"file|path|(^|_)dir(_|$)|directory|url|uri(_|$)|prefix|pattern|address|token|data_source|output_stream"
)
HARMLESS = {  # named like a place, and are none
    *("RegexFullMatch", "RegexReplace", "StaticRegexFullMatch", "StaticRegexReplace"),  # a text's pattern
    *("SetStatsAggregatorDataset", "ExperimentalSetStatsAggregatorDataset"),  # a counter's prefix
    "TRTEngineOp",  # profile_strategy
    "PrintV2",  # allowed onto the console, and only there
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of SavedModels written by TensorFlow."""
    target = tmp_path_factory.mktemp("saved")
    succeed("tests/support/models/unsafe_models.py", target)
    return target


@pytest.fixture
def model() -> Any:
    """A SavedModel as TensorFlow lays it out: a signature's function, and a SaverDef with the
    functions it names.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    written = saved_model_pb2.SavedModel()
    graph = written.meta_graphs.add()
    for function, ops in (("compute", ["MatMul"]), ("save", ["SaveV2", "MergeV2Checkpoints"]), ("restore", ["RestoreV2"])):
        call = graph.graph_def.node.add(name=f"call_{function}", op="StatefulPartitionedCall", input=["^started"])
        call.attr["f"].func.name = function
        body = graph.graph_def.library.function.add()
        body.signature.name = function
        for op in ops:
            body.node_def.add(name=f"a_{op}", op=op)
    graph.graph_def.node.add(name="started", op="NoOp")
    graph.saver_def.save_tensor_name, graph.saver_def.restore_op_name = "call_save:0", "call_restore"
    graph.signature_def["serving_default"].outputs["logits"].name = "call_compute:0"
    return written


@pytest.fixture
def write(model: Any, tmp_path: Path) -> Callable[[], Path]:
    def at() -> Path:
        directory = tmp_path / "saved_model"
        (directory / "variables").mkdir(parents=True)
        (directory / "assets").mkdir()
        (directory / "saved_model.pb").write_bytes(model.SerializeToString())
        for name in ("index", "data-00000-of-00001"):
            (directory / "variables" / f"variables.{name}").write_bytes(b"\0")
        (directory / "assets/vocab.txt").write_text("[PAD]\n[UNK]\ncat\n.\n")
        return directory

    return at


def refuses(directory: Path, *named: str) -> None:
    with pytest.raises(ConversionError) as refused:
        safety.check_saved_model(directory)
    assert refused.value.exit_code == 7
    for name in named:
        assert name in str(refused.value)


def functions(model: Any) -> dict[str, Any]:
    return {function.signature.name: function for function in model.meta_graphs[0].graph_def.library.function}


# What is accepted


def test_the_bundles_saved_model_is_accepted(finished_run: Path) -> None:
    safety.check_saved_model(finished_run / "bundle/saved_model")


def test_the_encoder_is_accepted(tiny_encoder: Path) -> None:
    safety.check_saved_model(tiny_encoder)


def test_a_keras_model_without_lambda_is_accepted(saved: Path) -> None:
    assert (saved / "Keras/keras_metadata.pb").is_file()
    safety.check_saved_model(saved / "Keras")


def test_a_checkpoints_own_functions_may_save_and_restore(write: Callable[[], Path]) -> None:
    safety.check_saved_model(write())


def test_printing_onto_the_console_is_accepted(model: Any, write: Callable[[], Path]) -> None:
    functions(model)["compute"].node_def.add(op="PrintV2").attr["output_stream"].s = b"stderr"
    safety.check_saved_model(write())


@pytest.mark.parametrize("variant", ["onnx_fp32", "ort_fp32", "ort_int8", "onnx_fp16"])
def test_every_artifact_of_a_run_is_accepted(finished_run: Path, variant: str) -> None:
    safety.check_onnx(finished_run / "artifacts" / variant / "model.onnx")


# The list of operations


@pytest.fixture(scope="session")
def registered() -> dict[str, set[str]]:
    """Every op of this TensorFlow, with or without a Python wrapper → its string inputs and
    attributes.
    """
    from tensorflow.core.framework import op_def_pb2, types_pb2
    from tensorflow.python.client import pywrap_tf_session

    every = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    strings = ("string", "list(string)")
    return {
        op.name: {entry.name for entry in op.input_arg if entry.type == types_pb2.DT_STRING}
        | {entry.name for entry in op.attr if entry.type in strings}
        for op in every.op
    }


def test_every_forbidden_op_exists_in_this_tensorflow(registered: dict[str, set[str]]) -> None:
    assert FORBIDDEN.keys() - registered.keys() == set()


def test_every_op_that_is_told_a_place_is_forbidden_or_known_to_be_harmless(registered: dict[str, set[str]]) -> None:
    told = {op for op, names in registered.items() if any(NAMED_LIKE_A_PLACE.search(name) for name in names)}
    assert {"ReadFile", "TextLineDataset", "PrintV2"} <= told
    assert told - FORBIDDEN.keys() - HARMLESS == set()


@pytest.mark.parametrize("op", sorted(FORBIDDEN))
def test_a_forbidden_op_is_refused_also_in_a_function_that_nothing_calls(op: str, model: Any, write: Callable[[], Path]) -> None:
    function = model.meta_graphs.add().graph_def.library.function.add()
    function.signature.name = "lonely"
    function.node_def.add(name="planted", op=op)
    refuses(write(), f"{op}, {FORBIDDEN[op]}", "node planted of function lonely")


@pytest.mark.parametrize("op", ["ReadFile", "SaveV2"])
def test_a_forbidden_op_in_the_graph_itself_is_refused(op: str, model: Any, write: Callable[[], Path]) -> None:
    model.meta_graphs[0].graph_def.node.add(name="planted", op=op)
    refuses(write(), op, "node planted of the graph")


# Save and restore, where they are no checkpoint's


def test_the_name_of_a_function_does_not_make_it_a_checkpoints(model: Any, write: Callable[[], Path]) -> None:
    function = model.meta_graphs[0].graph_def.library.function.add()
    function.signature.name = "__inference__traced_save_1"
    function.node_def.add(op="SaveV2")
    refuses(write(), "SaveV2", "__inference__traced_save_1")


def called_by_the_signature(graph: Any) -> None:
    graph.graph_def.library.function[0].node_def.add(op="PartitionedCall").attr["f"].func.name = "restore"


def called_in_tensorflow_1s_way(graph: Any) -> None:
    graph.graph_def.library.function[0].node_def.add(op="restore")


def an_argument_of_a_call(graph: Any) -> None:
    call = graph.graph_def.library.function[0].node_def.add(op="PartitionedCall")
    call.attr["f"].func.attr["body"].func.name = "restore"


def a_branch(graph: Any) -> None:
    graph.graph_def.library.function[0].node_def.add(op="Case").attr["branches"].list.func.add(name="restore")


def a_gradient(graph: Any) -> None:
    graph.graph_def.library.gradient.add(function_name="compute", gradient_func="restore")


def a_registered_gradient(graph: Any) -> None:
    graph.graph_def.library.registered_gradients.add(registered_op_type="MatMul", gradient_func="restore")


def an_implementation_to_exchange(graph: Any) -> None:
    graph.graph_def.library.function[2].attr["api_implements"].s = b"compute"


def a_method_of_the_loaded_object(graph: Any) -> None:
    graph.object_graph_def.concrete_functions["restore"].SetInParent()


def a_signature(graph: Any) -> None:
    graph.signature_def["other"].outputs["x"].name = "call_restore:0"


def the_initialisation(graph: Any) -> None:
    graph.collection_def["saved_model_main_op"].node_list.value.append("call_restore")


def an_order(graph: Any) -> None:
    graph.graph_def.node[0].input.append("^call_restore")


OTHER_WAYS = [
    *(called_by_the_signature, called_in_tensorflow_1s_way, an_argument_of_a_call, a_branch, a_gradient, a_registered_gradient),
    *(an_implementation_to_exchange, a_method_of_the_loaded_object, a_signature, the_initialisation, an_order),
]


@pytest.mark.parametrize("add", OTHER_WAYS)
def test_a_restore_that_something_else_leads_to_is_refused(
    add: Callable[[Any], None], model: Any, write: Callable[[], Path]
) -> None:
    add(model.meta_graphs[0])
    refuses(write(), "RestoreV2", "function restore")


# As TensorFlow writes them


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("Reads", "ReadFile"),
        ("HidesAWrite", "WriteFile"),
        ("CallsPython", "PyFunc"),
        ("PrintsIntoAFile", "PrintV2 into file://planted"),
        ("RestoresInItsSignature", "RestoreV2"),
        ("KerasLambda", "Lambda layer bytecode"),
    ],
)
def test_what_tensorflow_wrote_is_refused_by_name(saved: Path, name: str, named: str) -> None:
    refuses(saved / name, named)


def test_a_lambda_in_metadata_of_older_tensorflow_is_refused(model: Any, write: Callable[[], Path]) -> None:
    layer = model.meta_graphs[0].object_graph_def.nodes.add().user_object
    layer.identifier = "_tf_keras_layer"
    layer.metadata = json.dumps({"class_name": "Lambda", "config": {"name": "old"}})
    refuses(write(), "Lambda layer old")


# Files


def npy(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({}))
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_under_another_name_is_refused_whatever_its_protocol(protocol: int, write: Callable[[], Path]) -> None:
    directory = write()
    (directory / "assets/words.txt").write_bytes(pickle.dumps(shutil.rmtree, protocol))
    refuses(directory, "words.txt", "a pickle")


@pytest.mark.parametrize(("data", "named"), [(npy(np.array([{}])), "pickled objects"), (archive(), "an archive")])
def test_pickles_inside_other_formats_are_refused(data: bytes, named: str, write: Callable[[], Path]) -> None:
    directory = write()
    (directory / "assets/words.txt").write_bytes(data)
    refuses(directory, "words.txt", named)


def test_an_asset_of_numbers_is_accepted(write: Callable[[], Path]) -> None:
    directory = write()
    (directory / "assets/table.npy").write_bytes(npy(np.arange(3)))
    safety.check_saved_model(directory)


@pytest.mark.parametrize("name", ["code.py", "model.pkl", "saved_model.cpb", "variables/custom_ops.so", "weights.h5"])
def test_a_file_that_no_saved_model_has_is_refused(name: str, write: Callable[[], Path]) -> None:
    directory = write()
    (directory / name).write_text("")
    refuses(directory, name)


@pytest.mark.parametrize("filename", ["/etc/hostname", "../../secret", "words/../../secret"])
def test_an_asset_from_elsewhere_is_refused(filename: str, model: Any, write: Callable[[], Path]) -> None:
    model.meta_graphs[0].asset_file_def.add(filename=filename)
    refuses(write(), filename)


@pytest.mark.parametrize("name", ["saved_model.pb", "keras_metadata.pb"])
def test_a_file_that_is_no_protobuf_is_refused(name: str, write: Callable[[], Path]) -> None:
    directory = write()
    (directory / name).write_bytes(b"\xff" * 10)
    refuses(directory, name)


def test_a_directory_without_a_graph_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, "saved_model.pb", "no such file")


def test_a_link_in_a_saved_model_is_refused(write: Callable[[], Path]) -> None:
    directory = write()
    (directory / "assets/link").symlink_to("vocab.txt")
    with pytest.raises(ManifestError, match="assets/link"):
        safety.check_saved_model(directory)


# ONNX


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
        safety.check_onnx(path)
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
    safety.check_onnx(path)
    assert safety.external_files(path) == [location.removeprefix("./")]


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_weights_file_that_was_not_copied_is_missed_wherever_it_is_named(place: str, tmp_path: Path) -> None:
    content = HIDING_PLACES[place].SerializeToString().replace(b"../outside", b"not/copied")
    (tmp_path / "model.onnx").write_bytes(content)
    assert safety.external_files(tmp_path / "model.onnx") == ["not/copied"]
    refuses_onnx(tmp_path / "model.onnx", "planted", "not/copied", "no such file")


def test_a_weights_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "artifacts/onnx_fp32"
    directory.mkdir(parents=True)
    path = with_data("weights", directory)
    (directory / "weights").write_bytes(bytes(4))
    safety.check_onnx(path, ["model.onnx", "weights"])
    with pytest.raises(ConversionError, match=r"external data of planted in weights, .*artifact\.json") as refused:
        safety.check_onnx(path, ["model.onnx"])
    assert refused.value.fix.endswith(f"export {tmp_path} --variant onnx_fp32")


@pytest.mark.parametrize(("extent", "held"), [({}, 3), ({"length": 8}, 7), ({"offset": 4}, 7), ({"offset": 4, "length": 4}, 7)])
def test_a_weights_file_that_is_cut_off_is_refused(extent: dict[str, int], held: int, tmp_path: Path) -> None:
    tensor = outside("weights")
    for key, value in extent.items():
        tensor.external_data.add(key=key, value=str(value))
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.ModelProto(graph=graph(initializer=[tensor])).SerializeToString())
    (tmp_path / "weights").write_bytes(bytes(held + 1))
    safety.check_onnx(path)
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
    safety.check_onnx(tmp_path / "model.onnx")


def test_a_model_that_is_a_link_is_refused(tmp_path: Path) -> None:
    with_data("inside", tmp_path).rename(tmp_path / "other.onnx")
    (tmp_path / "model.onnx").symlink_to("other.onnx")
    refuses_onnx(tmp_path / "model.onnx", "a symbolic link")


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 10)
    refuses_onnx(tmp_path / "model.onnx", "an ONNX file")


# By the command, with manifests that are right


def reseal(directory: Path, name: str) -> None:
    facts = json.loads((directory / name).read_text("utf-8"))
    (directory / name).unlink()
    manifest.seal(directory, name, {key: value for key, value in facts.items() if key != "files"})


def test_a_sealed_bundle_that_reads_files_is_not_converted(run_copy: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    path = run_copy / "bundle/saved_model/saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    model.meta_graphs[0].graph_def.library.function[0].node_def.add(name="planted", op="ReadFile", input=["x"])
    path.write_bytes(model.SerializeToString())
    reseal(run_copy / "bundle", bundle.MANIFEST)
    shutil.rmtree(run_copy / "artifacts/onnx_fp32")
    done = slipway("export", run_copy, "--variant", "onnx_fp32")
    assert done.returncode == 7, done.stderr
    assert "ReadFile, a file operation: node planted" in done.stderr
    assert not (run_copy / "artifacts/onnx_fp32").exists()


def test_a_sealed_artifact_with_data_elsewhere_is_neither_converted_nor_compared(run_copy: Path) -> None:
    directory = run_copy / "artifacts/onnx_fp32"
    model = onnx.load(directory / "model.onnx")
    model.graph.initializer.append(outside())
    (directory / "model.onnx").unlink()  # it is a hard link
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    (directory / artifact.PARITY).unlink()
    reseal(directory, artifact.MANIFEST)
    for options in (("--variant", "ort_fp32"), ("--compare-only", "--variant", "onnx_fp32")):
        done = slipway("export", run_copy, *options)
        assert done.returncode == 7, done.stderr
        assert "../outside" in done.stderr
    assert not (directory / artifact.PARITY).exists()


def test_a_sealed_artifact_whose_weights_file_was_not_copied_is_refused_at_the_gate(run_copy: Path) -> None:
    directory = run_copy / "artifacts/onnx_fp32"
    model = onnx.load(directory / "model.onnx")
    (directory / "model.onnx").unlink()
    onnx.save(model, directory / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    (directory / "weights").unlink()
    (directory / artifact.PARITY).unlink()
    reseal(directory, artifact.MANIFEST)
    done = slipway("export", run_copy, "--compare-only", "--variant", "onnx_fp32")
    assert done.returncode == 7, done.stderr
    assert "in weights" in done.stderr
    assert "no such file" in done.stderr


def test_golden_rows_that_are_pickled_are_refused(run_copy: Path) -> None:
    path = run_copy / "bundle/golden.npz"
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "labels": np.array([{}], object)})
    reseal(run_copy / "bundle", bundle.MANIFEST)
    with pytest.raises(ManifestError, match=r"golden\.npz"):
        bundle.load_golden(bundle.load(run_copy / "bundle"))


def test_a_run_with_a_link_is_refused(run_copy: Path) -> None:
    (run_copy / "bundle/planted").symlink_to("/")
    done = slipway("export", run_copy)
    assert done.returncode == 6
    assert "planted is neither a file nor a directory" in done.stderr
