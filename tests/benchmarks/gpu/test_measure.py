"""How contenders are timed, compared and counted, with stand-ins for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

from benchmarks.gpu import device as timing
from benchmarks.gpu import measure, models
from benchmarks.gpu.contenders import Contender
from benchmarks.gpu.device import Deadline, Device
from benchmarks.gpu.measure import EngineRate, ShapeCell
from benchmarks.gpu.models import flops
from benchmarks.models import make
from slipway.contract.ragged import Feed, Ragged
from slipway.statistics import Ratio

FEED: Feed = Ragged.of([[1, 2, 3], [4]]).padded()


def answering(name: str, logits: Any) -> Contender:
    return Contender(name, lambda _: mock.Mock(logits=lambda: np.array(logits, float)))


def refuse(*_: Any) -> Any:
    raise RuntimeError("out of memory\nand where")


def test_no_time_left_leaves_shapes_out(tiny: models.GpuModel, device: Device) -> None:
    cells, skipped = measure.grid(tiny, [], device, ((1, 8), (2, 8)), Deadline(-1), 1.0)
    assert cells == []
    assert skipped == {"1 × 8": "no time was left", "2 × 8": "no time was left"}


def test_who_answers_otherwise_or_fails_is_left_out_with_the_reason() -> None:
    broken = Contender("broken", lambda _: mock.Mock(logits=refuse))
    first, same, other = answering("a", [[1, -1]]), answering("same", [[1, -1.01]]), answering("other", [[1, -0.8]])
    kept, left_out = measure.usable([first, same, other, broken], [FEED])
    assert set(kept) == {"a", "same"}
    assert left_out["other"].startswith(measure.OTHERWISE)
    assert left_out["broken"] == "RuntimeError: out of memory"


def test_who_finds_no_memory_for_its_batches_does_not_cost_the_others() -> None:
    kept, left_out = measure.usable([Contender("large", refuse), answering("small", [[1, -1]])], [FEED])
    assert set(kept) == {"small"}
    assert left_out == {"large": "RuntimeError: out of memory"}


def test_a_nan_answers_otherwise() -> None:
    kept, _ = measure.usable([answering("a", [[1, -1]]), answering("nan", [[float("nan"), -1]])], [FEED])
    assert set(kept) == {"a"}


@pytest.mark.parametrize(("place", "agrees"), [((1, 2), True), ((0, 2), False)], ids=["padding", "text"])
def test_only_a_taggers_answers_to_text_are_compared(place: tuple[int, int], agrees: bool) -> None:
    logits = np.ones((2, 3, 4))
    otherwise = logits.copy()
    otherwise[place] = 0
    kept, _ = measure.usable([answering("a", logits), answering("b", otherwise)], [FEED])
    assert ("b" in kept) is agrees


@pytest.mark.parametrize("captured", [False, True])
def test_a_captured_graph_takes_part_in_full_rows_alone(captured: bool, tiny: models.GpuModel, device: Device) -> None:
    contender = dataclasses.replace(answering("a", [[1, -1]]), captured=captured)
    with mock.patch.object(measure, "interleaved", return_value=({}, {})) as timed:
        measure.ag_news(tiny, [contender], device, Ragged.of([[1, 2], [3]]), 2, Deadline(100), 1.0)
    assert all(bool(call.args[0]) is not captured for call in timed.call_args_list)


def test_each_contender_has_the_floor_of_its_way_to_launch() -> None:
    contenders = [answering("ort_fp16", []), dataclasses.replace(answering("ort_fp16 + CUDA graph", []), captured=True)]
    rate = EngineRate(1.0, (1.0, 1.0), 6, 1000.0, 32_000.0, 1.0, 0.1)
    cell = ShapeCell({contender.name: rate for contender in contenders}, {}, {}, batch=1, tokens=32)
    device = mock.Mock(launch_floor=lambda nodes, cuda_graph: nodes * (1e-5 if cuda_graph else 2e-5))
    alone = measure.batch_of_one(contenders, device, 20, [cell])
    assert alone is not None
    assert alone.contenders["ort_fp16"].over_floor == pytest.approx(2.5)
    assert alone.contenders["ort_fp16 + CUDA graph"].over_floor == pytest.approx(5)


def test_the_arithmetic_is_that_of_the_matrices() -> None:
    bert = make("tiny")  # 2 layers, hidden 32, intermediate 64, 4 labels
    counted = flops(bert, np.array([3]), first_token_only=False)
    assert counted.attention == 2 * (3 * 2 * 32 * 96 + 2 * 2 * 3 * 3 * 32)
    assert counted.matmul == 2 * 3 * (2 * 32 * 32 + 2 * 2 * 32 * 64) + 2 * 32 * 32 + 2 * 32 * 4


def test_one_query_a_row_computes_one_projection_and_one_line_of_scores() -> None:
    counted = flops(make("tiny"), np.array([3]), first_query_only=True)
    whole, last = 3 * 2 * 32 * 96 + 2 * 2 * 3 * 3 * 32, (1 + 3 + 3) * 2 * 32 * 32 + 2 * 2 * 1 * 3 * 32
    assert counted.attention == whole + last


def test_a_tagger_asks_for_every_token() -> None:
    tagger = dataclasses.replace(make("tiny"), pooler=None)
    counted = flops(tagger, np.array([3]), first_query_only=True)
    assert counted == flops(tagger, np.array([3]))


def test_a_last_layer_of_first_tokens_and_rows_without_padding_compute_less() -> None:
    bert, lengths = make("tiny"), np.array([3, 9])
    whole = flops(bert, lengths, first_token_only=False).total
    assert flops(bert, lengths).total < whole < flops(bert, np.array([9, 9]), first_token_only=False).total


def test_a_packed_text_costs_its_own_tokens(tiny: models.GpuModel) -> None:
    lengths = np.array([2, 10])
    packed, padded = (Contender("", refuse, padded).flops(tiny, lengths) for padded in (False, True))
    assert packed == flops(tiny.bert, lengths)
    assert padded == flops(tiny.bert, np.array([10, 10]))


def test_a_contender_that_takes_too_long_is_left_out_of_the_rounds() -> None:
    ran: list[str] = []

    def long() -> None:
        ran.append("long")
        timing.time.sleep(0.02)

    seconds, left_out = timing.interleaved({"short": [lambda: None], "long": [long]}, lambda: None, budget=0.0, longest=0.01)
    assert list(seconds) == ["short"]
    assert len(seconds["short"]) == 6
    assert "long" in left_out
    assert ran.count("long") == 2


def test_a_ratio_says_how_many_times_faster_ours_is() -> None:
    compared = timing.speedup(np.full(9, 0.3), np.full(9, 0.2))
    assert compared == Ratio(pytest.approx(1.5), pytest.approx((1.5, 1.5)))


def test_the_cache_is_emptied_before_every_timed_run() -> None:
    emptied = mock.Mock()
    nothing: Callable[[], None] = lambda: None  # noqa: E731
    seconds, _ = timing.interleaved({"a": [nothing], "b": [nothing]}, emptied, budget=0.0, longest=1.0)
    assert emptied.call_count == sum(map(len, seconds.values())) == 12
