"""The latency breakdown: from Triton's statistics and the model's own metrics, around a load.

Every counter is a sum over requests: a request waits for the whole of its batch, in each stage.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.server.triton import Server

Counters = dict[str, float]  # seconds, requests and tokens since the model was loaded
_METRICS = {  # of serving/backend/metrics.py
    "slipway_tokenizing_seconds": "tokenizing",
    "slipway_engine_seconds": "engine",
    "slipway_request_seconds_sum": "model",
    "slipway_tokens": "tokens",
    "slipway_padding_tokens": "padding",
}


@dataclass(frozen=True, slots=True)
class LatencyBreakdown:
    """Mean time of one request in each stage, ms; together about its mean latency at the client."""

    client_ms: float
    network_ms: float  # and protocol
    queue_ms: float
    tokenizing_ms: float
    engine_ms: float  # without what padding took of it
    padding_ms: float
    postprocessing_ms: float
    other_ms: float  # Triton's own: between its processes and ours, copies


def read(server: Server, model: str) -> Counters:
    """Return a model's counters. Raises OSError when the server does not answer."""
    with urllib.request.urlopen(f"http://{server.http}/v2/models/{model}/stats", timeout=10) as answer:
        statistics = json.load(answer)["model_stats"][-1]["inference_stats"]
    return {
        "requests": float(statistics["success"]["count"]),
        "total": statistics["success"]["ns"] / 1e9,
        "queue": statistics["queue"]["ns"] / 1e9,
        **_own_metrics(server.metrics(), model),
    }


def _own_metrics(page: str, model: str) -> Counters:
    """Return the counters that a model of Slipway's own backend keeps; none of another model."""
    counters = {}
    for line in page.splitlines():
        name, _, rest = line.partition("{")
        if name in _METRICS and f'model="{model}"' in rest:
            counters[_METRICS[name]] = float(rest.rpartition(" ")[2])
    return counters


def mean(counted: Sequence[Counters], latency_ms: float, client_ms: float) -> LatencyBreakdown | None:
    """Return the latency breakdown of `counted`, one difference of counters a round.

    None where the model does not tell. `latency_ms`: the requests' mean at the client, of which
    the client itself took `client_ms`. The difference to Triton's own count is the network's and
    the protocol's; at least 0, because the two do not count quite the same requests.
    """
    sums = {name: sum(counters.get(name, 0.0) for counters in counted) for name in counted[0]} if counted else {}
    if not sums.get("requests") or not {"model", "engine"} <= sums.keys():
        return None
    ms = {name: 1000 * value / sums["requests"] for name, value in sums.items()}
    tokenizing = ms.get("tokenizing", 0.0)  # ids models: not counted
    padding = ms["engine"] * (waste(counted) or 0.0)
    return LatencyBreakdown(
        client_ms=client_ms,
        network_ms=max(0.0, latency_ms - client_ms - ms["total"]),
        queue_ms=ms["queue"],
        tokenizing_ms=tokenizing,
        engine_ms=ms["engine"] - padding,
        padding_ms=padding,
        postprocessing_ms=max(0.0, ms["model"] - tokenizing - ms["engine"]),
        other_ms=max(0.0, ms["total"] - ms["queue"] - ms["model"]),
    )


def waste(counted: Sequence[Counters]) -> float | None:
    """Return padding ÷ all tokens computed; None where the model does not tell."""
    tokens, padding = (sum(counters.get(name, 0.0) for counters in counted) for name in ("tokens", "padding"))
    return padding / (tokens + padding) if tokens else None
