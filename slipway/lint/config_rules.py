"""Rules on a config.pbtxt alone: name, backend, tensors and labels; batches and instances."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from slipway.lint.models import (
    BACKEND_OF_PLATFORM,
    CONFIG,
    ENSEMBLE,
    Finding,
    ModelDirectory,
    RuleResult,
    listed,
    names_of,
    type_name,
)

_CONCATENATES = ("onnxruntime", "pytorch", "tensorflow", "tensorrt")  # a ragged input reaches the model as one long row
_PROFILE = re.compile(r".+:[0-9]+(x[0-9]+)*")


def check_config(model: ModelDirectory) -> Iterator[RuleResult]:
    yield from _name_and_backend(model)
    for kind in ("input", "output"):
        tensors = getattr(model.config, kind)
        for tensor in tensors:
            yield from _tensor(model, f"{kind}[{tensor.name}]", tensor)
        for name, times in Counter(tensor.name for tensor in tensors).items():
            if times > 1:
                yield model.error("name-twice", kind, f"one {kind} of each name", f"{name} {times} times")
    yield from _labels(model)


def _name_and_backend(model: ModelDirectory) -> Iterator[Finding]:
    config = model.config
    if config.name and config.name != model.name:
        yield model.error("name", "name", f"{model.name}, the name of the directory", config.name)
    implied = BACKEND_OF_PLATFORM.get(config.platform)
    if not model.backend:
        expected = "a backend, a platform that Triton knows, or a model file of a default name"
        yield model.error("backend", "backend", expected, f'backend: "{config.backend}", platform: "{config.platform}"')
    elif config.backend and implied not in (None, config.backend):
        expected = f"{implied}, the backend of platform {config.platform}"
        if implied == ENSEMBLE:
            expected = "no backend: this is an ensemble"
        yield model.error("backend", "backend", expected, config.backend)


def _tensor(model: ModelDirectory, at: str, tensor: Any) -> Iterator[Finding]:
    """Check a tensor as Triton's ValidateIOShape does."""
    if not tensor.name:
        yield model.error("name", f"{at}.name", "a name", "none")
    if type_name(tensor.data_type) == "INVALID":
        yield model.error("dtype", f"{at}.data_type", "a data_type", "none that Triton knows")
    if not tensor.dims or any(dim < 1 and dim != -1 for dim in tensor.dims):
        yield model.error("dims", f"{at}.dims", "at least one dimension, each −1 or at least 1", str(list(tensor.dims)))
    if tensor.is_shape_tensor and model.backend != "tensorrt":
        expected = "false: only TensorRT has shape tensors"
        yield model.error("shape-tensor", f"{at}.is_shape_tensor", expected, f"true, backend {model.backend}")
    if tensor.HasField("reshape"):
        yield from _reshape(model, at, list(tensor.dims), list(tensor.reshape.shape))
    if at.startswith("input") and tensor.format and len(tensor.dims) != 3:
        yield model.error("dims", f"{at}.dims", "three dimensions, as format NHWC or NCHW has", str(list(tensor.dims)))


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


def _labels(model: ModelDirectory) -> Iterator[RuleResult]:
    for tensor in model.config.output:
        if not tensor.label_filename:
            continue
        path, at = model.directory / tensor.label_filename, f"output[{tensor.name}].label_filename"
        if not path.is_file():
            yield model.error("labels", at, f"{model.name}/{tensor.label_filename}, beside {CONFIG}", "no such file")
        elif -1 in tensor.dims:
            yield model.unchecked(f"labels of {tensor.name}", f"dims {list(tensor.dims)} do not say how many there are")
        else:
            wanted, lines = math.prod(tensor.dims), len(path.read_bytes().splitlines())
            if lines != wanted:
                expected = f"{wanted} labels, as dims {list(tensor.dims)} say"
                yield model.error("labels", at, expected, f"{lines} lines in {tensor.label_filename}")


def check_batching(model: ModelDirectory) -> Iterator[Finding]:
    yield from _batching(model)
    yield from _ragged(model)
    yield from _batch_inputs(model)
    yield from _instances(model)
    for accelerator in model.config.optimization.execution_accelerators.gpu_execution_accelerator:
        yield from _provider_profile(model, dict(accelerator.parameters))


def _batching(model: ModelDirectory) -> Iterator[Finding]:
    config, most = model.config, model.config.max_batch_size
    if most < 0:
        yield model.error("max-batch-size", "max_batch_size", "0, or the largest batch", str(most))
    if config.HasField("dynamic_batching"):
        if most == 0:
            expected = "a max_batch_size of at least 1 beside dynamic_batching, which has nothing to batch otherwise"
            yield model.warning("dynamic-batching", "dynamic_batching", expected, "max_batch_size 0")
        yield from _preferred(model, "dynamic_batching", config.dynamic_batching.preferred_batch_size)
        levels, default = config.dynamic_batching.priority_levels, config.dynamic_batching.default_priority_level
        if levels and not 1 <= default <= levels:
            expected = f"1 to {levels}, the number of priority_levels"
            yield model.error("priority", "dynamic_batching.default_priority_level", expected, str(default))
    if config.HasField("sequence_batching"):
        yield from _preferred(model, "sequence_batching.oldest", config.sequence_batching.oldest.preferred_batch_size)


