"""Two runs on one page: accuracy row by row, speed without a verdict, other corpora refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.report.compare import ComparedFact, compared_facts, provenance_differences, render_comparison
from serving.report.html import write_page
from serving.report.records import RunRecords
from slipway.errors import ManifestError
from tests.serving.report.test_report import CUT, CUT_TABLES, PLOTS, UNFOLD, text_in
from tests.support import browser
from tests.support.serving import benchmark_records


def better() -> RunRecords:
    return benchmark_records.run("runs/b", right=0.97, golden=benchmark_records.golden(0.97, seed=1))


def fact(name: str, b: RunRecords) -> ComparedFact:
    """A fact of a run and of `b`."""
    return next(fact for fact in compared_facts(benchmark_records.run(), b) if fact.name == name)


def accuracy(b: RunRecords) -> ComparedFact:
    return fact("test accuracy, FP32 SavedModel", b)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium: apt-get install chromium")
def test_a_browser_draws_the_plots_of_both_and_asks_for_nothing(tmp_path: Path) -> None:
    write_page(tmp_path / "compare.html", render_comparison(benchmark_records.run(), better()))
    with browser.opened(tmp_path / "compare.html", tmp_path / "profile", width=390) as opened:
        assert set(opened.evaluate(browser.DRAWN)) == {f"{name}_{letter}" for name in PLOTS - {"ratios"} for letter in "AB"}
        assert opened.evaluate(browser.REPEATED) == []
        assert opened.evaluate(browser.WIDTH_TOO_MUCH) <= 0
        opened.evaluate(UNFOLD)
        assert opened.evaluate(CUT) == opened.evaluate(CUT_TABLES) == []
        assert (opened.requested, opened.errors) == ([], [])


def test_the_more_accurate_run_is_named_and_the_line_marked() -> None:
    compared = accuracy(better())
    assert (compared.differs, compared.verdict.css) == (True, "good")
    assert compared.verdict.text.startswith("B ")


def test_a_difference_that_may_be_chance_is_none() -> None:
    compared = accuracy(benchmark_records.run("runs/b", golden=benchmark_records.golden(0.9, seed=3)))
    assert (compared.differs, compared.verdict.css) == (False, "soft")


def test_accuracies_on_other_held_out_texts_are_not_compared() -> None:
    golden = benchmark_records.golden()
    golden.texts[0] = "another"
    compared = accuracy(benchmark_records.run("runs/b", golden=golden))
    assert (compared.differs, compared.verdict.css) == (False, "wait")


def test_speed_has_no_verdict() -> None:
    row = benchmark_records.row("text_classifier", throughput=benchmark_records.figure(400.0))
    fast = benchmark_records.benchmark(rows=[row], **benchmark_records.NOTHING_COMPARED)
    compared = fact("texts/s", benchmark_records.run("runs/b", benchmark=fast))
    assert compared.sides == ("200 (190–210)", "400 (380–420)")
    assert (compared.differs, compared.verdict.css) == (False, "soft")


def test_a_run_whose_measurements_do_not_count_has_no_speed() -> None:
    row = benchmark_records.row("text_classifier", status="invalid", why=["busy"])
    invalid = benchmark_records.benchmark(rows=[row], **benchmark_records.NOTHING_COMPARED)
    assert fact("texts/s", benchmark_records.run("runs/b", benchmark=invalid)).sides[1] == "–"


def test_a_variant_that_one_run_lacks_is_marked() -> None:
    compared = fact(
        "ort_int8: flips, loss below", benchmark_records.run("runs/b", parity=[benchmark_records.parity("ort_fp32", [])])
    )
    assert (compared.sides[1], compared.differs, compared.verdict.css) == ("–", True, "wait")


def test_only_provenance_that_differs_is_listed() -> None:
    run = better()
    other = replace(run, bundle=replace(run.bundle, hyper_parameters={"epochs": 3, "learning_rate": 1e-4}))
    differences = provenance_differences(benchmark_records.run(), other)
    assert [(difference.name, difference.sides) for difference in differences] == [("epochs", ("1", "3"))]


@pytest.mark.parametrize("what", ["corpora", "tasks", "labels"])
def test_runs_that_have_nothing_in_common_are_refused(what: str) -> None:
    run = better()
    others = {
        "corpora": replace(run, bundle=replace(run.bundle, corpus=replace(run.bundle.corpus, sha256="b" * 64))),
        "tasks": replace(run, bundle=replace(run.bundle, task="text_pair")),
        "labels": replace(run, labels=["yes", "no"]),
    }
    with pytest.raises(ManifestError, match=rf"(?s)different {what}.*compare runs/a"):
        render_comparison(benchmark_records.run(), others[what])


def test_plots_side_by_side_have_the_same_axes() -> None:
    row = benchmark_records.row("text_classifier", p99_ms={**benchmark_records.figure(9000.0), "needs": 368, "enough": True})
    slow = benchmark_records.benchmark(rows=[row], **benchmark_records.NOTHING_COMPARED)
    html = render_comparison(benchmark_records.run(), benchmark_records.run("runs/b", benchmark=slow))
    ranges = [html.split(f'"{name}",', 1)[1].split('"type":"log","range":')[1].split("]")[0] for name in ("latency_A", "latency_B")]
    assert ranges[0] == ranges[1]
    assert np.log10(9000) < float(ranges[0].split(",")[1])


def test_the_title_is_the_names_and_no_directory_of_the_machine_is_on_the_page() -> None:
    html = render_comparison(benchmark_records.run("/home/someone/x/a"), benchmark_records.run("/home/someone/y/a"))
    assert "<h1>x/a against y/a</h1>" in html
    assert "/home/someone" not in html


def test_of_runs_that_were_only_trained_the_accuracies_are_compared() -> None:
    error = ManifestError("a record is missing", expected="it", found="no", where="it.json", fix="slipway bench runs/a")
    a, b = (
        replace(run, parity_or_error=error, served_or_error=error, benchmark_or_error=error)
        for run in (benchmark_records.run(), better())
    )
    assert "B is more accurate" in text_in(render_comparison(a, b))


def test_texts_that_the_two_answer_differently_can_be_read() -> None:
    assert "· A says" in text_in(render_comparison(benchmark_records.run(), better()))
