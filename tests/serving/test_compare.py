"""Two runs on one page: accuracy row by row, speed without a verdict, differences marked, other corpora refused."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import compare, page, run_difference
from tests import browser
from tests.serving import reported
from tests.serving.test_report import PLOTS, said
from train.errors import ManifestError


def better() -> dict[str, Any]:
    return reported.facts("runs/b", right=0.97, golden=reported.golden(0.97, seed=1))


def by_name(lines: list[run_difference.Line]) -> dict[str, run_difference.Line]:
    return {line.what: line for line in lines}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium: apt-get install chromium")
def test_a_browser_draws_the_plots_of_both_and_asks_for_nothing(tmp_path: Path) -> None:
    page.write(tmp_path / "compare.html", compare.render(reported.facts(), better()))
    with browser.opened(tmp_path / "compare.html", tmp_path / "profile", width=500) as opened:
        assert set(opened.evaluate(browser.DRAWN)) == {f"{name}_{letter}" for name in PLOTS - {"ratios"} for letter in "AB"}
        assert opened.evaluate(browser.REPEATED) == []
        assert opened.evaluate(browser.WIDTH_TOO_MUCH) <= 0
        assert (opened.requested, opened.errors) == ([], [])


def test_the_more_accurate_run_is_named_by_the_texts_that_it_alone_has_right() -> None:
    line = by_name(run_difference.lines(reported.facts(), better()))["test accuracy, FP32 SavedModel"]
    assert line.differs
    assert line.says.startswith("B is more accurate: of 400 texts only B has ")


def test_a_difference_that_may_be_chance_is_none() -> None:
    one, other = reported.facts(), reported.facts("runs/b", golden=reported.golden(0.9, seed=3))
    line = by_name(run_difference.lines(one, other))["test accuracy, FP32 SavedModel"]
    assert not line.differs
    assert line.says.startswith("No difference in accuracy can be shown: ")


def test_other_held_out_texts_are_said_and_not_compared() -> None:
    golden = reported.golden()
    golden.texts[0] = "another"
    line = by_name(run_difference.lines(reported.facts(), reported.facts("runs/b", golden=golden)))[
        "test accuracy, FP32 SavedModel"
    ]
    assert "cannot be compared row by row" in line.says


def test_speed_has_no_verdict() -> None:
    row = reported.row("text_classifier", throughput=reported.figure(400.0))
    fast = reported.benchmark(rows=[row], **reported.NOTHING_COMPARED)
    line = by_name(run_difference.lines(reported.facts(), reported.facts("runs/b", benchmark=fast)))["most texts/s"]
    assert (line.sides, line.says) == (("200 (190–210)", "400 (380–420)"), "measured at different times: no verdict")
    assert not line.differs


def test_a_variant_that_one_run_lacks_is_marked() -> None:
    fewer = reported.facts("runs/b", parity=[reported.parity("ort_fp32", [])])
    line = by_name(run_difference.lines(reported.facts(), fewer))["ort_int8: flips, loss below"]
    assert (line.sides[1], line.says, line.differs) == ("–", "B has none", True)


def test_only_what_was_made_otherwise_is_listed() -> None:
    other = copy.deepcopy(better())
    other["bundle"]["hyper_parameters"]["epochs"] = 3
    lines = run_difference.made_otherwise(reported.facts(), other)
    assert [(line.what, line.sides) for line in lines] == [("epochs", ("1", "3"))]


@pytest.mark.parametrize("what", ["corpora", "tasks", "labels"])
def test_runs_that_have_nothing_in_common_are_refused(what: str) -> None:
    other = copy.deepcopy(better())
    other["bundle"]["corpus"]["sha256"] = "b" * 64 if what == "corpora" else reported.SHA
    other["bundle"]["task"] = "text_pair" if what == "tasks" else "single_text"
    other["labels"] = ["yes", "no"] if what == "labels" else reported.LABELS
    with pytest.raises(ManifestError, match=f"two runs of different {what} cannot be compared"):
        compare.render(reported.facts(), other)


def test_plots_side_by_side_have_the_same_axes() -> None:
    row = reported.row("text_classifier", p99_ms={**reported.figure(9000.0), "needs": 368, "enough": True})
    slow = reported.benchmark(rows=[row], **reported.NOTHING_COMPARED)
    html = compare.render(reported.facts(), reported.facts("runs/b", benchmark=slow))
    ranges = [html.split(f'"{name}",', 1)[1].split('"type":"log","range":')[1].split("]")[0] for name in ("latency_A", "latency_B")]
    assert ranges[0] == ranges[1]
    assert np.log10(9000) < float(ranges[0].split(",")[1])


def test_texts_that_the_two_answer_differently_can_be_read() -> None:
    assert "· A says" in said(compare.render(reported.facts(), better()))
