from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import numpy as np
import pytest

from export import import_savedmodel, options
from slipway.contract.ragged import Feed, Ragged
from slipway.errors import ConversionError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "oil", "up"]
IDS = Ragged.of([[2, 4, 3], [2, 5, 4, 3]])


def model(tmp_path: Path, **assets: str) -> Path:
    """A SavedModel's directory with these assets: `vocab="…"` becomes assets/vocab.txt."""
    (tmp_path / "model/assets").mkdir(parents=True)
    for name, content in assets.items():
        (tmp_path / f"model/assets/{name}.txt").write_text(content, "utf-8")
    return tmp_path / "model"


def check(saved_model: Path, pieces: list[str]) -> None:
    import_savedmodel.check_vocabulary(saved_model, pieces, Path("vocab.txt"), lambda own: f"again --vocab {own}")


def test_two_pieces_that_were_exchanged_are_named_by_the_first_line(tmp_path: Path) -> None:
    saved_model = model(tmp_path, vocab="\n".join(PIECES) + "\n")
    with pytest.raises(ConversionError) as refused:
        check(saved_model, [*PIECES[:4], "up", "oil"])
    assert refused.value.where == "vocab.txt:5"
    assert "'oil' in line 5" in refused.value.expected
    assert refused.value.found == "'up'"
    assert refused.value.fix == f"again --vocab {saved_model}/assets/vocab.txt"


def test_a_vocabulary_that_is_longer_or_shorter_than_the_models_own_is_refused(tmp_path: Path) -> None:
    saved_model = model(tmp_path, vocab="\n".join(PIECES))
    for pieces in (PIECES[:-1], [*PIECES, "more"]):
        with pytest.raises(ConversionError, match="not this model's"):
            check(saved_model, pieces)


@pytest.mark.parametrize("own", ["\n".join(PIECES), "\r\n".join(PIECES) + "\r\n"])
def test_the_models_own_vocabulary_is_taken(tmp_path: Path, own: str) -> None:
    check(model(tmp_path, bert_vocab=own), PIECES)


def test_an_asset_that_is_no_vocabulary_of_word_pieces_is_not_compared(tmp_path: Path) -> None:
    check(model(tmp_path, label_vocab="World\nSports\n", other="[CLS]\n[SEP]\n"), PIECES)


def test_a_model_without_assets_is_taken(tmp_path: Path) -> None:
    check(tmp_path, PIECES)


def answering(noise: float) -> import_savedmodel.Infer:
    random = np.random.default_rng(0)

    def infer(feed: Feed) -> np.ndarray:
        logits = np.stack([feed["input_word_ids"].sum(axis=1), feed["input_mask"].sum(axis=1)], axis=1)
        return np.float32(logits + noise * random.normal(size=logits.shape))

    return infer


def test_a_model_that_answers_differently_each_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="dropout or another random operation in its serving signature") as refused:
        import_savedmodel.check_repeatable(answering(0.1), IDS, tmp_path, "slipway import runs/x")
    assert "slipway import runs/x" in refused.value.fix


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_a_model_that_answers_the_same_but_for_rounding_is_taken(tmp_path: Path, noise: float) -> None:
    import_savedmodel.check_repeatable(answering(noise), IDS, tmp_path, "slipway import runs/x")


@pytest.mark.parametrize("given", [["--unlabelled", "more texts.txt"], []])
def test_the_command_that_imports_again_repeats_every_option(given: list[str]) -> None:
    parser = argparse.ArgumentParser()
    options.import_savedmodel_options(parser)
    files = ["--saved-model", "m", "--vocab", "v", "--labels", "l", "--golden", "g", "--max-seq-len", "64"]
    arguments = parser.parse_args(["runs/x", *files, *given])
    _, verb, *words = shlex.split(import_savedmodel.command(arguments))
    assert verb == "import"
    assert parser.parse_args(words) == arguments


def test_an_option_can_be_left_out_of_that_command() -> None:
    arguments = argparse.Namespace(
        run="runs/x", saved_model="m", vocab="v", labels="l", golden="g", unlabelled="texts.txt", max_seq_len=8
    )
    assert "--unlabelled" not in import_savedmodel.command(arguments, unlabelled=None)
