"""Bad input to training: refused before or without a bundle, with a message, and the bundle that
was there is kept.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from slipway.contract import bundle, manifest
from tests.support.command import slipway


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run with a sound bundle."""
    with manifest.atomic_directory(tmp_path / "my run" / "bundle") as building:
        (building / "vocab.txt").write_text("[PAD]\n")
        manifest.seal(building, bundle.MANIFEST, {"schema": bundle.SCHEMA})
    return tmp_path / "my run"


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_finished_bundle_is_kept_and_the_command_that_replaces_it_is_told(
    finished: Path, more: list[str], tmp_path: Path
) -> None:
    words = ["train", finished, "--corpus", tmp_path / "nothing", "--epochs", 2]
    done = slipway(*words, *more)
    assert done.returncode == 2
    forced = shlex.split(done.stderr.rpartition("over it: ")[2])
    assert forced[1:] == [*map(str, words), "--force"]
    assert slipway(*forced[1:]).returncode == 3, "nothing but the corpus is missing then"
    assert bundle.load(finished / "bundle")


def test_an_import_does_not_replace_a_finished_bundle_either(finished: Path, tmp_path: Path) -> None:
    words = ["import", finished, "--saved-model", tmp_path / "model", "--golden", tmp_path / "rows.csv"]
    done = slipway(*words)
    assert (done.returncode, "--force" in done.stderr) == (2, True)
    assert slipway(*words, "--force").returncode == 7


def test_a_bad_corpus_is_refused_before_any_process_is_started(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(f'"1","a","{split}"\n"9","b","{split}"\n')
    (tmp_path / "classes.txt").write_text("World\nSports\n")
    done = slipway("train", tmp_path / "run", "--corpus", tmp_path)
    assert done.returncode == 3
    assert "train.csv:2" in done.stderr
    assert "training" not in done.stdout
    assert not (tmp_path / "run").exists()


def test_an_unknown_encoder_is_refused_with_both_names_and_nothing_half_written(generated: Path, tmp_path: Path) -> None:
    out = tmp_path / "run" / "bundle"
    out.mkdir(parents=True)
    (out / "kept").write_text("the last good bundle")
    done = slipway("train", out.parent, "--corpus", generated, "--encoder", tmp_path / "nowhere")
    assert done.returncode == 4
    assert "the encoder cannot be loaded" in done.stderr
    assert str(tmp_path / "nowhere") in done.stderr
    assert (out / "kept").read_text() == "the last good bundle"
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


def test_a_sequence_longer_than_the_position_table_is_refused_with_both_numbers(
    generated: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    arguments = ["--corpus", generated, "--encoder", tiny_encoder, "--max-seq-len", 65, "--processes", 1]
    done = slipway("train", tmp_path, *arguments)
    assert done.returncode == 4
    assert "max_seq_len up to 64" in done.stderr
    assert "max_seq_len 65" in done.stderr