def _preferred(model: ModelDirectory, at: str, sizes: Any) -> Iterator[Finding]:
    wrong = [size for size in sizes if not 1 <= size <= model.config.max_batch_size]
    if wrong:
        expected = f"sizes from 1 to max_batch_size, {model.config.max_batch_size}"
        yield model.error("preferred-batch-size", f"{at}.preferred_batch_size", expected, listed(wrong))


def _ragged(model: ModelDirectory) -> Iterator[Finding]:
    config = model.config
    batches = config.HasField("dynamic_batching") or config.HasField("sequence_batching")
    described = {name for entry in (*config.batch_input, *config.batch_output) for name in entry.source_input}
    ragged = [tensor for tensor in config.input if tensor.allow_ragged_batch]
    for tensor in ragged:
        at = f"input[{tensor.name}].allow_ragged_batch"
        if config.max_batch_size == 0 or not batches:
            expected = "max_batch_size of at least 1 and dynamic_batching, without which requests never share a batch"
            batcher = "a batcher" if batches else "no batcher"
            yield model.warning("ragged", at, expected, f"max_batch_size {config.max_batch_size}, {batcher}")
        if -1 not in tensor.dims:
            expected = "a dimension of −1, without which no two requests differ in shape"
            yield model.warning("ragged", at, expected, f"dims {list(tensor.dims)}")
        # One description may do for several inputs: ids and segment ids have the same length.
        if model.backend in _CONCATENATES and not described & names_of(ragged):
            expected = f"a batch_input with source_input {tensor.name}: {model.backend} joins the requests into one row"
            yield model.error("ragged", at, expected, "nothing tells the model where one request ends and the next begins")


def _batch_inputs(model: ModelDirectory) -> Iterator[Finding]:
    """Check batch inputs and outputs as Triton's ValidateBatchIO does."""
    for number, entry in enumerate(model.config.batch_input):
        at = f"batch_input[{number}]"
        yield from _batch_entry(model, at, entry, bool(entry.target_name), "the model's input that is filled")
        if (dtype := type_name(entry.data_type)) not in ("INT32", "FP32"):
            yield model.error("batch-input", f"{at}.data_type", "TYPE_INT32 or TYPE_FP32", f"TYPE_{dtype}")
    outputs = names_of(model.config.output)
    for number, entry in enumerate(model.config.batch_output):
        targets_fit = bool(entry.target_name) and set(entry.target_name) <= outputs
        yield from _batch_entry(model, f"batch_output[{number}]", entry, targets_fit, f"outputs: {listed(outputs)}")


def _batch_entry(model: ModelDirectory, at: str, entry: Any, targets_fit: bool, expected: str) -> Iterator[Finding]:
    inputs = names_of(model.config.input)
    if len(entry.source_input) != 1 or not set(entry.source_input) <= inputs:
        yield model.error("batch-input", f"{at}.source_input", f"one of the inputs: {listed(inputs)}", listed(entry.source_input))
    if not targets_fit:
        yield model.error("batch-input", f"{at}.target_name", expected, listed(entry.target_name))


def _instances(model: ModelDirectory) -> Iterator[Finding]:
    for number, group in enumerate(model.config.instance_group):
        at = f"instance_group[{number}]"
        numbers = all(re.fullmatch(r"[0-9]+", profile) for profile in group.profile)
        if group.profile and not (numbers and model.backend == "tensorrt"):
            expected = "numbers of optimization profiles, and only of a TensorRT plan"
            yield model.error("profile", f"{at}.profile", expected, f"{listed(group.profile)}, backend {model.backend}")
        if group.gpus and group.kind in (pb.ModelInstanceGroup.KIND_CPU, pb.ModelInstanceGroup.KIND_MODEL):
            yield model.error("instance-group", f"{at}.gpus", "no GPUs beside KIND_CPU or KIND_MODEL", listed(group.gpus))


def _provider_profile(model: ModelDirectory, parameters: dict[str, str]) -> Iterator[Finding]:
    """Check the shapes of ONNX Runtime's TensorRT provider against max_batch_size."""
    most = model.config.max_batch_size
    for key, outermost, wanted in (("trt_profile_min_shapes", min, 1), ("trt_profile_max_shapes", max, most)):
        at = f"optimization.execution_accelerators.gpu_execution_accelerator.parameters[{key}]"
        entries = [entry.strip() for entry in parameters.get(key, "").split(",") if entry.strip()]
        if wrong := [entry for entry in entries if not _PROFILE.fullmatch(entry)]:
            yield model.error("profile", at, "input:1x128, separated by commas", listed(wrong))
        elif most > 0:
            for name, sizes in _batch_sizes(entries).items():
                if outermost(*sizes, wanted) != outermost(sizes):
                    expected = f"batches from 1 to max_batch_size, {most}: for others an engine is built while serving"
                    yield model.warning("profile", at, expected, f"{name} from {min(sizes)} to {max(sizes)}")


def _batch_sizes(entries: list[str]) -> dict[str, list[int]]:
    """Return input → first dimensions: an input has an entry for every profile."""
    sizes: dict[str, list[int]] = {}
    for entry in entries:
        name, _, shape = entry.rpartition(":")
        sizes.setdefault(name, []).append(int(shape.split("x")[0]))
    return sizes
