"""Rules on the sequence batcher: control inputs, implicit states, its strategies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from slipway.lint.models import Finding, ModelDirectory, listed, type_name
from slipway.lint.rules.batching import check_preferred
from slipway.lint.rules.warmups import ELEMENT_BYTES

_Kind = pb.ModelSequenceBatching.Control.Kind
_SWITCHES = (_Kind.CONTROL_SEQUENCE_START, _Kind.CONTROL_SEQUENCE_END, _Kind.CONTROL_SEQUENCE_READY)
_VALUES = ("int32_false_true", "fp32_false_true", "bool_false_true")
_ID_TYPES = ("UINT64", "INT64", "UINT32", "INT32", "STRING")
_INITIAL = "initial_state"  # the directory beside the versions, too


def check_sequences(model: ModelDirectory) -> Iterator[Finding]:
    """Check what Triton's core validates of sequence_batching."""
    if not model.config.HasField("sequence_batching"):
        return
    batcher = model.config.sequence_batching
    yield from _control_inputs(model, batcher.control_input)
    yield from _states(model, batcher.state)
    yield from check_preferred(model, "sequence_batching.oldest", batcher.oldest.preferred_batch_size)
    share = batcher.direct.minimum_slot_utilization
    if not 0 <= share <= 1:
        at = "sequence_batching.direct.minimum_slot_utilization"
        yield model.error("sequence", at, "a share from 0 to 1", f"{share:g}")


def _control_inputs(model: ModelDirectory, inputs: Any) -> Iterator[Finding]:
    at = "sequence_batching.control_input"
    for name, times in Counter(control.name for control in inputs).items():
        if not name:
            yield model.error("sequence-control", at, "a name for every control input", "none")
        elif times > 1:
            yield model.error("sequence-control", at, "every control input once, its controls in it", f"{name} {times} times")
    kinds = Counter(control.kind for tensor in inputs for control in tensor.control)
    for kind, times in kinds.items():
        if kind in _Kind.values() and times > 1:
            yield model.error("sequence-control", at, f"one {_Kind.Name(kind)}", f"{times} of them")
    for tensor in inputs:
        for number, control in enumerate(tensor.control):
            yield from _control(model, f"{at}[{tensor.name}].control[{number}]", control)


def _control(model: ModelDirectory, at: str, control: Any) -> Iterator[Finding]:
    given = {field: len(getattr(control, field)) for field in _VALUES if getattr(control, field)}
    counts = ", ".join(f"{field} of {count}" for field, count in given.items())
    if control.kind in _SWITCHES and (len(given) != 1 or set(given.values()) != {2}):
        expected = f"two values, for false and for true, in one of {', '.join(_VALUES)}"
        yield model.error("sequence-control", at, expected, counts or "none")
    elif control.kind == _Kind.CONTROL_SEQUENCE_CORRID and given:
        yield model.error("sequence-control", at, "a data_type and no values", counts)
    elif control.kind == _Kind.CONTROL_SEQUENCE_CORRID and type_name(control.data_type) not in _ID_TYPES:
        expected = " or ".join(f"TYPE_{kind}" for kind in _ID_TYPES)
        yield model.error("sequence-control", f"{at}.data_type", expected, f"TYPE_{type_name(control.data_type)}")


def _states(model: ModelDirectory, states: Any) -> Iterator[Finding]:
    at = "sequence_batching.state"
    started = Counter(state.input_name for state in states if state.initial_state)
    for name, times in started.items():
        if times > 1:
            yield model.error("sequence-state", at, "every state's input once", f"{name} {times} times")
    for state in states:
        where = f"{at}[{state.input_name}].{_INITIAL}"
        if len(state.initial_state) > 1:
            yield model.error("sequence-state", where, "at most one", str(len(state.initial_state)))
        elif state.initial_state:
            yield from _initial_state(model, where, state, state.initial_state[0])


def _initial_state(model: ModelDirectory, at: str, state: Any, first: Any) -> Iterator[Finding]:
    """Check a first value as Triton's GenerateInitialStateData does; some faults end the server."""
    dims, wanted = list(first.dims), list(state.dims)
    if not first.name:
        yield model.error("sequence-state", f"{at}.name", "a name", "none")
    if first.data_type != state.data_type:
        expected = f"TYPE_{type_name(state.data_type)}, as the state has"
        yield model.error("sequence-state", f"{at}.data_type", expected, f"TYPE_{type_name(first.data_type)}")
    if len(dims) != len(wanted) or any(dim == -1 or want not in (-1, dim) for dim, want in zip(dims, wanted, strict=True)):
        yield model.error("sequence-state", f"{at}.dims", f"dims that fit the state's {wanted}, none of them −1", str(dims))
        return
    source = first.WhichOneof("state_data")
    if source is None:
        yield model.error("sequence-state", at, "zero_data or data_file", "neither")
    elif source == "data_file":
        yield from _state_file(model, f"{at}.data_file", first)


def _state_file(model: ModelDirectory, at: str, first: Any) -> Iterator[Finding]:
    path, size = model.path(_INITIAL, first.data_file), ELEMENT_BYTES.get(type_name(first.data_type), 0)
    wanted = math.prod(first.dims) * size
    if not path.is_file():
        yield model.error("sequence-state", at, f"{_INITIAL}/{first.data_file} in the model's directory", "no such file")
    elif path.stat().st_size < wanted:
        yield model.error("sequence-state", at, f"{wanted} bytes, as dims {listed(first.dims)} say", f"{path.stat().st_size} bytes")
