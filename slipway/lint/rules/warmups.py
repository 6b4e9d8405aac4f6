"""Rules on model_warmup: every sample has to be a request that the model takes.

Triton does not load a version that refuses its sample.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

from slipway.lint.models import Finding, ModelDirectory, RuleResult, listed, names_of, type_name
from slipway.lint.rules.batching import CONCATENATES

_TYPES_OF_SIZE = {1: "BOOL UINT8 INT8", 2: "UINT16 INT16 FP16 BF16", 4: "UINT32 INT32 FP32", 8: "UINT64 INT64 FP64"}
ELEMENT_BYTES = {kind: size for size, kinds in _TYPES_OF_SIZE.items() for kind in kinds.split()}


def check_warmup(model: ModelDirectory) -> Iterator[RuleResult]:
    if model.config.model_warmup and model.backend == "python":
        yield model.unchecked("the answers to warm-up samples", "model.py is not run; Triton loads no version that fails one")
    for sample in model.config.model_warmup:
        at = f"model_warmup[{sample.name}]"
        if sample.batch_size == 0:
            yield model.warning("warmup", f"{at}.batch_size", "at least 1: Triton skips samples of batch 0", "0")
            continue
        most = max(1, model.config.max_batch_size)
        if sample.batch_size > most:
            yield model.by_backend("warmup", f"{at}.batch_size", f"at most {most}, as max_batch_size says", str(sample.batch_size))
        if model.config.input:
            yield from _names(model, sample, at)
        inputs = {tensor.name: tensor for tensor in model.config.input}
        for name, given in sorted(sample.inputs.items()):
            yield from _values(model, given, f"{at}.inputs[{name}]")
            if name in inputs:
                yield from _against_input(model, given, inputs[name], f"{at}.inputs[{name}]")


def _names(model: ModelDirectory, sample: Any, at: str) -> Iterator[Finding]:
    config = model.config
    inputs = names_of(config.input)
    controls = names_of(config.sequence_batching.control_input)
    controls |= {state.input_name for state in config.sequence_batching.state}
    if unknown := sample.inputs.keys() - inputs - controls:
        report = model.error if model.backend in CONCATENATES else model.warning  # Python models pass over it
        yield report("warmup", f"{at}.inputs", f"inputs of the model: {listed(inputs)}", listed(unknown))
    if missing := names_of(tensor for tensor in config.input if not tensor.optional) - sample.inputs.keys():
        yield model.error("warmup", f"{at}.inputs", f"every input, also {listed(missing)}", listed(sorted(sample.inputs)))


def _against_input(model: ModelDirectory, given: Any, tensor: Any, at: str) -> Iterator[Finding]:
    dims, wanted = list(given.dims), list(tensor.dims)
    if given.data_type != tensor.data_type:
        expected = f"TYPE_{type_name(tensor.data_type)}, as the input has"
        yield model.error("warmup", f"{at}.data_type", expected, f"TYPE_{type_name(given.data_type)}")
    if len(dims) != len(wanted) or any(want not in (-1, dim) for dim, want in zip(dims, wanted, strict=True)):
        yield model.error("warmup", f"{at}.dims", f"dims that fit the input's {wanted}, without the batch dimension", str(dims))


def _values(model: ModelDirectory, given: Any, at: str) -> Iterator[Finding]:
    source = given.WhichOneof("input_data_type")
    if any(dim < 0 for dim in given.dims):
        yield model.error("warmup", f"{at}.dims", "every dimension given", str(list(given.dims)))
    elif source is None:
        yield model.error("warmup", at, "zero_data, random_data or input_data_file", "none of them")
    elif source == "input_data_file":
        yield from _file(model, given, f"{at}.input_data_file")


def _file(model: ModelDirectory, given: Any, at: str) -> Iterator[Finding]:
    """Check that the file holds as many values of the type as dims say."""
    path, kind, elements = model.path("warmup", given.input_data_file), type_name(given.data_type), math.prod(given.dims)
    if not path.is_file():
        expected = f"warmup/{given.input_data_file} in the model's directory"
        yield model.error("warmup", at, expected, "a directory: Triton ends" if path.is_dir() else "no such file")
        return
    if not path.resolve().is_relative_to(model.directory.resolve()):
        expected = f"a file in {model.name}/warmup, which goes with the model wherever it is copied"
        yield model.warning("warmup", at, expected, f"{given.input_data_file}, outside of the model's directory")
    if kind == "STRING":
        count = _count_strings(path.read_bytes())
        expected = f"{elements} strings, each after its length in 4 bytes, little-endian"
        if count is None:
            yield model.by_backend("warmup", at, expected, "bytes that are no such strings")
        elif count != elements:
            yield model.error("warmup", at, expected, str(count))
    elif (size := path.stat().st_size) < (wanted := elements * ELEMENT_BYTES.get(kind, 0)):
        yield model.error("warmup", at, f"{wanted} bytes: {elements} of {kind}", f"{size} bytes")


def _count_strings(data: bytes) -> int | None:
    count = at = 0
    while at + 4 <= len(data):
        at += 4 + struct.unpack_from("<I", data, at)[0]
        count += 1
    return count if at == len(data) else None
