"""The page of a run: drawn in a browser at two widths and both schemes, and its tables."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from serving.report.html import write_page
from serving.report.records import (
    Candidate,
    Configuration,
    DataCard,
    ElsewhereRecord,
    HeldLoad,
    LiveCheck,
    RunRecords,
    Slo,
    TuningRecord,
)
from serving.report.report import render_report
from slipway.contract.records import BENCHMARK, from_json
from slipway.errors import ManifestError
from tests.support import browser
from tests.support.serving import benchmark_records

PLOTS = {"ratios", "latency", "open_loop", "stages", "padding", "front", "parity", "confusion", "training"}
SECTIONS = ["examples", "good", "same", "faster", "fast", "time", "cost", "ask", "data", "card", "skipped", "from", "records"]
ALONE = [name for name in SECTIONS if name not in ("faster", "time", "cost", "records")]  # without a benchmark
PRESS = """void [...document.querySelectorAll("#fast button")].find(button => button.textContent === "p50").click()"""
SHOWN = """(({data, layout}) => [layout.yaxis.title.text, data[0].y[0]])(document.getElementById("latency"))"""
ROOM = """document.querySelector("#latency .nsewdrag").getBoundingClientRect().height"""
# Figures of which a word at an axis lies outside; tables that are wider than the page.
CUT = """[...document.querySelectorAll(".plotly-graph-div")].filter(figure => {
    const paper = figure.getBoundingClientRect();
    return [...figure.querySelectorAll(".xtitle, .ytitle, .y2title, .xtick text, .ytick text, .y2tick text")].some(words => {
        const {left, right, top, bottom} = words.getBoundingClientRect();
        return left < paper.left - 1 || right > paper.right + 1 || top < paper.top - 1 || bottom > paper.bottom + 1;
    });
}).map(figure => figure.id)"""
UNFOLD = """(document.querySelectorAll("details").forEach(one => one.open = true), dispatchEvent(new Event("resize")))"""
CUT_TABLES = """[...document.querySelectorAll("table")].filter(table => table.offsetWidth > table.parentElement.clientWidth)
    .map(table => table.rows[1].cells[0].textContent)"""
SAVE = """void [...document.querySelectorAll("#same .choices button")].find(button => button.textContent === "SVG").click()"""
TOO_HIGH = """[...document.querySelectorAll(".plotly-graph-div")].filter(figure => figure.parentElement.offsetHeight
    < figure.querySelector(".main-svg").getBoundingClientRect().height).map(figure => figure.id)"""


def text_in(html: str) -> str:
    """What a person reads: no script, no style, no tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", bare))).strip()


def section(html: str, name: str) -> str:
    return html.split(f'<section id="{name}">')[1].split("</section>")[0]


def table(html: str) -> list[list[str]]:
    """The cells of every table row."""
    rows = re.findall("<tr>(.*?)</tr>", html, flags=re.DOTALL)
    return [[text_in(cell) for cell in re.findall("<t[dh].*?>(.*?)</t[dh]>", row, flags=re.DOTALL)] for row in rows]


def of_benchmark(**changes: Any) -> str:
    return render_report(benchmark_records.run(benchmark=benchmark_records.benchmark(**changes)))


def with_card(labels: list[str], **changes: Any) -> str:
    """The page of a run with the card of its data: of each label 40 rows in each split."""
    split = {
        "rows": 40 * len(labels),
        "labels": dict.fromkeys(labels, 40),
        "repeated": 3,
        "median_length": 1234,
        "longest": 56_789,
    }
    card = {
        "splits": dict.fromkeys(("train", "validation", "test"), split),
        "left_out": {"bad": {}, "without_label": 0, "leaked": 0},
        "leaks": {"test": 5},
        "two_labels": 1,
        "of_two_labels": f"'{60 * 'x'}' → {', '.join(labels[:2])}",
        "without_test_rows": [],
        "unread_words": 0,
        "first_row": "'first' → World",
    }
    run = benchmark_records.run(labels=labels)
    return render_report(replace(run, bundle=replace(run.bundle, data_card=from_json(DataCard, card | changes))))


