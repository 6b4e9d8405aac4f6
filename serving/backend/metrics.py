"""What a served model counts about itself, on Triton's own metrics page. Copied into every served model version.

Padding waste is padding_tokens / (tokens + padding_tokens); micro-batches a batch, micro_batches / batches; a latency's percentile,
histogram_quantile over request_seconds. How long requests waited before, Triton counts: nv_inference_queue_duration_us.
"""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb  # its classes are put in after import: look them up when used
from engine import Result

_COUNTERS = {
    "slipway_tokens": "Tokens of the texts answered",
    "slipway_padding_tokens": "Padding tokens computed on top of them",
    "slipway_texts": "Texts answered",
    "slipway_batches": "Batches of texts, as Triton's batcher made them",
    "slipway_micro_batches": "Runs of the engine that they were cut into",
    "slipway_truncated": "Texts cut at max_seq_len",
    "slipway_tokenizing_seconds": "Seconds that requests waited while their batch was tokenized",
    "slipway_engine_seconds": "Seconds that requests waited while the engine ran their batch",
    "slipway_errors": "Requests refused, or failed on; Triton counts them as successes",
}
_SECONDS = "slipway_request_seconds"
_UP_TO = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]


class Counters:
    """Counters and a histogram, labelled with the model's name and version. Each call of Triton's takes about 10 µs."""

    def __init__(self, model: str, version: str) -> None:
        labels = {"model": model, "version": version}
        self._families = {
            name: pb.MetricFamily(name=name, description=text, kind=pb.MetricFamily.COUNTER) for name, text in _COUNTERS.items()
        }
        self._counters = {name: family.Metric(labels=labels) for name, family in self._families.items()}
        self._seconds_family = pb.MetricFamily(
            name=_SECONDS, description="Seconds a request's batch was in the model", kind=pb.MetricFamily.HISTOGRAM
        )
        self._seconds = self._seconds_family.Metric(labels=labels, buckets=_UP_TO)

    def count(self, result: Result, truncated: int = 0) -> None:
        """One batch."""
        for name, value in (
            ("slipway_tokens", result.tokens),
            ("slipway_padding_tokens", result.padding),
            ("slipway_texts", len(result.logits)),
            ("slipway_batches", 1),
            ("slipway_micro_batches", result.batches),
            ("slipway_truncated", truncated),
        ):
            self._counters[name].increment(value)

    def waited(self, stage: str, requests: int, seconds: float) -> None:
        """So many requests waited so long for a stage of their batch: tokenizing, engine."""
        self._counters[f"slipway_{stage}_seconds"].increment(requests * seconds)

    def answered(self, responses: list[Any], seconds: float) -> None:
        """One batch of requests, all of which waited this long: from its arrival to its answers."""
        for _ in responses:
            self._seconds.observe(seconds)
        if errors := sum(response.has_error() for response in responses):
            self._counters["slipway_errors"].increment(errors)
