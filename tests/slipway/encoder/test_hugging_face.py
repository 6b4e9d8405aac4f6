"""Weights of Hugging Face in our layers give the answers that the published formulas give."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from slipway.contract.ragged import INPUTS, Feed
from slipway.encoder import hugging_face
from slipway.errors import ConversionError
from slipway.tensorflow import SavedClassifier
from tests.support.models import hugging_face_models as models

CLASSIFIER, TAGGER = "BertForSequenceClassification", "BertForTokenClassification"


def feed() -> Feed:
    random = np.random.default_rng(2)
    mask = (np.arange(9) < random.integers(3, 10, (6, 1))).astype(np.int32)
    ids = random.integers(4, models.PIECES, mask.shape).astype(np.int32) * mask
    return dict(zip(INPUTS, (ids, mask, (np.arange(9) > 4).astype(np.int32) * mask), strict=True))


def answers(directory: Path, tmp_path: Path) -> np.ndarray:
    hugging_face.write_classifier(directory, tmp_path / "saved", "again")
    return SavedClassifier(tmp_path / "saved").infer(feed())


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("bert", CLASSIFIER),
        ("bert", TAGGER),
        ("distilbert", "DistilBertForSequenceClassification"),
        ("distilbert", "DistilBertForTokenClassification"),
        ("electra", "ElectraForSequenceClassification"),
        ("electra", "ElectraForTokenClassification"),
    ],
)
def test_the_answers_are_those_of_the_formulas(kind: str, architecture: str, tmp_path: Path) -> None:
    tagger = architecture.endswith("TokenClassification")
    tensors = models.weights(kind, tagger)
    found = answers(models.write(tmp_path / "hf", models.config(kind, architecture), tensors), tmp_path)
    asked = feed()["input_mask"].astype(bool) if tagger else np.s_[:]
    np.testing.assert_allclose(found[asked], models.logits(kind, tensors, feed(), tagger)[asked], atol=2e-5)


def test_the_approximate_gelu_is_computed_where_the_config_names_it(tmp_path: Path) -> None:
    tensors = models.weights("bert", tagger=False)
    path = models.write(tmp_path / "hf", models.config("bert", CLASSIFIER, hidden_act="gelu_new"), tensors)
    expected = models.logits("bert", tensors, feed(), tagger=False, approximate=True)
    np.testing.assert_allclose(answers(path, tmp_path), expected, atol=2e-5)


def first_releases(tensors: models.Weights) -> models.Weights:
    ends = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    return {re.sub(r"LayerNorm\.\w+$", lambda end: ends[end[0]], name): value for name, value in tensors.items()}


def test_names_and_types_of_other_releases_are_the_same_model(tmp_path: Path) -> None:
    tensors = models.weights("bert", tagger=False)
    half = {name: value.astype(np.float16) for name, value in tensors.items()}
    path = models.write(tmp_path / "hf", models.config("bert", CLASSIFIER), first_releases(half))
    expected = models.logits("bert", {name: value.astype(np.float32) for name, value in half.items()}, feed(), tagger=False)
    np.testing.assert_allclose(answers(path, tmp_path), expected, atol=2e-5)


def test_weights_in_several_files_are_one_model(tmp_path: Path) -> None:
    tensors = models.weights("bert", tagger=False)
    path = models.write(tmp_path / "hf", models.config("bert", CLASSIFIER), tensors)
    (path / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, path / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    np.testing.assert_allclose(answers(path, tmp_path), models.logits("bert", tensors, feed(), tagger=False), atol=2e-5)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another family": ({"model_type": "roberta"}, "'roberta'"),
    "an encoder alone": ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM"),
    "several labels at once": ({"problem_type": "multi_label_classification"}, "multi_label_classification"),
    "a number": ({"id2label": {"0": "LABEL_0"}}, "1 labels"),
    "relative positions": ({"position_embedding_type": "relative_key"}, "'relative_key'"),
    "another activation": ({"hidden_act": "relu"}, "'relu'"),
    "projected embeddings": ({"model_type": "electra", "embedding_size": 8}, "8"),
    "no sizes": ({"hidden_size": None}, "no hidden_size"),
    "other sizes than the weights": ({"vocab_size": 31}, "[30, 16]"),
    "quantized weights": ({"quantization_config": {"load_in_8bit": True}}, "'set'"),
    "code of its own": ({"auto_map": {"AutoModel": "model.My"}}, "'code of its own'"),
    "more layers than weights": ({"num_hidden_layers": 3}, "none of this name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_computed_otherwise_is_refused_by_name(name: str, tmp_path: Path) -> None:
    changed, found = REFUSED[name]
    path = models.write(tmp_path / "hf", models.config("bert", CLASSIFIER, **changed), models.weights("bert", tagger=False))
    with pytest.raises(ConversionError, match="cannot be read") as refused:
        hugging_face.write_classifier(path, tmp_path / "saved", "again")
    assert found in refused.value.found


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"", None])
def test_weights_that_are_not_there_or_cut_are_refused(content: bytes | None, tmp_path: Path) -> None:
    path = models.write(tmp_path / "hf", models.config("bert", CLASSIFIER), models.weights("bert", tagger=False))
    (path / "model.safetensors").unlink()
    if content is not None:
        (path / "model.safetensors").write_bytes(content)
    with pytest.raises(ConversionError, match="cannot be read"):
        hugging_face.write_classifier(path, tmp_path / "saved", "again")
