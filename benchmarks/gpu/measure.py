"""The contenders, and their rates on full batches, on AG News' lengths, and on a batch of one.

Contenders are every variant's session, the padded ones once more as CUDA graphs, and the same
weights in PyTorch. The gate has compared the variants; the others are compared here, by the same
counts and limits.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu import device as timing
from benchmarks.gpu import variants as gpu_variants
from benchmarks.gpu.device import Deadline, Device, speedup
from benchmarks.gpu.models import (
    AS_THEY_COME,
    CAPTURED,
    COMPILED,
    FUSED,
    LATE,
    MEASURED,
    PACKED,
    PADDED,
    PEER,
    SORTED,
    EngineVerdict,
    Flops,
    GpuModel,
    Lengths,
    flops,
    random_rows,
)
from slipway.contract import comparison
from slipway.contract.ragged import Feed, Logits, Ragged, infer_rows, length_sorted_batches, unpadded
from slipway.statistics import Floats, Ratio

# Batch × tokens, in order of interest: time may run out.
SHAPES = tuple((batch, tokens) for tokens in (128, 64, 32, 256) for batch in (32, 1, 256, 8, 128))
_BATCHES = 3  # of every shape, with fresh random ids
_CELL = 0.6  # seconds of timed rounds
_PASS = 2.0  # the same, for all of AG News' texts
_LONGEST_RUN, _LONGEST_PASS = 0.4, 0.5  # seconds; a contender that takes longer is left out there
OTHERWISE = "answers otherwise"  # a reason for leaving a contender out that fails the command
_AGREES = 0.05  # largest |Δlogit| between two contenders, of the largest |logit|: rounding is far below, another model above
_CAPTURED_TOKENS = 8192  # of a batch; beyond, kernels run long enough for the next launches to hide behind them
_COMPILING = 90.0  # seconds that have to be left for it
_BATCH = 64

Run = Callable[[], Any]  # of a batch; waits for its end


@dataclass(frozen=True)
class Contender:
    name: str
    prepare: Callable[[Feed], Run]
    padded: bool = True  # computes padding as text
    first_token_only: bool = True  # in its last layer, after attention
    first_query_only: bool = False  # and in that layer's attention
    most_tokens: int = 1 << 30  # of a batch, padding included
    captured: bool = False  # as a CUDA graph for each shape: no use for batches of many shapes

    def flops(self, model: GpuModel, lengths: Lengths) -> Flops:
        computed = np.full_like(lengths, lengths.max()) if self.padded else lengths
        return flops(model.bert, computed, first_token_only=self.first_token_only, first_query_only=self.first_query_only)


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


Compared = tuple[list[Contender], list[EngineVerdict]]  # who takes part, and how the answers compare with FP32


def variants(model: GpuModel, device: Device, skipped: dict[str, str]) -> list[Contender]:
    """Open every variant that has a file; adds to `skipped` those that cannot be opened, with ONNX
    Runtime's reason."""
    opened = []
    for name in (variant.name for variant in MEASURED if variant.name in model.files):
        try:
            session = device.open(model.files[name])
        except Exception as error:  # ONNX Runtime's: no kernel, no memory
            skipped[name] = why(error)
            continue
        # Only the canonical graph, which onnx_fp16 is a conversion of, leaves the last layer's
        # other queries out.
        opened.append(Contender(name, partial(device.bind, session), name != PACKED, first_query_only=name == "onnx_fp16"))
    return opened


def captured(model: GpuModel, device: Device, skipped: dict[str, str]) -> Compared:
    """Open the padded FP16 graphs with every batch as a CUDA graph."""
    if device.kind == "cpu":
        skipped |= dict.fromkeys(CAPTURED, "a CPU has no CUDA graphs")
        return [], []

    def open_captured(name: str) -> Contender:
        session = device.open(model.files[CAPTURED[name]], cuda_graph=True)
        return Contender(name, partial(device.bind, session, cuda_graph=True), most_tokens=_CAPTURED_TOKENS, captured=True)

    return _agreeing({name: partial(open_captured, name) for name in CAPTURED}, model, skipped)


