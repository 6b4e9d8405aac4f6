"""SavedModels that reach outside of their own directory, or run code, are refused by name."""

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
import pytest

from export.safety.operations import FORBIDDEN
from export.safety.saved_model import check_saved_model
from slipway.errors import ConversionError, ManifestError
from tests.support.command import succeed

pytestmark = pytest.mark.experiment("unsafe formats")

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
        check_saved_model(directory)
    assert refused.value.exit_code == 7
    for name in named:
        assert name in str(refused.value)


def functions(model: Any) -> dict[str, Any]:
    return {function.signature.name: function for function in model.meta_graphs[0].graph_def.library.function}


# What is accepted


def test_the_bundles_saved_model_is_accepted(finished_run: Path) -> None:
    check_saved_model(finished_run / "bundle/saved_model")


def test_the_encoder_is_accepted(tiny_encoder: Path) -> None:
    check_saved_model(tiny_encoder)


def test_a_keras_model_without_lambda_is_accepted(saved: Path) -> None:
    assert (saved / "Keras/keras_metadata.pb").is_file()
    check_saved_model(saved / "Keras")


def test_a_checkpoints_own_functions_may_save_and_restore(write: Callable[[], Path]) -> None:
    check_saved_model(write())


def test_printing_onto_the_console_is_accepted(model: Any, write: Callable[[], Path]) -> None:
    functions(model)["compute"].node_def.add(op="PrintV2").attr["output_stream"].s = b"stderr"
    check_saved_model(write())


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
    check_saved_model(directory)


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
        check_saved_model(directory)
