"""A served model that runs an engine, and what it counts on Triton's own metrics page.

Padding waste is padding_tokens / (tokens + padding_tokens); the wait before a request's batch is
nv_inference_queue_duration_us. Copied beside every model that runs an engine.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engine
import triton_python_backend_utils as pb  # its classes are put in after import: look them up when used
from engine import Ids, Inference, Logits
from outputs import ServedModel

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


class EngineModel(ServedModel):
    """A served model whose `answers` come from one `run` of its engine."""

    def initialize(self, arguments: dict[str, str]) -> None:
        super().initialize(arguments)
        self._engine = engine.load(Path(__file__).parent, self.settings)
        self.counters = Counters(arguments["model_name"], arguments["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        started = time.perf_counter()
        responses = super().execute(requests)
        with contextlib.suppress(Exception):  # requests are answered whatever becomes of the counting
            self.counters.answered(responses, time.perf_counter() - started)
        return responses

    def run(self, rows: Sequence[Ids], types: Sequence[Ids] | None, requests: int, truncated: int = 0) -> Sequence[Logits]:
        """Return the rows' logits (engine.Inference), for which so many requests wait."""
        started = time.perf_counter()
        inference = self._engine.run(rows, types)
        self.counters.waited("engine", requests, time.perf_counter() - started)
        self.counters.ran(inference, truncated)
        return inference.logits


class Counters:
    """Counters and a histogram of one version of a model. Each call to Triton takes about 10 µs."""

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

    def ran(self, inference: Inference, truncated: int) -> None:
        for name, value in (
            ("slipway_tokens", inference.tokens),
            ("slipway_padding_tokens", inference.padding),
            ("slipway_texts", len(inference.logits)),
            ("slipway_batches", 1),
            ("slipway_micro_batches", inference.batches),
            ("slipway_truncated", truncated),
        ):
            self._counters[name].increment(value)

    def waited(self, stage: str, requests: int, seconds: float) -> None:
        """Count the time that requests waited for a stage of their batch: tokenizing or engine."""
        self._counters[f"slipway_{stage}_seconds"].increment(requests * seconds)

    def answered(self, responses: list[Any], seconds: float) -> None:
        """Count a batch of requests, each of which waited this long from its arrival."""
        for _ in responses:
            self._seconds.observe(seconds)
        if errors := sum(response.has_error() for response in responses):
            self._counters["slipway_errors"].increment(errors)
