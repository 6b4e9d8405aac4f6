"""docs/training.md names every flag of training with its default, the exit codes and the commands,
and none that is not there.
"""

from __future__ import annotations

import argparse
import re

import pytest

from slipway import errors
from slipway.cli import COMMANDS
from tests.support.command import CHECKOUT
from train import options

TEXT = (CHECKOUT / "docs/training.md").read_text("utf-8")
ROW = re.compile(r"^\| `(--[a-z-]+)` \|([^|]*)\|", re.MULTILINE)


def parsed() -> dict[str, str]:
    """Flag → its default as the page writes it."""
    parser = argparse.ArgumentParser(add_help=False)
    options.add(parser)
    return {action.option_strings[0]: _written(action.default) for action in parser._actions if action.option_strings}


def _written(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "" if default in ("", []) else str(default)


def test_every_flag_is_explained_once() -> None:
    assert sorted(name for name, _ in ROW.findall(TEXT)) == sorted(parsed())


@pytest.mark.parametrize(("name", "written"), ROW.findall(TEXT))
def test_a_default_is_the_parsers(name: str, written: str) -> None:
    default = parsed()[name]
    assert written.strip() == default or float(written) == float(default)


def test_no_flag_is_mentioned_that_is_not_there() -> None:
    known = {*parsed(), "--resume", "--force", "--logdir"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT)) <= known


def test_the_exit_codes_are_those_of_the_errors() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    kinds = (
        errors.CorpusError,
        errors.EncoderError,
        errors.TrainingError,
        errors.ManifestError,
        errors.ToolError,
        errors.Interrupted,
        errors.StorageError,
    )
    assert codes == {0, 130, *(kind.exit_code for kind in kinds)}


def test_the_commands_are_there() -> None:
    named = set(re.findall(r"(?:`|    )slipway (analyze [a-z]+|[a-z]+)", TEXT))
    assert named >= {"train", "analyze throughput"}
    assert named <= {command.name for command in COMMANDS}
    makefile = (CHECKOUT / "Makefile").read_text("utf-8")
    assert not set(re.findall(r"(?:`|    )make ([a-z]+)", TEXT)) - set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
