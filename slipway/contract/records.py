"""The records of a run: their names, and JSON as frozen dataclasses; where a server is, its
largest batch and its deadlines.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

REPOSITORIES = {"embedded": "model_repository", "ngc": "model_repository_ngc"}  # target → directory of a run
REPOSITORY = "repository.json"  # the manifest of model_repository/
README = "README.md"  # of the published repository: it is in git, and no manifest lists it
SERVED = "served.json"
ENDPOINT = "endpoint.json"  # as served.json, of a server that --address named
BENCHMARK = "benchmark.json"
ENDPOINT_BENCHMARK = "endpoint_benchmark.json"  # of a server that --address named
BENCHMARK_SCHEMA = 2  # docs/benchmark.schema.json
TUNING = "tuning.json"

HOST = "127.0.0.1"  # the embedded server listens there, and nowhere else
TEXT_MODEL = "text_classifier"
# Texts in a batch of the embedded server, and in one request of our clients. A batch holds the
# texts that arrived while the one before it ran: 32 texts of 52 tokens keep a core busy for a tenth
# of a second. Larger ones no longer raise throughput, but others wait behind them
# (docs/log/serving.md). A TensorRT engine in NVIDIA's container takes no more, either
# (serving/repository/ngc.py).
MAX_BATCH = 32
DEADLINE = 60.0  # seconds for a whole call of a client: all its requests, retries and pauses
RETRIES = 3  # of each request of a client, and only when the server is unavailable
# What the front of `slipway serve` says to a request that it refuses for now; our clients know it.
NO_ROOM = "more requests than can be answered in time, or the server is starting: ask again after a pause"
T = TypeVar("T")


@dataclass(frozen=True)
class Ports:
    """Where `slipway serve` listens on HOST."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


def from_json(kind: type[T], value: Any) -> T:
    """Return a JSON value as the type `kind`: an object as a dataclass, an array as it says.

    Keys that a dataclass does not have are ignored. Of a union the first dataclass is taken whose
    keys are all there. Raises TypeError where a key is missing.
    """
    built: T = _built(kind, value)
    return built


def _built(kind: Any, value: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if value is None:
        return None
    if origin is UnionType:
        structures = [part for part in parts if is_dataclass(part) or get_origin(part)]
        complete = [part for part in structures if _has_keys_of(part, value)]
        return _built((complete or structures or [None])[0], value)
    if origin in (list, tuple):
        return origin(_built(parts[0], item) for item in value)
    if getattr(origin, "__name__", "") == "ndarray":
        import numpy as np  # here: `slipway doctor` also runs before it is installed

        return np.array(value, float)
    if origin is dict:
        return {name: _built(parts[1], item) for name, item in value.items()}
    if is_dataclass(kind):
        build: Any = kind
        types = _field_types(build)
        return build(**{name: _built(types[name], value[name]) for name in types if name in value})
    return value


def _has_keys_of(kind: Any, value: Any) -> bool:
    if not is_dataclass(kind):
        return True
    return {field.name for field in fields(kind) if field.default is MISSING} <= set(value)


@cache
def _field_types(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
