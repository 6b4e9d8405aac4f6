"""The commands that errors of a training name, as it was given and what makes it go on; and the
texts without labels that a command adds to its corpus.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipway import tools
from slipway.contract.parity import judgement
from slipway.contract.variants import VARIANTS
from slipway.errors import CorpusError, UsageError
from tests.support.training.jobs import JOB
from train import options, settings
from train.data.corpus import Corpus


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
    assert fixed.corpus == "path/to/rows.csv"


def parsed(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.train_options(parser)
    return parser.parse_args(["runs/x", *map(str, words)])


def with_texts(tmp_path: Path, rows: str, *words: object) -> Corpus:
    """The corpus of a file of rows, with texts.txt."""
    (tmp_path / "texts.txt").write_text("new\ntext 0\n", "utf-8")
    (tmp_path / "rows").with_suffix(".conll" if "\n\n" in rows else ".csv").write_text(rows, "utf-8")
    arguments = parsed("--corpus", next(tmp_path.glob("rows.*")), "--unlabelled", tmp_path / "texts.txt", *words)
    return settings.with_unlabelled(arguments, settings.corpus_of(arguments))


ROWS = "text,label\n" + "".join(f"text {row},{'ab'[row % 2]}\n" for row in range(20))


def test_texts_without_labels_are_added_but_those_that_the_corpus_has(tmp_path: Path) -> None:
    extra = with_texts(tmp_path, ROWS).unlabelled
    assert extra is not None
    assert (extra.texts, extra.left_out) == (["new"], 1)


def golden_parts(tmp_path: Path, rows: str, *words: object) -> list[Any]:
    """The texts that a corpus without --unlabelled gets."""
    (tmp_path / "rows.csv").write_text(rows, "utf-8")
    arguments = parsed("--corpus", tmp_path / "rows.csv", *words)
    data = settings.with_unlabelled(arguments, settings.corpus_of(arguments))
    return data.unlabelled.texts if data.unlabelled else []


def test_few_test_rows_get_parts_of_training_texts_beside_them_for_the_gate(tmp_path: Path) -> None:
    rows = "text,label\n" + "".join(f"first {row} and then {row + 1000},{'ab'[row % 2]}\n" for row in range(600))
    parts = golden_parts(tmp_path, rows)
    assert len(parts) + 60 > max(judgement.usual_rows(variant.limits) for variant in VARIANTS.values())
    assert {part.split()[0] for part in parts} <= {"first", "and", "then"}


def test_rows_enough_or_a_number_that_was_asked_for_get_none(tmp_path: Path) -> None:
    many = "text,label\n" + "".join(f"first {row} and then,{'ab'[row % 2]}\n" for row in range(2000))
    assert golden_parts(tmp_path, many, "--test-share", 0.8) == []
    assert golden_parts(tmp_path, ROWS, "--golden-rows", 2) == []


def test_a_share_of_the_rows_is_kept_for_the_test(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS, "utf-8")
    assert len(settings.corpus_of(parsed("--corpus", tmp_path / "rows.csv", "--test-share", 0.5)).test) == 10


def test_a_tagger_refuses_texts_without_labels_and_the_fix_is_the_command_without_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tagger takes no texts") as refused:
        with_texts(tmp_path, "".join(f"In O\nRome{row} LOC\n\n" for row in range(9)), "--epochs", 2)
    _, verb, *words = shlex.split(refused.value.fix)
    assert verb == "train"
    assert parsed(*words[1:]) == parsed("--corpus", tmp_path / "rows.conll", "--epochs", 2)


def test_the_options_that_repeat_a_training_have_its_texts_without_labels() -> None:
    arguments = parsed("--corpus", "rows.csv", "--unlabelled", "texts.txt")
    assert parsed(*settings.options_of(arguments, "rows.csv")) == arguments


def test_what_measures_training_takes_no_texts_without_labels(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    options.throughput_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["runs/x", "--unlabelled", "texts.txt"])
    assert "--unlabelled" in capsys.readouterr().err


def test_the_default_encoder_is_the_checkouts_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.csv").write_text(ROWS, "utf-8")
    arguments = parsed("--corpus", tmp_path / "rows.csv")
    data = settings.corpus_of(arguments)
    monkeypatch.chdir(tmp_path)
    assert settings.job_of(arguments, data, checkpoints="", evaluate=True).encoder == str(tools.ENCODER)
    assert "--encoder" not in settings.command_of(arguments, data.where)