def not_yet(*names: str) -> RunRecords:
    """The records of a run in which these are missing."""
    run = benchmark_records.run()
    error = ManifestError("a record is missing", expected="it", found="no", where="runs/a/it.json", fix="slipway bench runs/a")
    return replace(run, **{f"{name}_or_error": error for name in names})


FILES = {BENCHMARK: json.dumps(benchmark_records.benchmark(), indent=1)}
BUILT, CHOSEN = Configuration("ort_int8", 1, 2), Configuration("ort_int8", 2, 1)
TUNED = TuningRecord(
    Slo(100.0),
    (Candidate("ort_int8", 2, 1, 2, "measured", HeldLoad(190.0, 90.0)), Candidate("ort_fp32", 1, 2, 2, "not measured")),
    CHOSEN,
    "2 cores hold 190 texts/s",
    "slipway build runs/a --instances 2",
)
CHECK: LiveCheck = from_json(LiveCheck, benchmark_records.live("ort_int8", [7, 30]))
ELSEWHERE = ElsewhereRecord(True, ("https://triton.example:443",), (CHECK,), "2026-03-04T05:06:07+00:00")
MANY_LABELS = [f"{3 * 'a label with a long name '}{number}{60 * 'x'}" for number in range(219)]


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(benchmark_records.run())


@pytest.fixture(scope="module")
def with_left_out() -> str:
    """The page of a run with a variant of each kind that was left out."""
    undecided = benchmark_records.parity("ort_int8", [7, 30], passed=False, verdict="undecided")
    parity = [benchmark_records.parity("ort_fp32", []), undecided]
    left_out = {"ort_int8": "not decided: about 1,400 rows would decide", "onnx_fp16": "no parity.json"}
    checks = [benchmark_records.live("ort_fp32", [])]
    served = {"passed": True, "ready_seconds": 1.0, "checks": checks}
    run = benchmark_records.run(parity=parity, left_out=left_out, served=served)
    return render_report(replace(run, configuration=BUILT, tuning=TUNED, elsewhere=ELSEWHERE, files=FILES))


