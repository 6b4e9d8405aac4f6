"""The rows of docs/bad_input.md that only gRPC has: raw contents, typed contents, and bytes that
are no message.
"""

from __future__ import annotations

from typing import Any

from tritonclient.grpc import service_pb2 as pb

from tests.serving.backend.bad_input.bad_input import Case, over_grpc, strings
from tests.serving.backend.bad_input.bad_requests import ANSWER, COUNT, GOOD, NO_CLASSES, TYPE, ask, ask_ids, text

CLOSED = "This protocol is restricted, expecting header 'triton-grpc-protocol-slipway-key'"
NO_VERSION = "…version should be an integral value > 0"
OF_TYPE = "unexpected explicit tensor data for input tensor 'text' for model 'text_classifier' of type 'INT32', expected datatype…"
NO_REGION = "Unable to find shared memory region: 'nope'"
NOT_UTF8 = "text 0 is not UTF-8: byte 0xff at offset 0 (request …)"
NOBODY = "Request for unknown model: 'nobody' is not found"
NO_PRIORITY = "invalid value type for 'priority' parameter, expected int64_param or uint64_param."
NO_DATA = "unable to find data for input tensor 'text' for model 'text_classifier' in request."


def call(what: str, request: Any, status: str, message: str, method: str = "ModelInfer") -> Case:
    return Case(what, "grpc", over_grpc(request, method), status, message)


def refused(what: str, request: pb.ModelInferRequest, message: str) -> Case:
    return call(what, request, "INVALID_ARGUMENT", message)


def closed(method: str, request: Any) -> Case:
    return call(method, request, "UNAVAILABLE", CLOSED, method)


def typed(**contents: Any) -> pb.ModelInferRequest:
    """One text in the message's typed contents."""
    request = pb.ModelInferRequest(model_name="text_classifier")
    request.inputs.add(name="text", datatype="BYTES", shape=[1, 1], contents=pb.InferTensorContents(**contents))
    return request


def typed_and_raw() -> pb.ModelInferRequest:
    request = typed(bytes_contents=[b"good"])
    request.raw_input_contents.append(strings("oil"))
    return request


def raw(*contents: bytes) -> pb.ModelInferRequest:
    """One input, and as many raw contents as are given."""
    request = GOOD.message()
    request.ClearField("raw_input_contents")
    request.raw_input_contents.extend(contents)
    return request


def of_type(datatype: str) -> pb.ModelInferRequest:
    request = GOOD.message()
    request.inputs[0].datatype = datatype
    return request


def version(name: str) -> pb.ModelInferRequest:
    return ask(text("good oil"), version=name).message()


def classes(output: str) -> pb.ModelInferRequest:
    request = ask(text("good oil"), outputs=(output,)).message()
    request.outputs[0].parameters["classification"].int64_param = 1
    return request


def shared(**parameters: int) -> pb.ModelInferRequest:
    """A text in a region of shared memory that nobody registered."""
    request = raw()
    request.inputs[0].parameters["shared_memory_region"].string_param = "nope"
    for name, value in parameters.items():
        request.inputs[0].parameters[name].int64_param = value
    return request


CASES: dict[str, list[Case]] = {
    "gRPC": [
        refused("a version that is no number", version("x"), NO_VERSION),
        refused("a negative version", version("-1"), NO_VERSION),
        refused("an unknown type", of_type("TEXT"), TYPE.format("text", "<invalid>", "text_classifier", "BYTES")),
        refused("no type", of_type(""), TYPE.format("text", "<invalid>", "text_classifier", "BYTES")),
        refused("a negative dimension", ask(text("good", shape=(-1, 1))).message(), COUNT.format(4294967295, 1)),
        refused("negative dimensions", ask(text("good", shape=(-1, -1))).message(), "…All input dimensions should be specified…"),
        refused("a huge row of ids", ask_ids(2, 4, 3, shape=(1, 2**40)).message(), "…Expected 4398046511104, got 12"),
        refused("no data", raw(), NO_DATA),
        refused("raw and typed data at once", typed_and_raw(), "contents field must not be specified when using raw…"),
        refused("typed data of another type", typed(int_contents=[7]), OF_TYPE),
        refused("typed data of two types", typed(bytes_contents=[b"good"], int_contents=[7]), OF_TYPE),
        refused("typed data, too many", typed(bytes_contents=[b"good", b"oil"]), "…unexpected number of string elements 2…"),
        refused("typed data that is not UTF-8", typed(bytes_contents=[b"\xff"]), NOT_UTF8),
        refused("the classes of a label", classes("label"), NO_CLASSES),
        refused("a priority that is a text", ask(text("good"), parameters=(("priority", "x"),)).message(), NO_PRIORITY),
        refused("shared memory without a size", shared(), "'shared_memory_byte_size' must be specified along with…"),
        call("shared memory that is not registered", shared(shared_memory_byte_size=8), "NOT_FOUND", NO_REGION),
        call("bytes that are no message", b"\xff\xff\xff", "INTERNAL", "Unable to parse request"),
        call("half of a message", GOOD.message().SerializeToString()[:-3], "INTERNAL", "Unable to parse request"),
        call("an empty message", b"", "NOT_FOUND", "Request for unknown model: '' is not found"),
        call("no such method", b"", "UNIMPLEMENTED", "", "Nothing"),
        call("the metadata of no model", pb.ModelMetadataRequest(name="nobody"), "NOT_FOUND", NOBODY, "ModelMetadata"),
    ],
    "gRPC: closed without the key": [
        closed("RepositoryIndex", pb.RepositoryIndexRequest()),
        closed("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="ids")),
        closed("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="ids")),
        closed("SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name="x", key="/x", byte_size=8)),
        closed("TraceSetting", pb.TraceSettingRequest()),
        closed("LogSettings", pb.LogSettingsRequest()),
    ],
    "gRPC: answered, though it should not be": [
        call("a second raw buffer for one input: the first counts", raw(strings("good oil"), b"zz"), "OK", ANSWER),
        call("version 1.5, which is read as 1", version("1.5"), "OK", ANSWER),
    ],
}
