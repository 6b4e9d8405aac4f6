"""The classifier of every peer, as its users would write it: tokenize, pad, run, name the label.

Runs in .tools/peers. The weights are the run's own. ONNX Runtime's idle threads do not spin, as in
Slipway, since they would take the cores from whoever shares them; every other option has its
default.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from slipway.contract import bundle
from slipway.contract.bundle import Bundle
from slipway.contract.ragged import INPUTS

ENGINES = ("onnxruntime", "tensorflow")
Floats = NDArray[np.float32]
Infer = Callable[[dict[str, Any]], Floats]  # arrays int32 [batch, sequence] by input name → logits [batch, labels]


@dataclass(frozen=True)
class Classified:
    """The answers to a batch of texts."""

    labels: list[str]  # [texts]
    probabilities: Floats  # [texts]
    logits: Floats  # [texts, labels]


def parser(what: str) -> argparse.ArgumentParser:
    """Return a parser of the flags that every peer takes."""
    arguments = argparse.ArgumentParser(description=what, allow_abbrev=False)
    arguments.add_argument("--bundle", type=Path, required=True, help="a run's bundle: vocabulary, labels, SavedModel")
    arguments.add_argument("--onnx", type=Path, required=True, help="the model file for ONNX Runtime")
    arguments.add_argument("--port", type=int, required=True, help="on loopback")
    return arguments


def load(directory: Path, engine: str, onnx: Path, threads: int = 0) -> Callable[[Sequence[str]], Classified]:
    """Return the classifier: texts → their answers.

    `engine` is one of ENGINES; `onnx` and `threads` (of one run; 0: one a core) are for ONNX
    Runtime.
    """
    source = bundle.load(directory)
    tokenizer = tokenizers.BertWordPieceTokenizer(
        str(source.vocabulary), lowercase=source.lower_case, strip_accents=source.facts.get("strip_accents")
    )
    tokenizer.enable_truncation(source.max_seq_len)
    tokenizer.enable_padding()  # to the longest of the batch
    infer = _onnxruntime(onnx, threads) if engine == "onnxruntime" else _tensorflow(source)
    labels = source.labels

    def classify(texts: Sequence[str]) -> Classified:
        encodings = tokenizer.encode_batch(list(texts))
        parts = ("ids", "attention_mask", "type_ids")
        columns = [np.array([getattr(encoding, part) for encoding in encodings], np.int32) for part in parts]
        logits = infer(dict(zip(INPUTS, columns, strict=True)))
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        return Classified([labels[i] for i in logits.argmax(axis=1)], probabilities.max(axis=1), logits)

    return classify


def _onnxruntime(model: Path, threads: int) -> Infer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    return lambda feed: session.run(["logits"], {name: feed[name] for name in wanted})[0]  # type: ignore[no-any-return, unused-ignore]


def _tensorflow(source: Bundle) -> Infer:
    import tensorflow as tf

    model = tf.saved_model.load(str(source.saved_model))
    signature = model.signatures["serving_default"]

    def infer(feed: dict[str, Any], _: Any = model) -> Floats:  # the signature holds its variables only weakly
        return signature(**{name: tf.constant(value) for name, value in feed.items()})["logits"].numpy()  # type: ignore[no-any-return, unused-ignore]

    return infer
