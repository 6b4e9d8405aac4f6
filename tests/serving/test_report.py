"""The page of a run: in a browser at two widths and both schemes, and what it says when something is missing or failed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from serving import page, report
from tests import browser
from tests.serving import reported

PLOTS = {"ratios", "latency", "open_loop", "stages", "padding", "front", "parity", "confusion", "training"}
PRESS = """void [...document.querySelectorAll("#fast button")].find(one => one.textContent === "p50").click()"""
SHOWN = """(({data, layout}) => [layout.yaxis.title.text, data[0].y[0]])(document.getElementById("latency"))"""

ROOM = """document.querySelector("#latency .nsewdrag").getBoundingClientRect().height"""
TOO_HIGH = """[...document.querySelectorAll(".plotly-graph-div")].filter(one => one.parentElement.offsetHeight
    < one.querySelector(".main-svg").getBoundingClientRect().height).map(one => one.id)"""


def said(html: str) -> str:
    """The page's text: no script, no style, no tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", bare)))


def of_benchmark(**changes: Any) -> str:
    return said(report.render(reported.facts(benchmark=reported.benchmark(**changes))))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    page.write(path, report.render(reported.facts()))
    return path


@pytest.fixture(scope="module")
def shown(written: Path) -> str:
    return said(written.read_text("utf-8"))


@pytest.fixture(scope="module", params=[(1200, False), (500, True)], ids=["wide", "phone, dark"])
def opened(request: pytest.FixtureRequest, written: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with browser.opened(written, tmp_path_factory.mktemp("profile"), *request.param) as page_:
        yield page_


def test_every_plot_is_drawn(opened: browser.Page) -> None:
    assert set(opened.evaluate(browser.DRAWN)) == PLOTS


def test_no_id_is_given_twice(opened: browser.Page) -> None:
    assert opened.evaluate(browser.REPEATED) == []


def test_nothing_has_to_be_scrolled_sideways(opened: browser.Page) -> None:
    assert opened.evaluate(browser.WIDTH_TOO_MUCH) <= 0


def test_a_legend_of_many_lines_leaves_the_plot_its_height(opened: browser.Page) -> None:
    assert opened.evaluate(ROOM) > 340  # of the figure's 460


def test_no_figure_lies_over_what_follows_it(opened: browser.Page) -> None:
    assert opened.evaluate(TOO_HIGH) == []


def test_a_button_draws_another_percentile(opened: browser.Page) -> None:
    (_, p99), pressed, (title, p50) = (opened.evaluate(script) for script in (SHOWN, PRESS, SHOWN))
    assert (title, pressed) == ("p50 latency (ms)", None)
    assert p50 < p99


def test_the_page_asks_for_nothing_and_has_nothing_to_complain_of(opened: browser.Page) -> None:
    assert (opened.requested, opened.errors) == ([], [])


def test_what_was_run_and_the_verdicts_come_first(shown: str) -> None:
    speed = shown.index("With 64 clients over gRPC it answers 200 texts a second: 4.0 × what usual_tf2onnx does")
    baseline = shown.index("usual_tf2onnx : Raw tf2onnx, padded to 128.")
    assert shown.index("The answers stayed the same") < speed < baseline < shown.index("All models answered in turns, 5 rounds")


def test_the_sections_come_in_the_order_of_what_a_person_asks(written: Path) -> None:
    assert re.findall("<h2>(.*?)</h2>", written.read_text("utf-8")) == [
        "Faster than what?",
        "How fast?",
        "Where the time goes",
        "What should one run?",
        "Did the answers stay the same?",
        "How good is it?",
        "What was not run",
        "Where it comes from",
    ]


def test_flips_are_texts_that_can_be_read(shown: str) -> None:
    assert "held-out text number 7 is World · SavedModel says World → ort_int8 Sports" in shown


def test_what_was_not_run_is_listed_with_its_reason(shown: str) -> None:
    assert "tensorrt_fp16 skipped no libnvinfer a machine with an NVIDIA GPU" in shown
    assert "cuda_shared_memory skipped no GPU" in shown


def test_a_failed_load_is_shown_with_its_reason_and_no_figures(shown: str) -> None:
    assert "usual_tf2onnx 16 clients, gRPC FAILED the server ended no figures – 0" in shown


def test_an_invalid_load_is_shown_as_invalid(shown: str) -> None:
    assert "invalid other processes used 31 % of the cores" in shown


def test_what_else_the_machine_did_is_said(shown: str) -> None:
    assert "other processes used up to 1.2% of the cores, the hypervisor took up to 0.1%, 17 of 17 measurements" in shown


def test_what_a_gpu_told_is_a_column_of_its_own(shown: str) -> None:
    seen = {"utilisation": 84.0, "memory_mib": None, "watts": None}
    assert "84 %, – MiB" in of_benchmark(rows=[reported.row("text_classifier", gpu=seen)], **reported.NOTHING_COMPARED)
    assert "rejected GPU" not in shown


def test_a_benchmark_without_a_single_answer_is_a_page_that_says_so() -> None:
    rows = [reported.failed("text_classifier", "the server is down")]
    text = of_benchmark(rows=rows, **reported.NOTHING_COMPARED)
    assert "Nothing could be measured: the server is down." in text
    assert "No load told." in text


def test_without_a_price_there_is_no_column_of_costs(shown: str) -> None:
    assert "EUR per million" in shown
    assert "EUR per million" not in of_benchmark(choice=reported.benchmark()["choice"] | {"price_per_hour": None})


def test_a_model_from_elsewhere_has_no_section_on_training() -> None:
    text = said(report.render(reported.facts(history={})))
    assert "trained elsewhere" in text
    assert "How was it trained?" not in text


def test_text_out_of_the_corpus_is_no_markup() -> None:
    golden = reported.golden()
    golden.texts[7] = "<script>alert(1)</script>"
    html = report.render(reported.facts(golden=golden))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert(1)</script>" not in html
