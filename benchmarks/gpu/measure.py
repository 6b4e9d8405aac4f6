"""Rates of the contenders on full batches, on AG News' lengths, and on a batch of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.gpu.contenders import Contender, Run, answers, why
from benchmarks.gpu.device import Deadline, Device, interleaved, speedup
from benchmarks.gpu.models import AS_THEY_COME, CAPTURED, FUSED, LATE, PADDED, SORTED, GpuModel, Lengths, random_rows
from slipway.contract.ragged import Feed, Ragged, length_sorted_batches, unpadded
from slipway.statistics import Floats, Ratio

# Batch × tokens, in order of interest: time may run out.
SHAPES = tuple((batch, tokens) for tokens in (128, 64, 32, 256) for batch in (32, 1, 256, 8, 128))
_BATCHES = 3  # of every shape, with fresh random ids
_CELL = 0.6  # seconds of timed rounds
_PASS = 2.0  # the same, for all of AG News' texts
_LONGEST_RUN, _LONGEST_PASS = 0.4, 0.5  # seconds; a contender that takes longer is left out there
OTHERWISE = "answers otherwise"  # a reason for leaving a contender out that fails the command
_AGREES = 0.05  # largest |Δlogit| between two contenders, of the largest |logit|: rounding is far below, another model above


@dataclass(frozen=True)
class EngineRate:
    """One contender on one cell."""

    ms: float  # median
    ms_quartiles: tuple[float, float]
    rounds: int
    sequences_per_second: float
    tokens_per_second: float
    tflops: float
    share_of_peak: float


@dataclass(frozen=True)
class Cell:
    """All contenders on the same batches, in turn."""

    contenders: dict[str, EngineRate]
    left_out: dict[str, str]  # contender → why
    ratios: dict[str, Ratio]  # contender → how many times faster than the padded FP16 graph


@dataclass(frozen=True)
class ShapeCell(Cell):
    """Batches of full rows."""

    batch: int
    tokens: int


@dataclass(frozen=True)
class NewsCell(Cell):
    """All of AG News' texts in one order."""

    padding: float  # share of the tokens


@dataclass(frozen=True)
class LaunchRow:
    """A batch of one, beside the launches that it takes at least."""

    ms: float
    floor_ms: float
    over_floor: float


@dataclass(frozen=True)
class BatchOfOne:
    tokens: int
    nodes: int
    contenders: dict[str, LaunchRow]


def grid(
    model: GpuModel, contenders: list[Contender], device: Device, shapes: Sequence[tuple[int, int]], deadline: Deadline, peak: float
) -> tuple[list[ShapeCell], dict[str, str]]:
    """Measure every shape with rows of full length; returns shape → why it was left out, too.

    `peak` is in TFLOP/s.
    """
    cells: list[ShapeCell] = []
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
        fitting = [contender for contender in contenders if feeds[0]["input_word_ids"].size <= contender.most_tokens]
        runs, failed = usable(fitting, feeds)
        seconds, left_out = interleaved(runs, device.empty_cache, _CELL, longest=_LONGEST_RUN)
        rates = _rates(fitting, model, seconds, [lengths], peak)
        cells.append(ShapeCell(rates, failed | left_out, _ratios(seconds), batch, tokens))
    return cells, skipped


