"""A Hugging Face directory's BERT, DistilBERT or ELECTRA: config.json and safetensors, no PyTorch.

The weights go into the layers of `bert`, under TF Hub's names. What these layers do not compute is
refused by name: another family, relative positions, several labels at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway.contract import manifest
from slipway.contract.ragged import INPUTS
from slipway.errors import ConversionError

CONFIG = "config.json"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"  # one file, or several with a list of them
_POOLER, _POOLER_DEVIATION = "pooler.dense.weight", 0.02  # BERT's own initializer_range
_GELU = {"gelu": "exact", "gelu_new": "approximate", "gelu_pytorch_tanh": "approximate", "gelu_fast": "approximate"}
_HEADS = {"ForSequenceClassification": False, "ForTokenClassification": True}  # end of the architecture → a tagger?
Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _Family:
    """The names of a kind of model: ours → theirs, in each layer and beside them."""

    prefix: str
    layer: str
    layers: dict[str, str]
    others: dict[str, str]
    config: dict[str, str]  # key of a BERT's config.json → its own
    # Dense layers from the first token, or BERT's pooler, to a text's logits; their activations.
    head: tuple[tuple[str, str | None], ...]


_EMBEDDINGS = {
    "word_embeddings/embeddings": "embeddings.word_embeddings.weight",
    "position_embedding/embeddings": "embeddings.position_embeddings.weight",
    "embeddings/layer_norm/gamma": "embeddings.LayerNorm.weight",
    "embeddings/layer_norm/beta": "embeddings.LayerNorm.bias",
}
_BERT_LAYERS = {
    "self_attention/query": "attention.self.query",
    "self_attention/key": "attention.self.key",
    "self_attention/value": "attention.self.value",
    "self_attention/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
_TYPES = {"type_embeddings/embeddings": "embeddings.token_type_embeddings.weight"}
_FAMILIES = {
    "bert": _Family(
        prefix="bert.",
        layer="encoder.layer",
        layers=_BERT_LAYERS,
        others={
            **_EMBEDDINGS,
            **_TYPES,
            "pooler_transform/kernel": "pooler.dense.weight",
            "pooler_transform/bias": "pooler.dense.bias",
        },
        config={},
        head=(("classifier", None),),
    ),
    "electra": _Family(
        prefix="electra.",
        layer="encoder.layer",
        layers=_BERT_LAYERS,
        others={**_EMBEDDINGS, **_TYPES},
        config={},
        head=(("classifier.dense", "gelu"), ("classifier.out_proj", None)),
    ),
    "distilbert": _Family(
        prefix="distilbert.",
        layer="transformer.layer",
        layers={
            "self_attention/query": "attention.q_lin",
            "self_attention/key": "attention.k_lin",
            "self_attention/value": "attention.v_lin",
            "self_attention/attention_output": "attention.out_lin",
            "self_attention_layer_norm": "sa_layer_norm",
            "intermediate": "ffn.lin1",
            "output": "ffn.lin2",
            "output_layer_norm": "output_layer_norm",
        },
        others=_EMBEDDINGS,
        config={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
            "hidden_act": "activation",
            "hidden_dropout_prob": "dropout",
        },
        head=(("pre_classifier", "relu"), ("classifier", None)),
    ),
}


def is_supported(config: Mapping[str, Any]) -> bool:
    """Return whether a config.json is of a family that is known here."""
    return config.get("model_type") in _FAMILIES


def has_weights(directory: Path) -> bool:
    """Return whether the weights lie there as safetensors."""
    return (directory / _WEIGHTS).is_file() or (directory / _INDEX).is_file()


def missing_weights(directory: Path) -> list[str]:
    """Return the names of files with weights that a model is read from and that are not there."""
    return [path.name for path in _weight_files(directory) if not path.is_file()]


def write_classifier(directory: Path, target: Path, again: str) -> None:
    """Write a fine-tuned classifier or tagger as a SavedModel from ragged.INPUTS to logits.

    Raises ConversionError for what is none, or of another kind.
    """
    from slipway.encoder import saving

    config, weights = _read(directory, again)
    saving.save_classifier(_classifier(config, weights, directory, again), target)


def write_encoder(directory: Path, vocabulary: bytes, lower_case: bool, target: Path, again: str) -> bool:
    """Write an encoder as a TF Hub module, to be trained; return whether its pooler is its own.

    A model that was trained without a pooler, as a DistilBERT or most language models, gets one of
    random weights. Raises ConversionError for what is no encoder that is known here.
    """
    from slipway.encoder import saving

    config, weights = _read(directory, again)
    family = _family(config, directory, again)
    own = any(name in weights for name in (_POOLER, f"{family.prefix}{_POOLER}"))
    saving.save_encoder(build_encoder(config, weights, directory, again, new_pooler=not own), vocabulary, target, lower_case)
    return own


def _read(directory: Path, again: str) -> tuple[dict[str, Any], Weights]:
    from safetensors import SafetensorError

    try:
        return json.loads((directory / CONFIG).read_text("utf-8")), _read_weights(directory)
    except (SafetensorError, OSError, ValueError, KeyError) as error:  # cut, a pointer of Git LFS, or a file that is not there
        raise _refused(
            directory, "config.json and whole files of safetensors", f"{type(error).__name__}: {error}", again
        ) from error


def build_encoder(
    config: Mapping[str, Any], weights: Weights, where: Path, again: str, pooler: bool = True, new_pooler: bool = False
) -> Any:
    """Return the encoder as a Keras model with its weights. Raises ConversionError.

    A `new_pooler` has random weights, the same each time.
    """
    from slipway.encoder import bert

    family = _family(config, where, again)
    sizes: dict[str, Any] = {key: config.get(family.config.get(key, key)) for key in _NUMBERS}
    if missing := [family.config.get(key, key) for key, number in sizes.items() if not isinstance(number, int)]:
        raise _refused(where, "the sizes of an encoder in config.json", f"no {', '.join(missing)}", again)
    size = bert.Size(
        **{ours: sizes[key] for key, ours in _NUMBERS.items()},
        dropout=float(config.get(family.config.get("hidden_dropout_prob", "hidden_dropout_prob")) or 0.0),
        types=int(config.get("type_vocab_size") or 2),
        gelu=_GELU[config.get(family.config.get("hidden_act", "hidden_act"), "gelu")],
        epsilon=float(config.get("layer_norm_eps") or 1e-12),
    )
    model = bert.build(size, pooler=new_pooler or (pooler and "pooler_transform/kernel" in family.others))
    for variable in model.variables:
        name, shape = variable.name.removesuffix(":0"), tuple(variable.shape)
        if new_pooler and name.startswith("pooler_transform"):
            random = np.random.default_rng(0).normal(0, _POOLER_DEVIATION, shape)
            variable.assign(random if name.endswith("kernel") else np.zeros(shape))
            continue
        if name.startswith("type_embeddings") and name not in family.others:
            variable.assign(np.zeros(shape, np.float32))  # a DistilBERT does not tell the texts of a pair apart
            continue
        theirs = _their_name(name, family)
        value = _value(weights, theirs, family.prefix, where, again)
        if value.size != np.prod(shape) or (name.endswith("embeddings") and value.shape != shape):
            raise _refused(where, f"the weight {theirs} as config.json says, {list(shape)}", f"{list(value.shape)}", again)
        variable.assign((value.T if name.endswith("kernel") else value).reshape(shape))
    return model


_NUMBERS = {
    "vocab_size": "vocabulary",
    "max_position_embeddings": "positions",
    "hidden_size": "hidden",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "intermediate",
}


def _classifier(config: Mapping[str, Any], weights: Weights, where: Path, again: str) -> Any:
    """Return a Keras model from ragged.INPUTS to logits. Raises ConversionError."""
    from slipway.tensorflow import tf, tf_keras

    architecture = str(next(iter(config.get("architectures") or [""])))
    tagger = next((tagger for end, tagger in _HEADS.items() if architecture.endswith(end)), None)
    if tagger is None:
        raise _refused(where, "a classifier or a tagger: an architecture …ForSequenceClassification or …ForTokenClassification",
                       architecture or "none: an encoder alone, which is trained first", again)  # fmt: skip
    if config.get("problem_type") in ("multi_label_classification", "regression") or len(config.get("id2label") or "xx") < 2:
        raise _refused(where, "one choice out of two labels or more", f"problem_type {config.get('problem_type')}, "
                       f"{len(config.get('id2label') or {})} labels", again)  # fmt: skip
    encoder = build_encoder(config, weights, where, again, pooler=not tagger)
    inputs = {name: tf_keras.layers.Input((None,), dtype=tf.int32, name=name) for name in INPUTS}
    outputs = encoder(inputs)
    if tagger:
        return tf_keras.Model(inputs, _dense(weights, "classifier", None, where, again)(outputs["sequence_output"]))
    hidden = outputs["pooled_output"] if "pooled_output" in outputs else outputs["sequence_output"][:, 0, :]
    for name, activation in _family(config, where, again).head:
        hidden = _dense(weights, name, activation, where, again)(hidden)
    return tf_keras.Model(inputs, hidden)


def _dense(weights: Weights, name: str, activation: str | None, where: Path, again: str) -> Any:
    from slipway.tensorflow import tf_keras

    kernel, bias = (_value(weights, f"{name}.{kind}", "", where, again) for kind in ("weight", "bias"))
    initializers = [tf_keras.initializers.Constant(values) for values in (kernel.T, bias)]
    return tf_keras.layers.Dense(
        len(bias),
        activation=activation,
        kernel_initializer=initializers[0],
        bias_initializer=initializers[1],
        name=name.replace(".", "_"),
    )


def _family(config: Mapping[str, Any], where: Path, again: str) -> _Family:
    """Return the model's family. Raises ConversionError for one that computes otherwise."""
    family = _FAMILIES.get(str(config.get("model_type")))
    if family is None:
        raise _refused(where, f"a model_type of {', '.join(_FAMILIES)}", repr(config.get("model_type")), again)
    activation = config.get(family.config.get("hidden_act", "hidden_act"), "gelu")
    odd = {
        "quantization_config": ("set" if config.get("quantization_config") else "", ""),
        "embedding_size": (config.get("embedding_size") or config.get("hidden_size"), config.get("hidden_size")),
        "auto_map": ("code of its own" if config.get("auto_map") else "", ""),
        "position_embedding_type": (config.get("position_embedding_type", "absolute"), "absolute"),
        "is_decoder": (config.get("is_decoder", False), False),
        "the activation": (activation if activation not in _GELU else "", ""),
    }
    for name, (value, expected) in odd.items():
        if value != expected:
            wanted = expected or (", ".join(_GELU) if name == "the activation" else "none")
            raise _refused(where, f"{name}: {wanted}", repr(value), again)
    return family


