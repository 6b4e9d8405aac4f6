"""A Hugging Face directory as --encoder: the same encoder, its vocabulary and its casing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slipway.errors import EncoderError
from tests.support.models import hugging_face_models as models
from train.model import hugging_face_encoder
from train.model.hub_encoder import EncoderLayer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"piece{number}" for number in range(models.PIECES - 4))]


def directory(path: Path, kind: str = "bert", **tokenizer: object) -> Path:
    models.write(path, models.config(kind, "BertModel"), models.weights(kind, tagger=False))
    (path / "vocab.txt").write_text("\n".join(PIECES) + "\n", "utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False} | tokenizer), "utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_it_becomes_a_module_that_is_recognised_and_made_once(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, target = directory(tmp_path / "my encoder", kind), tmp_path / "run/encoder"
    for _ in range(2):
        assert hugging_face_encoder.module(str(source), target, "slipway train x") == str(target)
    told = capfd.readouterr().out
    assert (told.count("making a TF Hub module"), "no pooler" in told) == (1, kind == "distilbert")
    layer = EncoderLayer(str(target))
    assert (layer.size is not None, layer.lower_case, layer.layers) == (True, False, models.LAYERS)
    assert layer.vocabulary.read_text("utf-8").splitlines() == PIECES
    words = models.weights(kind, tagger=False)[f"{kind}.embeddings.word_embeddings.weight"]
    assert any(np.array_equal(variable.numpy(), words) for variable in layer.variables)


@pytest.mark.slow
def test_changed_files_are_made_anew(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, target = directory(tmp_path / "hf"), tmp_path / "encoder"
    hugging_face_encoder.module(str(source), target, "slipway train x")
    (source / "tokenizer_config.json").write_text('{"do_lower_case": true}', "utf-8")
    hugging_face_encoder.module(str(source), target, "slipway train x")
    assert capfd.readouterr().out.count("making a TF Hub module") == 2
    assert EncoderLayer(str(target)).lower_case


def test_what_the_maker_says_ends_the_command_as_it_ended(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = directory(tmp_path / "hf")
    (source / "config.json").write_text('{"model_type": "roberta"}', "utf-8")
    with pytest.raises(SystemExit) as ended:
        hugging_face_encoder.module(str(source), tmp_path / "encoder", "slipway train x")
    assert (ended.value.code, "'roberta'" in capfd.readouterr().err) == (7, True)
    assert not (tmp_path / "encoder").exists()


def test_a_vocabulary_is_read_out_of_tokenizer_json(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    (source / "vocab.txt").unlink()
    model = {"type": "WordPiece", "vocab": {piece: number for number, piece in reversed(list(enumerate(PIECES)))}}
    (source / "tokenizer.json").write_text(json.dumps({"model": model}), "utf-8")
    assert hugging_face_encoder.vocabulary(source, "again") == PIECES


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"vocab.txt": None, "tokenizer.json": '{"model": {"type": "BPE"}}'}, "BPE"),
        ({"vocab.txt": None}, "neither"),
        ({"vocab.txt": "[UNK]\n[PAD]\n[CLS]\n[SEP]\n"}, "[PAD] first"),
        ({"tokenizer_config.json": "{}"}, "tokenizer_config.json"),
        ({"tokenizer_config.json": '{"do_lower_case": true, "strip_accents": false}'}, "strip_accents False"),
        ({"tokenizer_config.json": "version https://git-lfs"}, "download tokenizer_config.json again"),
        ({"model.safetensors": None}, "download model.safetensors again"),
        ({"model.safetensors": None, "pytorch_model.bin": ""}, "which writes them beside, then: slipway train x"),
        ({"model.safetensors": None, "tf_model.h5": ""}, "from_tf=True"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_what_it_is(files: dict[str, str | None], told: str, tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    for name, text in files.items():
        (source / name).unlink(missing_ok=True)
        if text is not None:
            (source / name).write_text(text, "utf-8")
    with pytest.raises(EncoderError) as refused:
        hugging_face_encoder.module(str(source), tmp_path / "encoder", "slipway train x")
    assert told in str(refused.value)


def test_a_tf_hub_module_beside_a_config_stays_one(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    assert hugging_face_encoder.is_one(str(source))
    (source / "saved_model.pb").write_bytes(b"")
    assert not hugging_face_encoder.is_one(str(source))
