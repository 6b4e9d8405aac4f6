from __future__ import annotations

import argparse
import shlex

import pytest

from export import options
from export.import_savedmodel.command import command

MEANINGS = ["--no-lower-case", "--strip-accents", "--added-tokens", "[E1],[E2]", "--signature", "s", "--inputs", "ids=a,mask=b"]
MEANINGS += ["--output", "o", "--output-kind", "sigmoid"]


@pytest.mark.parametrize("given", [["--unlabelled", "more texts.txt"], [], MEANINGS])
def test_the_command_that_imports_again_repeats_every_option(given: list[str]) -> None:
    parser = argparse.ArgumentParser()
    options.import_savedmodel_options(parser)
    files = ["--saved-model", "m", "--vocab", "v", "--labels", "l", "--golden", "g", "--max-seq-len", "64"]
    arguments = parser.parse_args(["runs/x", *files, *given])
    _, verb, *words = shlex.split(command(arguments))
    assert verb == "import"
    assert parser.parse_args(words) == arguments


def test_an_option_can_be_left_out_of_that_command() -> None:
    parser = argparse.ArgumentParser()
    options.import_savedmodel_options(parser)
    arguments = parser.parse_args(["runs/x", "--saved-model", "m", "--golden", "g", "--unlabelled", "texts.txt"])
    assert "--unlabelled" not in command(arguments, unlabelled=None)