def _their_name(name: str, family: _Family) -> str:
    """Return the name of our variable in the family's files."""
    if name in family.others:
        return family.others[name]
    _, layer, rest = name.split("/", 2)
    part, kind = rest.rsplit("/", 1)
    suffix = "weight" if kind in ("kernel", "gamma") else "bias"
    return f"{family.layer}.{layer.removeprefix('layer_')}.{family.layers[part]}.{suffix}"


def _value(weights: Weights, name: str, prefix: str, where: Path, again: str) -> NDArray[Any]:
    """Return a weight, by its name with or without the prefix, or as the first releases had it."""
    old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    for candidate in (f"{prefix}{name}", name, f"{prefix}{old}", old):
        if candidate in weights:
            return np.asarray(weights[candidate], np.float32)
    raise _refused(where, f"the weight {prefix}{name}", f"none of this name among {len(weights)}", again)


def sha256(directory: Path) -> str:
    """Return a hash over the files that a model is read from; links are followed."""
    hashes = [manifest.sha256(path) for path in (directory / CONFIG, *_weight_files(directory))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _weight_files(directory: Path) -> list[Path]:
    index = directory / _INDEX
    names = set(json.loads(index.read_text("utf-8"))["weight_map"].values()) if index.is_file() else {_WEIGHTS}
    return [directory / Path(name).name for name in sorted(names)]


def _read_weights(directory: Path) -> Weights:
    from safetensors.numpy import load_file

    return {name: value for path in _weight_files(directory) for name, value in load_file(path).items()}


def _refused(where: Path, expected: str, found: str, again: str) -> ConversionError:
    return ConversionError(
        "the Hugging Face model cannot be read",
        expected=expected,
        found=found,
        where=str(where / CONFIG),
        fix=f"take a model of that kind: {again}",
    )
