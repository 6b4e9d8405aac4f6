"""Every command that a page shows is taken by the real parser or by make, and docs/commands.md is
what the parser says.
"""

from __future__ import annotations

import importlib.util
import re

import pytest

from slipway.cli import COMMANDS
from tests.docs import commands_page, shown_commands
from tests.docs.shown_commands import MAKEFILE, Shown
from tests.support.command import CHECKOUT

BLOCKS = [pytest.param(one, id=str(one)) for one in shown_commands.in_blocks()]
SENTENCES = [pytest.param(one, id=str(one)) for one in shown_commands.in_sentences()]
VERBS = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("one", BLOCKS)
def test_a_command_of_a_page_is_taken(one: Shown) -> None:
    refused = [shown_commands.refusal(words) for words in commands_page.commands(one)]
    assert refused == [""] * len(refused)
    if "-m" in one.words:
        assert importlib.util.find_spec(one.words[one.words.index("-m") + 1])


@pytest.mark.parametrize("one", SENTENCES)
def test_a_command_in_a_sentence_has_the_options_that_it_names(one: Shown) -> None:
    if one.words[0] == "make":
        assert {word for word in one.words[1:] if "=" not in word} <= VERBS
    elif one.words[1] not in ("COMMAND", "--print-completion"):
        parser = shown_commands.options_of(shown_commands.command_of(one.words))
        known = {name for action in parser._actions for name in action.option_strings} | {"--help"}
        assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", one.text)) <= known


def test_the_reference_is_what_the_parser_says() -> None:
    """`python -m tests.docs.commands_page` writes it anew."""
    assert shown_commands.GENERATED.read_text("utf-8") == commands_page.page()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_option_says_what_it_does(command: shown_commands.Command) -> None:
    assert [row for row in commands_page._rows(command) if row.endswith("|  |")] == []


# Their words come from a page or out of a message, so that they do not stand in the test.
FOLLOWED = {"tests/docs/test_client_docs.py", "tests/journeys/test_own_data.py", "tests/journeys/test_promote.py"}


def test_what_is_said_to_be_run_by_a_test_is_shown_and_named_there() -> None:
    assert commands_page.TESTS.keys() - commands_page.shapes().keys() == set()
    missing = {}
    for shape, test in commands_page.TESTS.items():
        text = "".join((CHECKOUT / path).read_text("utf-8") for path in (test, "tests/conftest.py"))
        words = [word.removeprefix("--") for word in shape.split()]
        asked = words[:1] if test in FOLLOWED else words
        missing[shape] = [word for word in asked if not re.search(rf"""["\[\s.-]{word.replace("-", "[-_]")}[\s"=,:(]""", text)]
    assert {shape: words for shape, words in missing.items() if words} == {}
