"""Hugging Face directories of small models with random weights, and their answers in NumPy.

Written from the published formulas, with the names that the files have; independent of
slipway/encoder.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from slipway.contract.ragged import Feed, Logits

HIDDEN, HEADS, LAYERS, FED, POSITIONS, PIECES, LABELS = 16, 2, 2, 24, 20, 30, 3
Weights = dict[str, NDArray[Any]]
_PARTS = {  # kind of model → its names of a layer's parts, in the order of their use
    "bert": (
        "bert.encoder.layer.{}.",
        ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
        ("attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
    ),
    "electra": (
        "electra.encoder.layer.{}.",
        ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
        ("attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
    ),
    "distilbert": (
        "distilbert.transformer.layer.{}.",
        ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
        ("sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
    ),
}
_FIRST = {"bert": "bert.pooler.dense", "electra": "classifier.dense", "distilbert": "pre_classifier"}  # layer of the head
_BERT_CONFIG = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": FED,
    "hidden_act": "gelu",
}
_DISTIL_CONFIG = {"dim": HIDDEN, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": FED, "activation": "gelu"}


def config(kind: str, architecture: str, **changed: Any) -> dict[str, Any]:
    """A config.json, with some values changed."""
    own = _DISTIL_CONFIG if kind == "distilbert" else _BERT_CONFIG
    labels = {str(number): name for number, name in enumerate("abc")}
    common = {"model_type": kind, "architectures": [architecture], "vocab_size": PIECES, "max_position_embeddings": POSITIONS}
    return {**common, "id2label": labels, **own, **changed}


def weights(kind: str, tagger: bool) -> Weights:
    random = np.random.default_rng(0)
    made: Weights = {}

    def dense(name: str, inputs: int, outputs: int) -> None:
        made[f"{name}.weight"] = random.normal(0, 0.4, (outputs, inputs)).astype(np.float32)
        made[f"{name}.bias"] = random.normal(0, 0.2, outputs).astype(np.float32)

    def norm(name: str) -> None:
        made[f"{name}.weight"] = random.normal(1, 0.2, HIDDEN).astype(np.float32)
        made[f"{name}.bias"] = random.normal(0, 0.2, HIDDEN).astype(np.float32)

    tables = {"word": PIECES, "position": POSITIONS} | ({} if kind == "distilbert" else {"token_type": 2})
    for table, rows in tables.items():
        made[f"{kind}.embeddings.{table}_embeddings.weight"] = random.normal(0, 1, (rows, HIDDEN)).astype(np.float32)
    norm(f"{kind}.embeddings.LayerNorm")
    place, attention, (norm_1, grow, shrink, norm_2) = _PARTS[kind]
    for number in range(LAYERS):
        prefix = place.format(number)
        for part in attention:
            dense(prefix + part, HIDDEN, HIDDEN)
        dense(prefix + grow, HIDDEN, FED)
        dense(prefix + shrink, FED, HIDDEN)
        norm(prefix + norm_1)
        norm(prefix + norm_2)
    if not tagger:
        dense(_FIRST[kind], HIDDEN, HIDDEN)
    dense("classifier.out_proj" if kind == "electra" and not tagger else "classifier", HIDDEN, LABELS)
    return made


def write(directory: Path, settings: dict[str, Any], tensors: Weights) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(settings))
    save_file(tensors, directory / "model.safetensors")
    return directory


def logits(kind: str, tensors: Weights, feed: Feed, tagger: bool, approximate: bool = False) -> Logits:
    """[rows, labels]; tagger: [rows, tokens, labels]."""
    ids, mask, types = feed.values()

    def dense(name: str, x: NDArray[Any]) -> NDArray[Any]:
        result: NDArray[Any] = x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]
        return result

    def norm(name: str, x: NDArray[Any]) -> NDArray[Any]:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        result: NDArray[Any] = scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]
        return result

    x = tensors[f"{kind}.embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x += tensors[f"{kind}.embeddings.position_embeddings.weight"][: ids.shape[1]]
    if kind != "distilbert":
        x += tensors[f"{kind}.embeddings.token_type_embeddings.weight"][types]
    x = norm(f"{kind}.embeddings.LayerNorm", x)
    place, (query, key, value, together), (norm_1, grow, shrink, norm_2) = _PARTS[kind]
    for number in range(LAYERS):
        prefix = place.format(number)
        q, k, v = (_heads(dense(prefix + part, x)) for part in (query, key, value))
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(HIDDEN // HEADS) + np.where(mask, 0, -1e9)[:, None, None, :]
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(prefix + norm_1, x + dense(prefix + together, mixed))
        x = norm(prefix + norm_2, x + dense(prefix + shrink, _gelu(dense(prefix + grow, x), approximate)))
    if tagger:
        return dense("classifier", x)
    first = dense(_FIRST[kind], x[:, 0])
    if kind == "electra":
        return dense("classifier.out_proj", _gelu(first, approximate=False))
    return dense("classifier", np.tanh(first) if kind == "bert" else np.maximum(first, 0))


def _heads(x: NDArray[Any]) -> NDArray[Any]:
    return x.reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)


def _gelu(x: NDArray[Any], approximate: bool) -> NDArray[Any]:
    if approximate:
        result: NDArray[Any] = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return result
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