@pytest.fixture(scope="module", params=[(1200, False), (390, True)], ids=["wide", "phone, dark"])
def opened(request: pytest.FixtureRequest, with_left_out: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_page(path, with_left_out)
    with browser.opened(path, tmp_path_factory.mktemp("profile"), *request.param) as page:
        yield page


def test_many_long_labels_need_no_scrolling_of_the_page_on_a_phone(tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    write_page(tmp_path / "report.html", with_card(MANY_LABELS))
    with browser.opened(tmp_path / "report.html", tmp_path / "profile", 390) as page:
        assert page.evaluate(browser.WIDTH_TOO_MUCH) <= 0


def test_every_plot_is_drawn(opened: browser.Page) -> None:
    assert set(opened.evaluate(browser.DRAWN)) == PLOTS


def test_no_id_is_given_twice(opened: browser.Page) -> None:
    assert opened.evaluate(browser.REPEATED) == []


def test_nothing_has_to_be_scrolled_sideways(opened: browser.Page) -> None:
    assert opened.evaluate(browser.WIDTH_TOO_MUCH) <= 0


def test_no_word_at_an_axis_is_cut(opened: browser.Page) -> None:
    assert opened.evaluate(CUT) == []


def test_every_table_is_shown_whole(opened: browser.Page) -> None:
    opened.evaluate(UNFOLD)
    assert opened.evaluate(CUT_TABLES) == []


def test_a_record_can_be_saved_as_it_is(opened: browser.Page, tmp_path: Path) -> None:
    saved = opened.saved(f"""void document.querySelector('a[download="{BENCHMARK}"]').click()""", tmp_path)
    assert saved.read_text("utf-8") == FILES[BENCHMARK]


def test_a_figure_can_be_saved(opened: browser.Page, tmp_path: Path) -> None:
    saved = opened.saved(SAVE, tmp_path)
    assert saved.name == "parity.svg"
    assert "accuracy lost" in "".join(ElementTree.parse(saved).getroot().itertext())


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


def test_the_sections_come_in_the_order_of_what_a_person_asks(html: str) -> None:
    assert re.findall('<section id="(.*?)">', html) == SECTIONS
    assert re.findall('<a href="#(.*?)">', html) == SECTIONS


def test_both_verdicts_stand_before_the_first_section(html: str) -> None:
    verdicts = re.findall('<div class="verdict (.*?)">(.*?)</div>', html.split("<section")[0])
    assert [css for css, _ in verdicts] == ["good", "good"]
    assert "ort_fp32" in verdicts[0][1]
    assert "200 texts a second: 4.0 × what tf2onnx, padded does" in verdicts[1][1]


def test_the_configuration_to_run_stands_before_the_first_section(with_left_out: str) -> None:
    head = text_in(with_left_out.split("<section")[0])
    assert "Run ort_int8 in 2 processes with 1 thread each" in head
    assert "It is built to run ort_int8 in 1 process with 2 threads. slipway build runs/a --instances 2" in head


def test_every_configuration_that_was_tried_is_shown(with_left_out: str) -> None:
    rows = table(section(with_left_out, "run"))
    assert rows[1:] == [["ort_int8 chosen", "2", "1", "2", "190", "90"], ["ort_fp32", "1", "2", "2", "not measured"]]


def test_what_a_server_elsewhere_answered_is_shown_with_its_time(with_left_out: str) -> None:
    same = section(with_left_out, "same")
    assert ["https://triton.example:443", "398 of 400", "0.40 %", "38", "passed"] in table(same)
    assert "on 2026-03-04 at 05:06 UTC" in text_in(same)


def test_a_server_elsewhere_that_answers_otherwise_makes_the_verdict_bad() -> None:
    check = replace(CHECK, passed=False, verdict="worse")
    run = replace(benchmark_records.run(), elsewhere=replace(ELSEWHERE, passed=False, checks=(check,)))
    assert '<div class="verdict bad">' in render_report(run).split("<section")[0]


def test_the_title_has_the_day_of_the_benchmark() -> None:
    assert "<title>a, measured on 2026-03-04 " in of_benchmark(made_at="2026-03-04T23:59:59+00:00")


def test_a_variant_that_failed_makes_the_verdict_bad() -> None:
    failed = [benchmark_records.parity("ort_int8", [7, 30], passed=False, verdict="worse")]
    assert '<div class="verdict bad">' in render_report(benchmark_records.run(parity=failed)).split("<section")[0]


def test_a_variant_that_was_left_out_is_named_at_the_head_and_makes_nothing_bad(with_left_out: str) -> None:
    head = with_left_out.split("<section")[0]
    assert '<div class="verdict wait">' in head
    assert "ort_int8 (not decided), onnx_fp16 (not compared)" in text_in(head)


def test_each_variant_has_one_of_three_verdicts_in_its_row() -> None:
    verdicts = {"ort_fp32": "passed", "ort_int8": "worse", "onnx_fp16": "undecided"}
    parity = [benchmark_records.parity(variant, [], verdict=verdict) for variant, verdict in verdicts.items()]
    page = render_report(benchmark_records.run(parity=parity, left_out={"ort_int8": "worse", "onnx_fp16": "too few rows"}))
    rows = {row[0]: row[-1] for row in table(section(page, "same").split("<details>")[0])[1:]}
    assert rows == {"ort_fp32": "passed", "ort_int8": "worse", "onnx_fp16": "not decided"}


def test_what_was_left_out_says_why_and_how_many_rows_would_decide(with_left_out: str) -> None:
    text = text_in(section(with_left_out, "same"))
    assert "ort_int8 was left out: not decided: about 1,400 rows would decide." in text
    assert "onnx_fp16 was left out: no parity.json." in text


def test_probabilities_neighbours_and_probe_rows_are_shown_of_each_variant(html: str) -> None:
    rows = [row for row in table(section(html, "same")) if row[0] == "ort_int8"]
    calibration = ["0.0123 → 0.0134", "0.1201 → 0.1212"]
    assert rows[1][1:] == ["1.012", "0.40 %", "3.10 %", *calibration, "3 of 64 one word 200 times", "0.9876 2,225 rows"]


def test_a_variant_whose_engine_failed_has_no_figures_of_its_probabilities() -> None:
    nothing = dict.fromkeys(("probabilities", "neighbours", "probes", "precision"))
    failed = benchmark_records.parity("ort_int8", [], passed=False, verdict="worse", **nothing)
    rows = [row for row in table(section(render_report(benchmark_records.run(parity=[failed])), "same")) if row[0] == "ort_int8"]
    assert rows[1][1:] == ["no figures", "–", "–"]


def test_labels_that_too_few_rows_judge_are_named_with_what_would_go_unseen() -> None:
    unseen = [
        {"label": "Business", "rows": 4, "answered": 0, "loss": 0.75},
        {"label": "Sports", "rows": 0, "answered": 0, "loss": 1.0},
    ]
    page = render_report(benchmark_records.run(parity=[benchmark_records.parity("ort_fp32", [], unseen=unseen)]))
    text = text_in(section(page, "same"))
    assert "Business (4 rows, up to 75 % of its right answers could be lost unseen, and the SavedModel never answers it)" in text
    assert "Sports (no row has it)" in text


def test_rows_without_a_label_are_told_and_their_flips_have_none() -> None:
    flip = {"row": 7, "label": -1, "reference": 0, "found": 1}
    page = render_report(
        benchmark_records.run(parity=[benchmark_records.parity("ort_int8", [7], labelled=350, flipped_rows=[flip])])
    )
    text = text_in(section(page, "same"))
    assert "of which 350 have a label" in text
    assert "held-out text number 7 SavedModel says World → ort_int8 Sports" in text


def test_a_served_model_shows_its_outputs_and_probe_rows(html: str) -> None:
    row = next(row for row in table(section(html, "same")) if row[0] == "text_classifier (ort_int8)")
    assert row[5:] == ["38", "label, logits, probability, tokens, truncated", "passed"]


def test_a_served_model_with_wrong_answers_says_which() -> None:
    failure = {"what": "flip rate", "would_pass": 0.03, "limit": 0.02, "shown": True, "rows": 0}
    sentences = ["golden row 3: 12 tokens, expected 13", *(f"row {number}" for number in range(9))]
    wrong = benchmark_records.live("ort_int8", [], passed=False, verdict="worse", failures=[failure], wrong_answers=sentences)
    served = {"passed": False, "ready_seconds": 1.0, "checks": [wrong]}
    text = text_in(section(render_report(benchmark_records.run(served=served)), "same"))
    assert "text_classifier (ort_int8) over http: shown to be worse: flip rate is 0.03, limit 0.02; golden row 3: 12" in text
    assert "row 3; and 5 more wrong answers." in text


def test_flips_are_texts_that_can_be_read(html: str) -> None:
    assert "held-out text number 7 is World · SavedModel says World → ort_int8 Sports" in text_in(section(html, "same"))


def test_what_was_not_run_is_listed_with_its_reason(html: str) -> None:
    assert table(section(html, "skipped"))[1:] == [
        ["tensorrt_fp16 skipped", "no libnvinfer", "a machine with an NVIDIA GPU"],
        ["cuda_shared_memory skipped", "no GPU", "–"],
    ]


def test_a_failed_load_is_shown_with_its_reason_and_no_figures(html: str) -> None:
    load = next(row for row in table(section(html, "fast")) if row[0] == "tf2onnx, padded 16 clients, gRPC")
    assert load[1:] == ["FAILED the server ended", "no figures", "–", "0"]


def test_an_invalid_load_is_shown_as_invalid_with_its_reason(html: str) -> None:
    load = next(row for row in table(section(html, "fast")) if row[0] == "ort_int8, by ids 16 clients, gRPC")
    assert load[1] == "invalid other processes used 31 % of the cores"


def test_what_disturbed_the_machine_is_told(html: str) -> None:
    text = text_in(section(html, "fast"))
    assert all(share in text for share in ("1.2 % of the cores", "0.1 %", "17 of 17 measurements"))


def test_what_a_gpu_told_is_a_column_of_its_own(html: str) -> None:
    use = {"utilisation": 84.0, "memory_mib": None, "watts": None}
    page = of_benchmark(rows=[benchmark_records.row("text_classifier", gpu=use)], **benchmark_records.NOTHING_COMPARED)
    header, load = table(section(page, "fast"))
    assert (header[-1], load[-1]) == ("GPU", "84 %, – MiB")
    assert table(section(html, "fast"))[0][-1] == "rejected"


def test_a_benchmark_without_a_single_answer_is_a_page_that_says_why() -> None:
    page = of_benchmark(
        rows=[benchmark_records.failed("text_classifier", "the server is down")], **benchmark_records.NOTHING_COMPARED
    )
    assert re.search('<div class="verdict bad"><p>.*the server is down', page)
    assert not any(f'id="{name}"' in page for name in ("ratios", "latency", "open_loop", "stages"))


def test_without_a_price_there_is_no_column_of_costs(html: str) -> None:
    page = of_benchmark(choice=benchmark_records.benchmark()["choice"] | {"price_per_hour": None})
    assert "EUR per million" in table(section(html, "cost"))[0]
    assert "EUR per million" not in table(section(page, "cost"))[0]
    assert "slipway bench runs/a --price-per-hour" in page


def test_a_model_from_elsewhere_has_no_figure_of_its_training(html: str) -> None:
    assert 'id="training"' in html
    assert 'id="training"' not in render_report(benchmark_records.run(history=None))


def test_the_card_of_the_data_has_the_rows_of_every_split_and_label() -> None:
    rows = table(section(with_card(benchmark_records.LABELS), "data"))
    assert rows[1] == ["train", "120", "3", "1,234", "56,789"]
    assert rows[4] == ["golden", "400", "–", "–", "–"]
    assert rows[5:] == [
        ["label", "train", "validation", "test", "golden"],
        ["World", "40", "40", "40", "134"],
        ["Sports", "40", "40", "40", "133"],
        ["Business", "40", "40", "40", "133"],
    ]


def test_many_labels_are_folded_but_for_the_largest_and_the_smallest() -> None:
    unfolded, folded = section(with_card(MANY_LABELS), "data").split("<h3>")[1].split("<details>")
    assert len(table(unfolded)) == 1 + 8 + 1 + 8
    assert "203 labels between these are left out here" in text_in(unfolded)
    assert len(table(folded)) == 1 + 219


def test_accuracy_on_rows_of_training_is_doubted_where_it_stands() -> None:
    assert "5 test rows have a text that the model is trained" in text_in(section(with_card(benchmark_records.LABELS), "good"))


def test_a_run_without_a_card_of_its_data_says_so(html: str) -> None:
    assert text_in(section(html, "data")).startswith("The data No card of the data was kept")


def test_labels_and_texts_of_the_card_are_no_markup() -> None:
    page = section(with_card(["<b>World", "Sports", "Business"], first_row="'<script>x'"), "data")
    assert "&lt;b&gt;World" in page
    assert "<b>World" not in page
    assert "<script>" not in page


def test_text_out_of_the_corpus_is_no_markup() -> None:
    golden = benchmark_records.golden()
    golden.texts[7] = "<script>alert(1)</script>"
    html = render_report(benchmark_records.run(golden=golden))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert(1)</script>" not in html


@pytest.mark.parametrize(
    ("names", "sections", "told"),
    [
        (("benchmark",), ALONE, "it gives the answers of the trained model. "),
        (("benchmark", "served"), ALONE, "The live server was not asked yet"),
        (("benchmark", "served", "parity"), ALONE, "Nothing is converted"),
        (("served",), SECTIONS, "The live server was not asked yet"),
    ],
)
def test_a_page_of_what_is_there_names_the_command_for_the_rest(names: tuple[str, ...], sections: list[str], told: str) -> None:
    page = render_report(not_yet(*names))
    assert re.findall('<section id="(.*?)">', page) == sections
    assert told in text_in(page)
    assert "slipway bench runs/a" in text_in(section(page, "skipped"))
