"""What a served model counts about itself, on Triton's own metrics page. Copied into every served model version."""

from __future__ import annotations

import triton_python_backend_utils as pb  # its classes are put in after import: look them up when used
from engine import Result

_COUNTERS = {
    "slipway_tokens": "Tokens of the texts answered",
    "slipway_padding_tokens": "Padding tokens computed on top of them",
    "slipway_texts": "Texts answered",
    "slipway_micro_batches": "Runs of the engine",
    "slipway_truncated": "Texts cut at max_seq_len",
}


class Counters:
    """Counters labelled with the model's name and version."""

    def __init__(self, model: str, version: str) -> None:
        labels = {"model": model, "version": version}
        self._families = {
            name: pb.MetricFamily(name=name, description=text, kind=pb.MetricFamily.COUNTER) for name, text in _COUNTERS.items()
        }
        self._counters = {name: family.Metric(labels=labels) for name, family in self._families.items()}

    def count(self, result: Result, truncated: int = 0) -> None:
        for name, value in (
            ("slipway_tokens", result.tokens),
            ("slipway_padding_tokens", result.padding),
            ("slipway_texts", len(result.logits)),
            ("slipway_micro_batches", result.batches),
            ("slipway_truncated", truncated),
        ):
            self._counters[name].increment(value)
