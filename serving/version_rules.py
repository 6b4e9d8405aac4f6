"""What can be wrong in a model's version directories: none, empty ones, a missing model file, a signature that is another one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving import onnx_signature, savedmodel_signature
from serving.findings import Finding, Found
from serving.onnx_signature import FileTensor, Signature
from serving.repository_models import CONFIG, ENSEMBLE, VERSION, Model, listed, type_name

_MEANT_AS_VERSION = re.compile(r"[vV]?[0-9][0-9._]*")
_NO_SIGNATURE = {
    "tensorrt": "a plan can be read by TensorRT alone, on a GPU of its kind",
    "python": "a Python model declares none",
    "pytorch": "TorchScript names no outputs",
}


def check(model: Model) -> Iterator[Found]:
    yield from _version_names(model)
    for version in model.versions:
        at = str(version.relative_to(model.directory))
        if model.backend == ENSEMBLE:  # its version directory is empty by design
            continue
        if not any(version.iterdir()):
            expected = "a model: an empty version directory freezes the loader of Triton 2.51 for ever"
            yield model.finding("error", "version-empty", at, expected, "an empty directory")
        elif model.model_file:
            yield from _model_file(model, version / model.model_file, f"{at}/{model.model_file}")
    if not model.model_file and model.backend not in ("", ENSEMBLE):
        yield model.unchecked("model file", f"what the backend {model.backend} reads is not known here")
    elif model.backend not in ("onnxruntime", "tensorflow", "", ENSEMBLE):
        why = _NO_SIGNATURE.get(model.backend, f"nothing here reads {model.model_file}")
        yield model.unchecked("names, dtypes and dims against the model file", why)


def _version_names(model: Model) -> Iterator[Finding]:
    if not model.versions:
        yield model.finding("error", "version-missing", "1", "at least one version directory, for example 1", "none")
    for path in sorted(model.directory.iterdir()):
        if path.is_dir() and _MEANT_AS_VERSION.fullmatch(path.name) and not VERSION.fullmatch(path.name):
            expected = "a number that does not begin with 0; Triton ignores others"
            yield model.finding("warning", "version-name", path.name, expected, path.name)
    wanted = {str(version) for version in model.config.version_policy.specific.versions}
    there = {path.name for path in model.versions}
    if missing := sorted(wanted - there):
        expected, found = f"versions that are there: {listed(sorted(there))}", listed(missing)
        says = model.warning if wanted & there else model.error
        yield says("version-policy", "version_policy.specific.versions", expected, found)


def _model_file(model: Model, path: Path, at: str) -> Iterator[Found]:
    if not path.exists():
        others = listed(sorted(one.name for one in path.parent.iterdir()))
        yield model.finding("error", "model-file", at, f"{path.name}, which the backend {model.backend} opens", others)
    elif path.is_file() and path.stat().st_size == 0:
        yield model.finding("error", "model-file", at, "a model", "an empty file")
    elif model.backend in ("onnxruntime", "tensorflow"):
        try:
            signature = _onnx(path) if model.backend == "onnxruntime" else _savedmodel(model, path)
        except ValueError as error:
            yield model.finding("error", "model-file", at, "a model that can be read", str(error))
            return
        if signature is None:
            why = "of TensorFlow's only the signature serving_default of a SavedModel is read, or the one TF_SIGNATURE_DEF names"
            yield model.unchecked(f"names, dtypes and dims against {at}", why)
        else:
            yield from _signature(model, signature, at)


def _onnx(path: Path) -> Signature:
    return onnx_signature.read(path / path.name if path.is_dir() else path)  # large ones are a directory


def _savedmodel(model: Model, path: Path) -> Signature | None:
    if path.is_file():  # a frozen graph
        return None
    named = model.config.parameters["TF_SIGNATURE_DEF"].string_value if "TF_SIGNATURE_DEF" in model.config.parameters else ""
    return savedmodel_signature.read(path, named or savedmodel_signature.DEFAULT_SIGNATURE)


def _signature(model: Model, signature: Signature, at: str) -> Iterator[Found]:
    for name in signature.missing_files:
        yield model.finding("error", "model-file", at, f"the weights in {name}, beside it", "no such file")
    if model.auto_completed:
        yield model.unchecked(f"names, dtypes and dims against {at}", f"{CONFIG} leaves inputs or outputs to the backend")
    yield from _input_names(model, signature, at)
    outputs = {one.name for one in model.config.output}
    if unknown := sorted(outputs - signature.outputs.keys()):
        yield model.error("name", "output", f"outputs of {at}: {listed(sorted(signature.outputs))}", listed(unknown))
    for tensor in model.config.input:
        if tensor.name in signature.inputs:
            yield from _compare(model, tensor, f"input[{tensor.name}]", signature.inputs[tensor.name], at, exact=False)
    scattered = {name for one in model.config.batch_output for name in one.target_name}  # shaped by Triton
    for tensor in model.config.output:
        if tensor.name in signature.outputs and tensor.name not in scattered:
            exact = model.backend == "onnxruntime"
            yield from _compare(model, tensor, f"output[{tensor.name}]", signature.outputs[tensor.name], at, exact)


def _input_names(model: Model, signature: Signature, at: str) -> Iterator[Finding]:
    config = model.config
    declared = {one.name for one in config.input}
    filled = {name for one in config.batch_input for name in one.target_name}
    filled |= {one.name for one in config.sequence_batching.control_input}
    filled |= {one.input_name for one in config.sequence_batching.state}
    if unknown := sorted((declared | filled) - signature.inputs.keys()):
        yield model.error("name", "input", f"inputs of {at}: {listed(sorted(signature.inputs))}", listed(unknown))
    missing = sorted(signature.inputs.keys() - declared - filled - signature.overridable)
    if config.input and missing:
        yield model.error("name", "input", f"all inputs of {at}, also {listed(missing)}", listed(sorted(declared)))


def _compare(model: Model, tensor: Any, field: str, has: FileTensor, at: str, exact: bool) -> Iterator[Finding]:
    declared = type_name(tensor.data_type)
    if has.type and declared not in (has.type, "INVALID"):
        yield model.error("dtype", f"{field}.data_type", f"TYPE_{has.type}, as {at} has", f"TYPE_{declared}")
    if not has.shape:  # not said, or a scalar
        return
    if field.startswith("input") and tensor.allow_ragged_batch:
        yield from _one_row(model, field, has.shape, at)
    else:
        dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
        yield from _dims(model, f"{field}.dims", dims, has.shape, at, exact)


def _one_row(model: Model, field: str, shape: tuple[int, ...], at: str) -> Iterator[Finding]:
    if shape != (-1,):
        expected = f"an input [-1] in {at}, which gets all requests in one row"
        yield model.error("ragged", f"{field}.allow_ragged_batch", expected, str(list(shape)))


def _dims(model: Model, field: str, dims: list[int], shape: tuple[int, ...], at: str, exact: bool) -> Iterator[Finding]:
    batched = model.config.max_batch_size > 0
    if batched and shape[0] != -1:
        expected = f"max_batch_size 0, or −1 in front: {at} has {list(shape)}"
        yield model.error("batch-dimension", "max_batch_size", expected, f"max_batch_size {model.config.max_batch_size}")
    elif not _fits(shape[1:] if batched else shape, dims, exact):
        expected = (
            f"dims {list(shape[1:])}: {at} has {list(shape)}, the batch in front" if batched else f"{list(shape)}, as {at} has"
        )
        yield model.error("dims", field, expected, str(dims))


def _fits(shape: tuple[int, ...], dims: list[int], exact: bool) -> bool:
    """As Triton's backends compare: of inputs, config.pbtxt may fix what the file leaves open; of ONNX outputs it may not."""
    return len(shape) == len(dims) and all(has == dim or (has == -1 and not exact) for has, dim in zip(shape, dims, strict=True))
