"""What is measured of a model: full batches of many shapes, AG News' own lengths, and a batch of one against its launches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu import timing
from benchmarks.gpu.contenders import Contender, answers, why
from benchmarks.gpu.device import Device
from benchmarks.gpu.models import Model, random_rows
from benchmarks.gpu.records import AS_THEY_COME, CAPTURED, FUSED, LATE, PADDED, SORTED
from benchmarks.gpu.timing import Deadline
from benchmarks.ratios import Floats
from train.ragged import Feed, Ragged, length_sorted_batches, unpadded

# Batch × tokens, those first that are asked for first: time may run out.
SHAPES = tuple((batch, tokens) for tokens in (128, 64, 32, 256) for batch in (32, 1, 256, 8, 128))
_BATCHES = 3  # of every shape, with fresh random ids
_CELL = 0.6  # seconds of timed rounds
_PASS = 2.0  # the same, for all of AG News' texts
_LONGEST_RUN, _LONGEST_PASS = 0.4, 0.5  # seconds; a contender that takes longer is left out there
OTHERWISE = "answers otherwise"  # why a contender is left out that should not be: the command fails then
_AGREES = 0.05  # largest |Δlogit| between two contenders, of the largest |logit|: rounding is far below, another model far above

Run = Callable[[], Any]  # of a batch; waits for its end


def grid(
    model: Model, contenders: list[Contender], device: Device, shapes: tuple[tuple[int, int], ...], deadline: Deadline, peak: float
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """One record a shape, every row of full length, and shape → why it was left out. `peak` in TFLOP/s."""
    cells: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for number, (batch, tokens) in enumerate(shapes):
        if deadline.left() < 0:
            skipped |= {f"{rows} × {length}": LATE for rows, length in shapes[number:]}
            break
        if tokens > len(model.bert.position_embeddings):
            skipped[f"{batch} × {tokens}"] = f"the model has {len(model.bert.position_embeddings)} positions"
            continue
        lengths = np.full(batch, tokens)
        feeds = [random_rows(model.bert, lengths, seed).padded() for seed in range(_BATCHES)]
        cells.append({"batch": batch, "tokens": tokens, **_cell(model, contenders, device, feeds, lengths, peak)})
    return cells, skipped


def _cell(
    model: Model, contenders: list[Contender], device: Device, feeds: list[Feed], lengths: Any, peak: float
) -> dict[str, Any]:
    fitting = [one for one in contenders if feeds[0]["input_word_ids"].size <= one.most_tokens]
    kept, failed = usable(fitting, feeds)
    seconds, left_out = timing.interleaved(kept, device.empty_cache, _CELL, longest=_LONGEST_RUN)
    rows = {one.name: _rates(one, model, seconds[one.name], [lengths], peak) for one in fitting if one.name in seconds}
    return {"contenders": rows, "left_out": failed | left_out, "ratios": _ratios(seconds)}


def usable(contenders: list[Contender], feeds: list[Feed]) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Name → runs of the batches, of those who run the first one to its end and answer as the first of them does, but for
    rounding; and why the others do not."""
    kept: dict[str, list[Run]] = {}
    left_out, expected = {}, None
    for one in contenders:
        try:
            runs = [one.prepare(feed) for feed in feeds]
            logits = unpadded(answers(runs[0]), feeds[0])
        except Exception as error:  # each runtime has its own; one that fails must not cost what the others have to show
            left_out[one.name] = why(error)
            continue
        expected = logits if expected is None else expected
        difference, allowed = float(np.abs(logits - expected).max()), _AGREES * float(np.abs(expected).max())
        if difference <= allowed:
            kept[one.name] = runs
        else:
            left_out[one.name] = f"{OTHERWISE}: |Δlogit| {difference:.2g}, where {allowed:.2g} is allowed"
    return kept, left_out


def _rates(one: Contender, model: Model, seconds: Floats, batches: list[Any], peak: float) -> dict[str, Any]:
    """`seconds` [rounds] for all of `batches`, each the lengths of its rows."""
    median = float(np.median(seconds))
    tflops = sum(one.flops(model, lengths).total for lengths in batches) / median / 1e12
    return {
        "ms": median * 1e3,
        "ms_quartiles": [float(value) * 1e3 for value in np.percentile(seconds, (25, 75))],
        "rounds": len(seconds),
        "sequences_per_second": sum(map(len, batches)) / median,
        "tokens_per_second": float(sum(lengths.sum() for lengths in batches)) / median,
        "tflops": tflops,
        "share_of_peak": tflops / peak,
    }


def _ratios(seconds: dict[str, Floats]) -> dict[str, dict[str, Any]]:
    """How many times faster each contender is than the padded FP16 graph, in the same rounds."""
    base = seconds.get(FUSED)
    return {} if base is None else {name: timing.ratio(base, found) for name, found in seconds.items()}


def ag_news(
    model: Model, contenders: list[Contender], device: Device, texts: Ragged, batch: int, deadline: Deadline, peak: float
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """All `texts` in batches, in their own order, and sorted by length: a record each, or why there is none.

    A pass over all of them is one run.
    """
    in_turn = [np.arange(start, min(start + batch, len(texts))) for start in range(0, len(texts), batch)]
    taking_part = [one for one in contenders if not one.captured]
    found, skipped = {}, {}
    for order, batches in ((AS_THEY_COME, in_turn), (SORTED, list(length_sorted_batches(texts.lengths, batch)))):
        if deadline.left() < 0:
            skipped[f"AG News, {order}"] = LATE
            continue
        feeds = [texts.take(rows).padded() for rows in batches]
        runs, failed = usable(taking_part, feeds)
        passes = {name: [_all(batches)] for name, batches in runs.items()}
        seconds, left_out = timing.interleaved(passes, device.empty_cache, _PASS, longest=_LONGEST_PASS)
        lengths = [texts.lengths[rows] for rows in batches]
        rows = {one.name: _rates(one, model, seconds[one.name], lengths, peak) for one in taking_part if one.name in seconds}
        padding = 1 - texts.lengths.sum() / sum(feed["input_word_ids"].size for feed in feeds)
        found[order] = {"padding": float(padding), "contenders": rows, "left_out": failed | left_out, "ratios": _ratios(seconds)}
    return found, skipped


def _all(runs: list[Run]) -> Callable[[], None]:
    def everything() -> None:
        for run in runs:
            run()

    return everything


def batch_of_one(contenders: list[Contender], device: Device, nodes: int, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The shortest text alone against its floor: as many launches as the graph has nodes, of kernels that compute nothing.

    `nodes` are the same for all: those of the graph with the simplest mask.
    """
    alone = min((cell for cell in cells if cell["batch"] == 1), key=lambda cell: int(cell["tokens"]), default=None)
    if alone is None or not nodes:
        return {}
    measured = [one for one in contenders if one.name in alone["contenders"] and one.name in (*PADDED, *CAPTURED)]
    floors = {captured: device.launch_floor(nodes, cuda_graph=captured) * 1e3 for captured in {one.captured for one in measured}}
    rows = {}
    for one in measured:
        took, floor = alone["contenders"][one.name]["ms"], floors[one.captured]
        rows[one.name] = {"ms": took, "floor_ms": floor, "over_floor": took / floor}
    return {"tokens": alone["tokens"], "nodes": nodes, "contenders": rows}