def usable(contenders: list[Contender], feeds: list[Feed]) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Prepare the batches of those who answer the first as the first contender, but for rounding.

    Returns name → runs, and name → why the others are left out.
    """
    kept: dict[str, list[Run]] = {}
    left_out, expected = {}, None
    for contender in contenders:
        try:
            runs = [contender.prepare(feed) for feed in feeds]
            logits = unpadded(answers(runs[0]), feeds[0])
        except Exception as error:  # each runtime has its own; one that fails must not cost the others' results
            left_out[contender.name] = why(error)
            continue
        expected = logits if expected is None else expected
        difference, allowed = float(np.abs(logits - expected).max()), _AGREES * float(np.abs(expected).max())
        if difference <= allowed:
            kept[contender.name] = runs
        else:
            left_out[contender.name] = f"{OTHERWISE}: |Δlogit| {difference:.2g}, where {allowed:.2g} is allowed"
    return kept, left_out


def _rates(
    contenders: list[Contender], model: GpuModel, seconds: dict[str, Floats], batches: list[Lengths], peak: float
) -> dict[str, EngineRate]:
    measured = [contender for contender in contenders if contender.name in seconds]
    return {contender.name: _rate(contender, model, seconds[contender.name], batches, peak) for contender in measured}


def _rate(contender: Contender, model: GpuModel, seconds: Floats, batches: list[Lengths], peak: float) -> EngineRate:
    """Return the rates of `seconds` [rounds], each for all `batches` (their rows' lengths)."""
    low, median, high = (float(value) for value in np.percentile(seconds, (25, 50, 75)))
    tflops = sum(contender.flops(model, lengths).total for lengths in batches) / median / 1e12
    return EngineRate(
        ms=median * 1e3,
        ms_quartiles=(low * 1e3, high * 1e3),
        rounds=len(seconds),
        sequences_per_second=sum(map(len, batches)) / median,
        tokens_per_second=float(sum(lengths.sum() for lengths in batches)) / median,
        tflops=tflops,
        share_of_peak=tflops / peak,
    )


def _ratios(seconds: dict[str, Floats]) -> dict[str, Ratio]:
    baseline = seconds.get(FUSED)
    return {} if baseline is None else {name: speedup(baseline, times) for name, times in seconds.items()}


def ag_news(
    model: GpuModel, contenders: list[Contender], device: Device, texts: Ragged, batch: int, deadline: Deadline, peak: float
) -> tuple[dict[str, NewsCell], dict[str, str]]:
    """Measure all `texts` in batches, as they come and sorted by length; a run is a whole pass.

    Returns order → cell, and order → why there is none.
    """
    in_turn = [np.arange(start, min(start + batch, len(texts))) for start in range(0, len(texts), batch)]
    taking_part = [contender for contender in contenders if not contender.captured]
    cells, skipped = {}, {}
    for order, batches in ((AS_THEY_COME, in_turn), (SORTED, list(length_sorted_batches(texts.lengths, batch)))):
        if deadline.left() < 0:
            skipped[f"AG News, {order}"] = LATE
            continue
        feeds = [texts.take(rows).padded() for rows in batches]
        runs, failed = usable(taking_part, feeds)
        passes = {name: [partial(_run_all, batches)] for name, batches in runs.items()}
        seconds, left_out = interleaved(passes, device.empty_cache, _PASS, longest=_LONGEST_PASS)
        rates = _rates(taking_part, model, seconds, [texts.lengths[rows] for rows in batches], peak)
        padding = 1 - texts.lengths.sum() / sum(feed["input_word_ids"].size for feed in feeds)
        cells[order] = NewsCell(rates, failed | left_out, _ratios(seconds), float(padding))
    return cells, skipped


def _run_all(runs: list[Run]) -> None:
    for run in runs:
        run()


def batch_of_one(contenders: list[Contender], device: Device, nodes: int, cells: list[ShapeCell]) -> BatchOfOne | None:
    """Compare the shortest text alone with its floor: a launch of nothing for each node.

    `nodes` are the same for all: those of the graph with the simplest mask.
    """
    alone = min((cell for cell in cells if cell.batch == 1), key=lambda cell: cell.tokens, default=None)
    if alone is None or not nodes:
        return None
    graphs = [contender for contender in contenders if contender.name in (*PADDED, *CAPTURED)]
    measured = [contender for contender in graphs if contender.name in alone.contenders]
    floors = {way: device.launch_floor(nodes, cuda_graph=way) * 1e3 for way in {contender.captured for contender in measured}}
    rows = {}
    for contender in measured:
        ms, floor = alone.contenders[contender.name].ms, floors[contender.captured]
        rows[contender.name] = LaunchRow(ms, floor, ms / floor)
    return BatchOfOne(alone.tokens, nodes, rows)
