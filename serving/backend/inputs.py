"""A request's tensors, or what is wrong with them. Copied into every served model version.

What reaches a model has passed Triton's checks of names, types and sizes; these are checks that it lacks (docs/bad_input.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import triton_python_backend_utils as pb

# Where a request's JSON ends and its binary data begins. Triton reads what is no number as 0, and then takes the whole body, JSON
# and all, for the text. serving/triton.py has it pass this header on.
_LENGTH_HEADER = "inference-header-content-length"
_SHOWN = 40  # characters


class Refused(ValueError):
    """What is wrong with a request."""


def read(request: Any, values: Callable[[Any], Any]) -> Any:
    """The request's `values`, or the Refused that was raised on the way."""
    try:
        _check_parameters(request)
        return values(request)
    except Refused as refused:
        return refused


def tensor(request: Any, name: str) -> np.ndarray:
    """An input, [rows, …]. Raises Refused when it has no rows: Triton then leaves out its first dimension."""
    found = pb.get_input_tensor_by_name(request, name).as_numpy()
    if found.ndim < 2 or not len(found):
        raise Refused(f"{name} is an empty batch: expected a shape of at least 1 row")
    return found


def _check_parameters(request: Any) -> None:
    """A parameter that nobody reads would be ignored without a word. Triton's own (timeout, priority …) are not among these."""
    for name, value in json.loads(request.parameters() or "{}").items():
        if name.lower() != _LENGTH_HEADER:
            raise Refused(f"expected no parameters, found {name[:_SHOWN]!r}")
        if not str(value).isdecimal():
            raise Refused(f"expected a number of bytes in the header {name}, found {str(value)[:_SHOWN]!r}")