def peers(model: GpuModel, device: Device, deadline: Deadline, skipped: dict[str, str]) -> Compared:
    """Open PyTorch's model, as it is and compiled."""
    if not importlib.util.find_spec("torch"):
        skipped[PEER] = skipped[COMPILED] = "no PyTorch in this environment"
        return [], []
    from benchmarks.gpu.torch_peer import TorchBert

    def open_peer(name: str) -> Contender:
        if name == COMPILED and deadline.left() < _COMPILING:
            raise TimeoutError(f"less than {_COMPILING:.0f} s are left, which compiling may take")
        return Contender(name, TorchBert(model.bert, device.kind, compiled=name == COMPILED).prepare, first_token_only=False)

    return _agreeing({name: partial(open_peer, name) for name in (PEER, COMPILED)}, model, skipped)


def _agreeing(candidates: Mapping[str, Callable[[], Contender]], model: GpuModel, skipped: dict[str, str]) -> Compared:
    """Return the candidates whose answers pass, and every verdict; adds the others to `skipped`,
    with the reason."""
    agreeing, verdicts = [], []
    for name, open_candidate in candidates.items():
        try:
            contender = open_candidate()
            verdict = compared(contender, model)
        except Exception as error:  # each runtime has its own, and PyTorch's compiler has many
            skipped[name] = why(error)
            continue
        verdicts.append(verdict)
        if verdict.passed:
            agreeing.append(contender)
        else:
            failures = "; ".join(map(str, verdict.failures))
            skipped[name] = f"it answers otherwise, so its speed says nothing: {failures}"
    return agreeing, verdicts


def compared(contender: Contender, model: GpuModel) -> EngineVerdict:
    golden, asked = model.golden, model.golden.asked
    logits = infer_rows(lambda feed: answers(contender.prepare(feed)), golden.ids, _BATCH)
    measured = comparison.compare(
        golden.logits[asked], logits[asked], golden.labels[asked], golden.lengths[asked], model.reference.labels
    )
    failures = comparison.judge(measured, gpu_variants.FUSED.limits)
    return EngineVerdict(
        variant=contender.name,
        passed=not failures,
        failures=failures,
        rows=measured.rows,
        flips=measured.flips,
        non_finite_rows=measured.non_finite_rows,
        flip_rate_bound=measured.flip_rate_bound,
        accuracy_loss_bound=measured.accuracy_loss_bound,
        logit_difference_max=measured.logit_difference_max,
    )


def answers(run: Run) -> Logits:
    """Return a run's logits: ONNX Runtime leaves them in its output, PyTorch returns them."""
    logits: Logits = run.logits() if hasattr(run, "logits") else run().float().cpu().numpy()
    return logits


def why(error: Exception) -> str:
    """Return an error in one line: PyTorch's compiler writes whole pages."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


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
        seconds, left_out = timing.interleaved(runs, device.empty_cache, _CELL, longest=_LONGEST_RUN)
        rates = _rates(fitting, model, seconds, [lengths], peak)
        cells.append(ShapeCell(rates, failed | left_out, _ratios(seconds), batch, tokens))
    return cells, skipped


def usable(contenders: list[Contender], feeds: list[Feed]) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Prepare the batches of every contender whose first run ends with the first contender's
    answers, but for rounding.

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
    """Return the rates of `seconds` [rounds], each for all of `batches`, the lengths of whose rows
    are given."""
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
    """Measure all `texts` in batches, in their own order and sorted by length; one run is a pass
    over all of them.

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
        seconds, left_out = timing.interleaved(passes, device.empty_cache, _PASS, longest=_LONGEST_PASS)
        rates = _rates(taking_part, model, seconds, [texts.lengths[rows] for rows in batches], peak)
        padding = 1 - texts.lengths.sum() / sum(feed["input_word_ids"].size for feed in feeds)
        cells[order] = NewsCell(rates, failed | left_out, _ratios(seconds), float(padding))
    return cells, skipped


def _run_all(runs: list[Run]) -> None:
    for run in runs:
        run()


def batch_of_one(contenders: list[Contender], device: Device, nodes: int, cells: list[ShapeCell]) -> BatchOfOne | None:
    """Compare the shortest text alone with its floor: one launch for each of `nodes` nodes, of
    kernels that compute nothing.

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
