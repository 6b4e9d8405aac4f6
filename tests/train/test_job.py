"""The commands that errors of a training name: as it was given, and what makes it go on."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from slipway.errors import CorpusError
from tests.support.training.jobs import JOB
from train import options, settings


def test_a_job_begins_anew_until_there_is_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    job = replace(JOB, command="slipway train runs/x --epochs 2", checkpoints=str(tmp_path / "checkpoints"))
    assert job.again() == "slipway train runs/x --epochs 2"
    (tmp_path / "checkpoints").mkdir()
    assert job.again() == "slipway train runs/x --epochs 2 --resume"


def test_an_error_names_the_command_with_the_users_run_and_options() -> None:
    parser = argparse.ArgumentParser()
    options.lr_options(parser)
    given = ["runs/my run", "--corpus", "/nowhere", "--lowest", "1e-05", "--labels", "a b", "c"]
    arguments = parser.parse_args(given)
    arguments.command = "analyze lr"  # as slipway/cli.py sets it
    with pytest.raises(CorpusError) as refused:
        settings.corpus_of(arguments)
    _, verb, name, *words = shlex.split(refused.value.fix)
    assert (verb, name) == ("analyze", "lr")
    fixed = parser.parse_args(words)
    assert vars(fixed) | {"corpus": "/nowhere", "command": "analyze lr"} == vars(arguments)
    assert fixed.corpus == "path/to/ag_news"
