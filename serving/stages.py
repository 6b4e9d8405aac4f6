"""Where a request's time goes: Triton's statistics and the model's own metrics, before a load and after it.

Every figure is a sum over requests: a request waits for the whole of its batch, in each stage.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence

from serving.triton import Server

_OWN = {  # metrics of serving/backend/metrics.py
    "slipway_tokenizing_seconds": "tokenizing",
    "slipway_engine_seconds": "engine",
    "slipway_request_seconds_sum": "model",
    "slipway_tokens": "tokens",
    "slipway_padding_tokens": "padding",
}
_WITHOUT_TEXTS = {"tokenizing": 0.0}  # a model of ids counts none, and has it at 0


def read(server: Server, model: str) -> dict[str, float]:
    """What was counted of a model so far; seconds, requests, tokens. Raises OSError when the server does not answer."""
    with urllib.request.urlopen(f"http://{server.http}/v2/models/{model}/stats", timeout=10) as answer:
        found = json.load(answer)["model_stats"][-1]["inference_stats"]
    seconds = {name: found[name]["ns"] / 1e9 for name in ("success", "queue", "compute_input", "compute_infer", "compute_output")}
    return {
        "requests": float(found["success"]["count"]),
        "total": seconds["success"],
        "queue": seconds["queue"],
        "compute": seconds["compute_input"] + seconds["compute_infer"] + seconds["compute_output"],
        **_own(server.metrics(), model),
    }


def _own(page: str, model: str) -> dict[str, float]:
    """The model's own metrics; none of a model that has none."""
    found = {}
    for line in page.splitlines():
        name, _, rest = line.partition("{")
        if name in _OWN and f'model="{model}"' in rest:
            found[_OWN[name]] = float(rest.rpartition(" ")[2])
    return found


def mean(counted: Sequence[dict[str, float]], latency_ms: float, client_ms: float) -> dict[str, float] | None:
    """ms of one request in each stage, which together are its mean latency at the client; None where the model does not tell.

    `client_ms` is what the client itself took of the latency. What lies between it and Triton's own count is the network's and the
    protocol's, at least 0: they do not count quite the same requests.
    """
    of = {name: sum(one.get(name, 0.0) for one in counted) for name in counted[0]} if counted else {}
    if not of.get("requests") or not {"model", "engine"} <= of.keys():
        return None
    ms = {name: 1000 * value / of["requests"] for name, value in (_WITHOUT_TEXTS | of).items()}
    padding = ms["engine"] * (waste(counted) or 0.0)
    return {
        "client_ms": client_ms,
        "network_ms": max(0.0, latency_ms - client_ms - ms["total"]),
        "queue_ms": ms["queue"],
        "tokenizing_ms": ms["tokenizing"],
        "engine_ms": ms["engine"] - padding,
        "padding_ms": padding,
        "postprocessing_ms": max(0.0, ms["model"] - ms["tokenizing"] - ms["engine"]),
        "other_ms": max(0.0, ms["total"] - ms["queue"] - ms["model"]),  # Triton's own: between its processes and ours, copies
    }


def waste(counted: Sequence[dict[str, float]]) -> float | None:
    """Padding ÷ all tokens computed; None where the model does not tell."""
    tokens, padding = (sum(one.get(name, 0.0) for one in counted) for name in ("tokens", "padding"))
    return padding / (tokens + padding) if tokens else None
