"""Rules on a config.pbtxt alone: name, backend, inputs, outputs, placeholders, newer fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message
from tritonclient.grpc import model_config_pb2 as pb

from slipway.lint.models import (
    BACKEND_OF_PLATFORM,
    ENSEMBLE,
    PLACEHOLDER,
    Finding,
    ModelDirectory,
    RuleResult,
    type_name,
)

_OF_ONE_PLATFORM = ("onnxruntime", "pytorch", "tensorflow", "tensorrt")  # others take any platform
_NEWER_PLATFORMS = ("torch_aoti",)
_IMAGES = (pb.ModelInput.FORMAT_NHWC, pb.ModelInput.FORMAT_NCHW)


def check_config(model: ModelDirectory) -> Iterator[RuleResult]:
    yield from _name_and_backend(model)
    for kind in ("input", "output"):
        tensors = getattr(model.config, kind)
        for tensor in tensors:
            yield from _tensor(model, f"{kind}[{tensor.name}]", tensor)
        yield from _names_once(model, kind, tensors)
    yield from _newer_fields(model)
    for field, text in _texts(model.config):
        if placeholder := PLACEHOLDER.search(text):
            expected = f"a value in the place of {placeholder.group()}"
            report = model.error if field in ("backend", "runtime") else model.warning  # there is no library of that name
            yield report("placeholder", field, expected, text)
    for agent in model.config.model_repository_agents.agents:
        yield model.unchecked(f"repository agent {agent.name}", "only the server knows whether it has it")
    if model.config.platform in _NEWER_PLATFORMS:
        yield model.unchecked(f"platform {model.config.platform}", "Triton 26.x knows it, and Triton 2.51 refuses it")
    if model.config.runtime:
        yield model.unchecked(f"runtime {model.config.runtime}", "only the server knows whether it has it")


def _name_and_backend(model: ModelDirectory) -> Iterator[Finding]:
    config = model.config
    if config.name and config.name != model.name:
        yield model.error("name", "name", f"{model.name}, the name of the directory", config.name)
    implied = BACKEND_OF_PLATFORM.get(config.platform)
    if not model.backend:
        expected = "a backend, a platform that Triton knows, or a model file of a default name"
        yield model.error("backend", "backend", expected, f'backend: "{config.backend}", platform: "{config.platform}"')
    elif config.backend and implied == ENSEMBLE:
        yield model.error("backend", "backend", "no backend: this is an ensemble", config.backend)
    elif config.backend in _OF_ONE_PLATFORM and config.platform and implied != config.backend:
        right = [platform for platform, backend in BACKEND_OF_PLATFORM.items() if backend == config.backend]
        yield model.error("backend", "platform", f"{' or '.join(right)}, or none, beside backend {config.backend}", config.platform)
    elif config.backend == "tensorflow" and not config.platform and not _savedmodel_or_graph(model):
        yield model.error(
            "backend", "platform", "tensorflow_savedmodel or tensorflow_graphdef", "none, and no file of a default name"
        )


def _savedmodel_or_graph(model: ModelDirectory) -> bool:
    """Return whether Triton finds out which of TensorFlow's two formats this is."""
    defaults = {"model.savedmodel", "model.graphdef"}
    if declared := model.config.default_model_filename:
        return declared in defaults
    return any((version / name).exists() for version in model.versions[:1] for name in defaults)


def _names_once(model: ModelDirectory, kind: str, tensors: Any) -> Iterator[Finding]:
    """Report names twice: two inputs of a name can never be given; outputs are merged."""
    report = model.error if kind == "input" else model.warning
    for name, times in Counter(tensor.name for tensor in tensors).items():
        if times > 1:
            yield report("name-twice", kind, f"one {kind} of each name", f"{name} {times} times")


