"""A bundle that cannot be used names the command that trains it again, with the settings that it
was trained with.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
from pathlib import Path

import pytest

from slipway.contract import bundle, manifest
from slipway.errors import ManifestError, UsageError
from train import options, settings
from train.data import corpus

OPTIONS = ["--corpus", "my texts/train.csv", "--encoder", "encoders/large", "--epochs", "3"]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A bundle of nothing but its manifest and one file."""
    directory = tmp_path / "run" / "bundle"
    with manifest.atomic_directory(directory) as building:
        (building / "vocab.txt").write_text("[PAD]\n")
        manifest.seal(building, bundle.MANIFEST, {"schema": bundle.SCHEMA, bundle.MADE_BY: ["train", *OPTIONS]})
    return directory


def proposed(directory: Path) -> list[str]:
    """The words of the fix after the program."""
    with pytest.raises(ManifestError) as caught:
        bundle.load(directory)
    return shlex.split(caught.value.fix)[1:]


def test_a_changed_bundle_is_trained_again_with_its_own_settings(trained: Path) -> None:
    (trained / "vocab.txt").write_text("changed")
    assert proposed(trained) == ["train", str(trained.parent), *OPTIONS]


def test_a_bundle_of_another_schema_is_trained_again_with_its_own_settings(trained: Path) -> None:
    manifest.seal(trained, bundle.MANIFEST, {"schema": 1, bundle.MADE_BY: ["train", *OPTIONS]})
    assert proposed(trained) == ["train", str(trained.parent), *OPTIONS]


def test_golden_rows_that_are_no_plain_arrays_name_the_settings_too(trained: Path) -> None:
    (trained / "golden.jsonl").write_text("")
    (trained / "golden.npz").write_bytes(b"pickled")
    facts = {"schema": bundle.SCHEMA, bundle.MADE_BY: ["train", *OPTIONS]}
    manifest.seal(trained, bundle.MANIFEST, facts)
    with pytest.raises(ManifestError) as caught:
        bundle.load_golden(bundle.load(trained))
    assert shlex.split(caught.value.fix)[1:] == ["train", str(trained.parent), *OPTIONS]


def test_without_a_manifest_the_record_beside_the_bundle_names_the_settings(trained: Path) -> None:
    (trained / bundle.MANIFEST).unlink()
    manifest.write_json(trained.parent / bundle.RUN_RECORD, {bundle.MADE_BY: ["train", "--epochs", "7"]})
    assert proposed(trained) == ["train", str(trained.parent), "--epochs", "7"]


def test_an_imported_bundle_is_imported_again(trained: Path) -> None:
    manifest.seal(trained, bundle.MANIFEST, {"schema": 1, bundle.MADE_BY: ["import", "--saved-model", "elsewhere"]})
    assert proposed(trained) == ["import", str(trained.parent), "--saved-model", "elsewhere"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", f'{{"{bundle.MADE_BY}": 7}}', f'{{"{bundle.MADE_BY}": []}}'])
def test_a_record_that_cannot_be_read_leaves_the_plain_command(trained: Path, content: str) -> None:
    (trained / bundle.MANIFEST).write_text(content)
    assert proposed(trained) == ["train", str(trained.parent)]


def test_a_record_that_is_a_pipe_is_never_opened(trained: Path) -> None:
    (trained / bundle.MANIFEST).unlink()
    os.mkfifo(trained / bundle.MANIFEST)
    with pytest.raises(ManifestError, match="a pipe"):
        bundle.load(trained)


def parse(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add(parser)
    return parser.parse_args(["runs/x", *map(str, words)])


def test_the_options_of_a_run_are_its_corpus_and_all_that_differ_from_their_defaults(generated: Path) -> None:
    given = ["--corpus", generated, "--encoder", "other", "--xla", "--labels", "A", "B", "--dropout", 0.2, "--epochs", 3]
    data = corpus.load(generated)
    options = settings.options_of(parse(*given), data.where)
    assert options[:2] == ["--corpus", str(generated)]
    assert parse(*options) == parse(*given)
    assert "--epochs" not in options  # 3 is the default


def test_a_corpus_that_was_looked_up_is_named_by_its_place(generated: Path) -> None:
    data = dataclasses.replace(corpus.load(generated), where="data/ag_news")
    assert settings.options_of(parse(), data.where) == ["--corpus", "data/ag_news"]


def test_a_finished_bundle_is_not_replaced_unless_it_is_forced(trained: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)finished bundle.*slipway train runs/x --epochs 2 --force"):
        bundle.refuse_finished(trained.parent, "slipway train runs/x --epochs 2")


def test_a_bundle_that_nothing_reads_is_replaced(trained: Path, tmp_path: Path) -> None:
    (trained / "vocab.txt").write_text("changed")
    bundle.refuse_finished(trained.parent, "slipway train runs/x")
    bundle.refuse_finished(tmp_path / "none", "slipway train runs/x")


def test_what_replaces_a_sound_bundle_is_forced(trained: Path) -> None:
    words = shlex.split(bundle.made_by(trained.parent, trained / bundle.MANIFEST, over=True))
    assert words[1:] == ["train", str(trained.parent), *OPTIONS, "--force"]
