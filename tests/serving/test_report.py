"""The page of a run: in a browser at two widths and both schemes, and what it says when something is missing or failed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from serving import page, report
from tests import browser
from tests.serving import reported

PLOTS = {"ratios", "latency", "open_loop", "stages", "padding", "front", "parity", "confusion", "training"}
# The figures that were drawn: of each, its plot area holds something that shows data.
DRAWN = """[...document.querySelectorAll(".js-plotly-plot")].filter(one => one.querySelector(
    ".cartesianlayer .plot :is(path, image)") && one.querySelector(".main-svg").clientHeight > 100).map(one => one.id)"""
needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium: apt-get install chromium")


def said(html: str) -> str:
    """The page's text: no script, no style, no tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", bare))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    page.write(path, report.render(reported.facts()))
    return path


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (500, True)])
def test_a_browser_draws_every_plot_and_asks_for_nothing(written: Path, tmp_path: Path, width: int, dark: bool) -> None:
    with browser.opened(written, tmp_path, width, dark) as opened:
        assert set(opened.evaluate(DRAWN)) == PLOTS
        assert opened.evaluate("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways
        assert (opened.requested, opened.errors) == ([], [])
