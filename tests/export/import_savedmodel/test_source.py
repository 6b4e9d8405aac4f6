"""What people name instead of a SavedModel's directory, and what lies beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.import_savedmodel import source
from slipway.errors import ConversionError

VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\noil\n"


def again(path: Path) -> str:
    return f"again --saved-model {path}"


def model(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "saved_model.pb").write_bytes(b"")
    return path


def test_a_hugging_face_tree_holds_everything(tmp_path: Path) -> None:
    inner = model(tmp_path / "saved_model/1")
    (tmp_path / "vocab.txt").write_text(VOCABULARY)
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"1": "good", "0": "bad"}}))
    found = source.find(tmp_path, again)
    assert (found.saved_model, found.vocabulary, found.labels) == (inner, tmp_path / "vocab.txt", tmp_path / "config.json")
    assert source.label_lines(tmp_path / "config.json") == ["bad", "good"]


def test_the_models_own_vocabulary_is_found_where_there_is_no_other(tmp_path: Path) -> None:
    inner = model(tmp_path)
    (inner / "assets").mkdir()
    (inner / "assets/my_vocab.txt").write_text(VOCABULARY)
    (inner / "assets/label_vocab.txt").write_text("a\nb\n")
    assert source.find(inner / "saved_model.pb", again) == source.Source(inner, inner / "assets/my_vocab.txt", None)


def test_of_several_models_one_is_proposed(tmp_path: Path) -> None:
    for version in "12":
        model(tmp_path / version)
    with pytest.raises(ConversionError, match="several SavedModels") as refused:
        source.find(tmp_path, again)
    assert refused.value.fix == again(tmp_path / "2")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.h5", "a model of Keras"),
        ("model.keras", "a model of Keras"),
        ("frozen.pb", "a frozen graph"),
        ("pytorch_model.bin", "weights of PyTorch"),
        ("model.safetensors", "weights without a graph"),
        ("model.ckpt.index", "a checkpoint of TensorFlow"),
        ("model.onnx", "an ONNX graph"),
        ("model.tflite", "TensorFlow Lite"),
        ("model.zip", "an archive"),
        ("README", "a file"),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_each_kind_of_file_is_told_by_what_it_is(tmp_path: Path, name: str, kind: str, above: bool) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04" if name.endswith("zip") else b"x")
    with pytest.raises(ConversionError, match="not a SavedModel") as refused:
        source.find(tmp_path if above else tmp_path / name, again)
    assert (name if above else kind) in refused.value.found
    assert "again --saved-model" in refused.value.fix


def test_weights_of_hugging_face_are_told_by_their_model_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ConversionError) as refused:
        source.find(tmp_path, again)
    assert refused.value.found == "a Hugging Face directory (roberta) with model.safetensors"
    assert "save_pretrained('SAVED', saved_model=True)" in refused.value.fix


def test_weights_of_a_known_family_are_found_with_their_vocabulary_and_labels(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "id2label": {"0": "no", "1": "yes"}}))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConversionError) as refused:
        source.find(tmp_path, again)
    assert "which writes safetensors" in refused.value.fix
    (tmp_path / "model.safetensors").write_bytes(b"x")
    found = source.find(tmp_path, again)
    assert found == source.Source(tmp_path, tmp_path / "tokenizer.json", tmp_path / "config.json", weights_alone=True)


def test_a_path_that_is_not_there_proposes_the_model_that_is_near(tmp_path: Path) -> None:
    near = model(tmp_path / "models/1")
    with pytest.raises(ConversionError) as refused:
        source.find(tmp_path / "models/l/x", again)
    assert str(tmp_path / "models") in refused.value.found
    assert refused.value.fix == again(near)


@pytest.mark.parametrize("names", [{"0": "a", "2": "b"}, {"a": "b"}, ["a"], "ab", None])
def test_a_config_without_numbered_labels_has_none(tmp_path: Path, names: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"id2label": names}))
    assert source.label_lines(tmp_path / "config.json") == []


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_a_problem_that_is_no_choice_is_refused_by_the_config_beside_the_model(tmp_path: Path, problem: str) -> None:
    model(tmp_path / "saved_model/1")
    (tmp_path / "config.json").write_text(json.dumps({"problem_type": problem}))
    with pytest.raises(ConversionError, match="not one of a choice"):
        source.refuse_other_problems(source.find(tmp_path, again), "again")
