"""Rules on a config.pbtxt alone: its name, backend, inputs, outputs and labels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from serving.findings import Finding, RuleResult
from serving.repository_models import BACKEND_OF_PLATFORM, CONFIG, ENSEMBLE, ModelDirectory, type_name


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
