"""The time of a text in one process, by part: tokenizing, padding, transfer to the GPU, engine."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.gpu.device import Device
from benchmarks.gpu.models import GpuModel
from benchmarks.gpu.tables import ServingLimit
from slipway.contract.ragged import Logits, Ragged
from slipway.contract.tokenizer import Tokenizer
from slipway.contract.variants import Variant

PARTS = ("tokenizing", "padding", "transfer", "engine")
_PASSES = 5  # over all texts; the first warms up


def measure(model: GpuModel, variant: Variant, device: Device, texts: list[Any], batch: int) -> tuple[ServingLimit, Logits]:
    """Measure the limit; return it with the logits [texts, labels].

    Batches hold `batch` texts as they come, as a server under load puts them together.
    """
    source = model.reference
    tokenize = Tokenizer(source.vocabulary, lower_case=source.lower_case, max_seq_len=source.max_seq_len)
    session = device.open(model.files[variant.name])
    passes: list[Any] = []
    logits: list[Logits] = []
    for _ in range(_PASSES):
        seconds, logits = np.zeros(len(PARTS)), []
        for start in range(0, len(texts), batch):
            took, answers = _batch(tokenize, session, device, texts[start : start + batch])
            seconds += took
            logits.append(answers)
        passes.append(seconds)
    median = np.median(passes[1:], axis=0)
    limit = ServingLimit(
        texts_per_second=len(texts) / float(median[PARTS.index("engine")]),
        texts_per_second_with_all_parts=len(texts) / float(median.sum()),
        shares=dict(zip(PARTS, (median / median.sum()).tolist(), strict=True)),
        batch=batch,
        passes=_PASSES - 1,
    )
    return limit, np.concatenate(logits)


def _batch(tokenize: Tokenizer, session: Any, device: Device, texts: list[Any]) -> tuple[Any, Logits]:
    """Return the seconds of each of PARTS, and the logits."""
    marks = [time.perf_counter()]
    tokens = tokenize(texts)
    marks.append(time.perf_counter())
    feed = Ragged.of([row.ids for row in tokens], [row.types for row in tokens]).padded()
    marks.append(time.perf_counter())
    run = device.bind(session, feed)
    marks.append(time.perf_counter())
    run()
    marks.append(time.perf_counter())
    logits = np.array(run.output.numpy())
    back = time.perf_counter() - marks[-1]
    return np.diff(marks) + np.array([0.0, 0.0, back, 0.0]), logits
