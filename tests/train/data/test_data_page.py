"""docs/data.md names options that are there, and every ending that is read."""

from __future__ import annotations

import argparse
import re

import pytest

from slipway.contract import readers
from tests.support.command import CHECKOUT
from train import options

TEXT = (CHECKOUT / "docs/data.md").read_text("utf-8")


def test_no_option_is_mentioned_that_is_not_there() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    options.add(parser)
    known = {name for action in parser._actions for name in action.option_strings} | {"--golden"}  # of slipway import
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT)) <= known


@pytest.mark.parametrize("ending", readers.SUFFIXES)
def test_every_ending_is_mentioned(ending: str) -> None:
    assert ending in TEXT
