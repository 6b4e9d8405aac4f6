"""The page in a browser: asked by keyboard at two widths and in both schemes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.page.answers import ServedModel
from tests.support import browser
from tests.support.browser import Page

pytestmark = pytest.mark.slow
HOSTILE = "<img src=x onerror=alert(1)>"
LOOKS = [(1200, False), (390, True)]
FIT = "document.documentElement.scrollWidth - innerWidth"
READY = '!document.getElementById("examples").hidden'
ANSWERED = 'document.querySelector("article") !== null'
STATUS = 'document.getElementById("status").textContent'
DARK = "getComputedStyle(document.body).backgroundColor === 'rgb(20, 23, 29)'"
FAINT = """(() => {  // texts with less contrast than WCAG's 4.5 on what lies behind them
    const numbers = color => color.match(/[0-9.]+/g).map(Number);
    const light = color => numbers(color).slice(0, 3).map(value => value / 255)
        .map(value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4)
        .reduce((sum, value, channel) => sum + value * [.2126, .7152, .0722][channel], 0);
    const behind = element => {
        const color = getComputedStyle(element).backgroundColor;
        return (numbers(color)[3] ?? 1) === 1 ? color : behind(element.parentElement);
    };
    const contrast = element => {
        const [a, b] = [getComputedStyle(element).color, behind(element)].map(light);
        return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    };
    return [...document.body.querySelectorAll("*")].filter(element => element.tagName !== "SCRIPT"
        && [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && contrast(element) < 4.5)
        .map(element => element.outerHTML);
})()"""
UNNAMED = """[...document.querySelectorAll("textarea, button")].filter(control => !control.hidden
    && !control.labels?.length && !control.textContent.trim()).length"""


@pytest.fixture(params=LOOKS, ids=["wide", "phone, dark"])
def page(request: pytest.FixtureRequest, model: ServedModel, opened: Any, tmp_path: Path) -> Iterator[Page]:
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with opened(model) as address, browser.opened(address, tmp_path / "profile", *request.param) as tab:
        wait(tab, READY)
        yield tab


@pytest.fixture
def tab(opened: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page of the model of the fixture that the test is parametrized with."""
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    model = request.getfixturevalue(request.param)
    with opened(model) as address, browser.opened(address, tmp_path / "profile", 390) as opened_tab:
        wait(opened_tab, READY)
        yield opened_tab


def wait(page: Page, condition: str) -> None:
    deadline = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def texts(page: Page, selector: str) -> list[str]:
    return list(page.evaluate(f'[...document.querySelectorAll("{selector}")].map(element => element.textContent)'))


def ask(page: Page, *typed: str) -> list[str]:
    """Type into one field after the other, press Ctrl+Enter, and return the labels."""
    for number, text in enumerate(typed):
        if number:
            page.press("Tab")
        page.type(text)
    page.press("Enter", control=True)
    wait(page, ANSWERED)
    return texts(page, ".label b")


def test_the_page_has_the_scheme_that_is_preferred(page: Page, request: pytest.FixtureRequest) -> None:
    assert page.evaluate(DARK) is request.node.callspec.params["page"][1]


def test_a_text_is_typed_asked_and_answered_by_keyboard_alone(page: Page, client: Any) -> None:
    client.fp32 = (1.0, 2.0, 0.0)
    assert ask(page, f"oil prices fall\n\n{HOSTILE}\nrefused") == ["Business", "Business"]
    assert texts(page, "article h2") == ["oil prices fall", HOSTILE, "refused"]
    assert texts(page, "article:first-of-type tbody th") == ["Business", "Sports", "World"]
    assert texts(page, "article:first-of-type tbody td") == [f"{share}\u00a0%" for share in (66.5, 24.5, 24.5, 66.5, 9.0, 9.0)]
    assert page.evaluate(
        'document.querySelector(".bar i").offsetWidth / document.querySelector(".bar").offsetWidth'
    ) == pytest.approx(0.665, abs=0.02)
    assert texts(page, ".pill") == ["bert_onnx_fp32 says Sports"] * 2
    assert texts(page, ".error") == ["Triton refused it: the text is empty"]
    assert page.evaluate(STATUS) == "2 texts answered; 1 not; bert_onnx_fp32 gives another label in 2."
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert page.evaluate(FIT) <= 0
    assert page.evaluate(FAINT) == []
    assert page.evaluate(UNNAMED) == 0
    assert page.errors == []
    own = page.evaluate("location.href")
    assert page.requested == [own, f"{own}model", f"{own}ask"]


@pytest.mark.parametrize("tab", ["model"], indirect=True)
def test_the_button_and_an_example_are_reached_by_tab(tab: Page) -> None:
    for key in ("Tab", " ", "Tab", "Tab", "Enter"):  # the first example, past the second, Ask
        tab.press(key)
    wait(tab, ANSWERED)
    assert texts(tab, "article h2") == ["oil prices fall"]


@pytest.mark.parametrize("tab", ["many_labels"], indirect=True)
def test_of_many_labels_ten_are_shown_and_what_fp32_says(tab: Page) -> None:
    ask(tab, "oil")
    assert texts(tab, "tbody tr:not([hidden]) th")[-1] == "label 29"
    assert tab.evaluate("document.querySelectorAll('tbody tr:not([hidden])').length") == 11
    tab.evaluate("document.querySelector('article button').click()")
    assert tab.evaluate("document.querySelectorAll('tbody tr:not([hidden])').length") == 30


@pytest.mark.parametrize("tab", ["pairs"], indirect=True)
def test_a_pair_has_two_fields(tab: Page) -> None:
    assert ask(tab, "oil", "prices fall") == ["Business"]
    assert texts(tab, "article h2 > span") == ["oil", "prices fall"]


@pytest.mark.parametrize("tab", ["pairs"], indirect=True)
def test_a_line_without_its_second_text_is_told_and_not_asked(tab: Page, client: Any) -> None:
    tab.type("oil")
    tab.press("Enter", control=True)
    assert tab.evaluate(STATUS).startswith("Line 1 has one text only")
    assert client.asked == []


@pytest.mark.parametrize("tab", ["tagger"], indirect=True)
def test_each_word_of_a_sentence_has_a_row(tab: Page) -> None:
    ask(tab, "oil unread")
    assert texts(tab, "tbody th") == ["oil", "unread"]
    assert texts(tab, "tbody td b") == ["Business", "Business"]
    assert tab.evaluate(browser.WIDTH_TOO_MUCH) <= 0


@pytest.mark.parametrize("tab", ["model"], indirect=True)
def test_a_server_that_is_away_is_a_sentence(tab: Page, client: Any) -> None:
    client.away = True
    ask(tab, "oil")
    assert texts(tab, ".error") == ["Triton does not answer. It may be starting again: ask again in a few seconds."]


@pytest.mark.parametrize("tab", ["model"], indirect=True)
def test_more_texts_than_are_taken_are_told_and_not_asked(tab: Page, client: Any) -> None:
    tab.type("oil\n" * 65)
    tab.press("Enter", control=True)
    assert tab.evaluate(STATUS) == "These are 65 texts: at most 64 are asked for at a time."
    assert client.asked == []
