"""Rules on a version's model file: it is there, can be read, and fits config.pbtxt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway.lint.models import CONFIG, ENSEMBLE, Finding, ModelDirectory, RuleResult, listed, names_of, type_name
from slipway.lint.rules.python_models import check_source
from slipway.lint.signatures import DEFAULT_SIGNATURE, ExternalData, FileTensor, Signature, read_onnx, read_savedmodel

_NO_SIGNATURE = {
    "tensorrt": "a plan can be read by TensorRT alone, on a GPU of its kind",
    "python": "a Python model declares none",
    "pytorch": "TorchScript names no outputs",
}


def check_model_file(model: ModelDirectory, version: Path) -> Iterator[RuleResult]:
    """Check what one of the known backends opens in a version directory."""
    at = version.name
    if not model.is_known:
        return
    if not any(version.iterdir()):
        expected = "a model: the loader of Triton 2.51 waits for ever, or the backend refuses it"
        yield model.finding("error", "version-empty", at, expected, "an empty directory")
    else:
        yield from _model_file(model, version / model.model_file, f"{at}/{model.model_file}")


def unread(model: ModelDirectory) -> Iterator[RuleResult]:
    """Say what of the model files is not looked at."""
    if model.backend == "tensorflow":
        yield model.unchecked("the backend tensorflow", "NVIDIA's containers have it up to 25.02")
    if not model.is_known and model.backend not in ("", ENSEMBLE):
        yield model.unchecked("model file", f"what the backend {model.backend} reads is not known here")
    elif model.backend not in ("onnxruntime", "tensorflow", "", ENSEMBLE):
        why = _NO_SIGNATURE.get(model.backend, f"nothing here reads {model.model_file}")
        yield model.unchecked("names, dtypes and dims against the model file", why)


def _model_file(model: ModelDirectory, path: Path, at: str) -> Iterator[RuleResult]:
    if not path.exists() and model.config.cc_model_filenames:
        yield model.unchecked(f"model file of {path.parent.name}", "which of cc_model_filenames is opened depends on the GPU")
    elif not path.exists():
        expected = f"{path.name}, which the backend {model.backend} opens"
        yield model.finding("error", "model-file", at, expected, listed(names_of(path.parent.iterdir())))
    elif path.is_file() and path.stat().st_size == 0:
        yield model.finding("error", "model-file", at, "a model", "an empty file")
    elif model.backend == "python" and path.is_file():
        yield from check_source(model, path, at)
    elif model.backend in ("onnxruntime", "tensorflow"):
        try:
            signature = _read_onnx(path) if model.backend == "onnxruntime" else _read_savedmodel(model, path)
        except ValueError as error:
            yield model.finding("error", "model-file", at, "a model that can be read", str(error))
            return
        if signature is None:
            why = "of TensorFlow's only the signature serving_default of a SavedModel is read, or the one TF_SIGNATURE_DEF names"
            yield model.unchecked(f"names, dtypes and dims against {at}", why)
        else:
            yield from _signature(model, signature, at)


def _read_onnx(path: Path) -> Signature:
    return read_onnx(path / "model.onnx" if path.is_dir() else path)  # large ones are a directory


def _read_savedmodel(model: ModelDirectory, path: Path) -> Signature | None:
    if path.is_file():  # a frozen graph
        return None
    parameters = model.config.parameters
    named = parameters["TF_SIGNATURE_DEF"].string_value if "TF_SIGNATURE_DEF" in parameters else ""
    return read_savedmodel(path, named or DEFAULT_SIGNATURE)


def _signature(model: ModelDirectory, signature: Signature, at: str) -> Iterator[RuleResult]:
    for data in signature.external:
        yield from _external(model, data, at)
    if model.auto_completed:
        yield model.unchecked(f"names, dtypes and dims against {at}", f"{CONFIG} leaves inputs or outputs to the backend")
    yield from _input_names(model, signature, at)
    if unknown := names_of(model.config.output) - signature.outputs.keys():
        yield model.error("name", "output", f"outputs of {at}: {listed(sorted(signature.outputs))}", listed(unknown))
    for tensor in model.config.input:
        if tensor.name in signature.inputs:
            yield from _compare(model, tensor, f"input[{tensor.name}]", signature.inputs[tensor.name], at, exact=False)
    scattered = {name for entry in model.config.batch_output for name in entry.target_name}  # shaped by Triton
    for tensor in model.config.output:
        if tensor.name in signature.outputs and tensor.name not in scattered:
            exact = model.backend == "onnxruntime"
            yield from _compare(model, tensor, f"output[{tensor.name}]", signature.outputs[tensor.name], at, exact)


def _external(model: ModelDirectory, data: ExternalData, at: str) -> Iterator[Finding]:
    """Check a file of weights: there, long enough, and in the directory of the ONNX file."""
    if data.size is None:
        yield model.finding("error", "model-file", at, f"the weights in {data.name}, beside it", "no such file")
    elif data.size < data.end:
        expected = f"at least {data.end} bytes of weights in {data.name}"
        yield model.finding("error", "model-file", at, expected, f"{data.size} bytes")
    elif data.is_outside:
        expected = "weights beside it or below: other files are none of this model"
        finding = model.finding("error", "model-file", at, expected, data.name)
        yield replace(finding, since="ONNX Runtime 1.24")


def _input_names(model: ModelDirectory, signature: Signature, at: str) -> Iterator[Finding]:
    config = model.config
    declared = names_of(config.input)
    filled = {name for entry in config.batch_input for name in entry.target_name}
    filled |= names_of(config.sequence_batching.control_input)
    filled |= {state.input_name for state in config.sequence_batching.state}
    if unknown := (declared | filled) - signature.inputs.keys():
        yield model.error("name", "input", f"inputs of {at}: {listed(sorted(signature.inputs))}", listed(unknown))
    missing = signature.inputs.keys() - declared - filled - signature.overridable
    if config.input and missing:
        yield model.error("name", "input", f"all inputs of {at}, also {listed(missing)}", listed(declared))


def _compare(model: ModelDirectory, tensor: Any, field: str, has: FileTensor, at: str, exact: bool) -> Iterator[Finding]:
    declared = type_name(tensor.data_type)
    if has.type and declared not in (has.type, "INVALID"):
        yield model.error("dtype", f"{field}.data_type", f"TYPE_{has.type}, as {at} has", f"TYPE_{declared}")
    if not has.shape:  # not declared, or a scalar
        return
    if field.startswith("input") and tensor.allow_ragged_batch:
        if has.shape != (-1,):
            expected = f"an input [-1] in {at}, which gets all requests in one row"
            yield model.error("ragged", f"{field}.allow_ragged_batch", expected, str(list(has.shape)))
    else:
        dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
        yield from _dims(model, f"{field}.dims", dims, has.shape, at, exact)


def _dims(model: ModelDirectory, field: str, dims: list[int], shape: tuple[int, ...], at: str, exact: bool) -> Iterator[Finding]:
    batched = model.config.max_batch_size > 0
    if batched and shape[0] != -1:
        expected = f"max_batch_size 0, or −1 in front: {at} has {list(shape)}"
        yield model.error("batch-dimension", "max_batch_size", expected, f"max_batch_size {model.config.max_batch_size}")
    elif not _fits(shape[1:] if batched else shape, dims, exact):
        expected = f"{list(shape)}, as {at} has"
        if batched:
            expected = f"dims {list(shape[1:])}: {at} has {list(shape)}, the batch in front"
        yield model.error("dims", field, expected, str(dims))


def _fits(shape: tuple[int, ...], dims: list[int], exact: bool) -> bool:
    """Compare as Triton's backends do: config.pbtxt may fix lengths that the file leaves open.

    `exact`: it may not, which holds for the outputs of an ONNX file.
    """
    return len(shape) == len(dims) and all(has == dim or (has == -1 and not exact) for has, dim in zip(shape, dims, strict=True))