def _tensor(model: ModelDirectory, at: str, tensor: Any) -> Iterator[Finding]:
    """Check a tensor as Triton's ValidateIOShape does."""
    if not tensor.name:
        yield model.error("name", f"{at}.name", "a name", "none")
    if type_name(tensor.data_type) == "INVALID":
        yield model.error("dtype", f"{at}.data_type", "a data_type", "none that Triton knows")
    if not tensor.dims or any(dim < 1 and dim != -1 for dim in tensor.dims):
        yield model.error("dims", f"{at}.dims", "at least one dimension, each −1 or at least 1", str(list(tensor.dims)))
    if tensor.HasField("reshape"):
        yield from _reshape(model, at, list(tensor.dims), list(tensor.reshape.shape))
    if at.startswith("input") and tensor.format in _IMAGES and len(tensor.dims) != 3:
        yield model.error("dims", f"{at}.dims", "three dimensions, as format NHWC or NCHW has", str(list(tensor.dims)))
    yield from _of_plans(model, at, tensor)
    if at.startswith("input") and tensor.optional and model.backend == "onnxruntime" and model.config.max_batch_size > 0:
        expected = "false, or max_batch_size 0: ONNX Runtime's backend takes no optional input into a batch"
        yield model.error("optional", f"{at}.optional", expected, "true")


def _of_plans(model: ModelDirectory, at: str, tensor: Any) -> Iterator[Finding]:
    """Check what only TensorRT has."""
    if tensor.is_shape_tensor and model.backend != "tensorrt":
        expected = "false: only TensorRT has shape tensors"
        yield model.error("shape-tensor", f"{at}.is_shape_tensor", expected, f"true, backend {model.backend}")
    if tensor.is_non_linear_format_io and model.backend != "tensorrt":
        expected = "false: only TensorRT has other than linear formats"
        yield model.error("format", f"{at}.is_non_linear_format_io", expected, f"true, backend {model.backend}")
    elif tensor.is_non_linear_format_io and len(tensor.dims) != 3:
        yield model.error("dims", f"{at}.dims", "three dimensions beside is_non_linear_format_io", str(list(tensor.dims)))


def _reshape(model: ModelDirectory, at: str, dims: list[int], shape: list[int]) -> Iterator[Finding]:
    if not shape and model.config.max_batch_size == 0:
        yield model.error("reshape", f"{at}.reshape", "a shape, as the model does not batch", "an empty one")
    if any(dim < 1 and dim != -1 for dim in shape) or _runs(dims) != _runs(shape):
        expected = f"as many elements as dims {dims}, and between every two −1"
        yield model.error("reshape", f"{at}.reshape.shape", expected, str(shape))


def _runs(dims: list[int]) -> list[int]:
    """Return the elements before, between and behind the dimensions of −1.

    A reshape keeps each of these numbers.
    """
    counts = [1]
    for dim in dims:
        if dim == -1:
            counts.append(1)
        else:
            counts[-1] *= dim
    return counts


def _newer_fields(model: ModelDirectory) -> Iterator[RuleResult]:
    """Check the fields that Triton 2.51 does not know; protobufs.ModelConfig has them."""
    config = model.config
    if config.HasField("model_metrics"):
        yield model.unchecked("model_metrics", "Triton 2.52 and later know it, and earlier ones refuse the file")
    for number, control in enumerate(config.model_metrics.metric_control):
        at = f"model_metrics.metric_control[{number}]"
        if not control.metric_identifier.family:
            finding = model.error("metrics", f"{at}.metric_identifier.family", "the name of a histogram's family", "none")
            yield replace(finding, since="Triton 2.52")
        if not control.histogram_options.buckets:
            finding = model.error("metrics", f"{at}.histogram_options.buckets", "a bucket, or more", "none")
            yield replace(finding, since="Triton 2.52")
    if config.ensemble_scheduling.max_inflight_requests:
        why = "Triton 26.x knows it, first for each request alone and then for all of the ensemble together; 2.51 refuses the file"
        yield model.unchecked("max_inflight_requests", why)


def _texts(message: Message, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield (field, value) of every text in a message, such as parameters[gpu].string_value."""
    for field, value in message.ListFields():
        entry = field.message_type is not None and field.message_type.GetOptions().map_entry
        repeated = field.label == field.LABEL_REPEATED
        items = value.items() if entry else enumerate(value) if repeated else [("", value)]
        for key, item in items:
            place = f"{at}{field.name}[{key}]" if entry or repeated else f"{at}{field.name}"
            if isinstance(item, Message):
                yield from _texts(item, f"{place}.")
            elif isinstance(item, str):
                yield place, item
