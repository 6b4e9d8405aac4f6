"""Any TF Hub BERT as a Keras layer with freezable cells, mixed precision and repeatable dropout.

hub.KerasLayer loads a fixed FP32 function with stateful random operations in it: Keras' mixed
precision cannot reach inside, its dropout cannot be resumed, no cell of it can be frozen cheaply.
So a module whose variables have a BERT's names is rebuilt by `slipway.encoder.bert` from its own
weights, and the rebuilt one is used if it answers a probe batch as the module does. Any other
module is called as it is, with the limits that `limits` names.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slipway import errors
from slipway.contract.ragged import INPUTS, Feed
from slipway.encoder import bert
from slipway.errors import EncoderError
from slipway.tensorflow import hub, tf, tf_keras

# Largest |Δ| of outputs: float noise of 24 layers is below it, the other GELU's difference above.
_TOLERANCE = 1e-4
Again = Callable[..., str]  # options → the command to be run again with them, for the fix of an error
_TRAIN: Again = partial(errors.command, "train", "RUN")
_WORDS = "word_embeddings/embeddings"
LIMITS = (
    "it is called as it is: no mixed precision, dropout masks that a resumed run does not repeat, all its cells or none trained"
)


class EncoderLayer(tf_keras.layers.Layer):
    """A layer from INPUTS, int32 [batch, sequence], to the pooled output [batch, hidden].

    With return_sequence, it returns the sequence output [batch, sequence, hidden].

    handle            address or directory of a TF2 module
    fine_tune_layers  -1: all is trained; 0: nothing; n: the top n cells and the pooler
    output_size       hidden units the module must have; 0: not checked
    debug             print every trainable variable with its dimensions and counts
    again             options → the command with them, for the fix of an error

    Raises EncoderError.
    """

    def __init__(
        self,
        handle: str,
        *,
        fine_tune_layers: int = -1,
        return_sequence: bool = False,
        output_size: int = 0,
        debug: bool = False,
        again: Again = _TRAIN,
    ) -> None:
        super().__init__(name="encoder")
        module = _load(handle, again)
        values = {variable.name.removesuffix(":0"): variable for variable in module.variables}
        prefix = next((name.removesuffix(_WORDS) for name in values if name.endswith(_WORDS)), "")
        values = {name.removeprefix(prefix): variable for name, variable in values.items()}
        self.return_sequence = return_sequence
        self.vocabulary = Path(module.resolved_object.vocab_file.asset_path.numpy().decode())
        self.lower_case = bool(module.resolved_object.do_lower_case.numpy())
        self.positions, self.hidden = map(int, _position_table(values, handle, again).shape)
        self.layers = len({name.split("/")[1] for name in values if name.startswith("transformer/layer_")})
        _check_size(output_size, self.hidden, handle, again)
        self.size, self._encoder = _rebuilt(module, values, pooler=not return_sequence)
        self.limits = "" if self.size else LIMITS
        _check_layers(fine_tune_layers, self.layers, recognised=self.size is not None, handle=handle, again=again)
        if self.size:
            bert.fine_tune(self._encoder, fine_tune_layers)
            gc.collect()  # frees the module's copy of the weights, which Keras holds in cycles
        else:
            self._encoder.trainable = fine_tune_layers != 0
        if debug:
            print(describe(self.trainable_variables))

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        outputs = self._encoder(inputs, training=training)
        return outputs["sequence_output" if self.return_sequence else "pooled_output"]

    def in_float32(self) -> tf_keras.Model | None:
        """Return a copy that computes in FP32, or None when the module is called as it is."""
        if self.size is None:
            return None
        twin = _in_float32(self.size, pooler=not self.return_sequence)
        for variable, value in zip(twin.variables, self._encoder.variables, strict=True):
            variable.assign(value)
        return twin


def describe(variables: list[tf.Variable]) -> str:
    """Return a table of the variables: name, dimensions and elements, and their sum."""
    counts = [int(np.prod(variable.shape)) for variable in variables]
    names = [variable.name.removesuffix(":0") for variable in variables]
    shapes = ["×".join(map(str, variable.shape)) for variable in variables]
    wide, wider = (max(map(len, column), default=0) for column in (names, shapes))
    lines = [f"{name:<{wide}}  {shape:>{wider}}  {count:>13,}" for name, shape, count in zip(names, shapes, counts, strict=True)]
    return "\n".join([*lines, f"{len(variables)} trainable variables, {sum(counts):,} elements"])


def _load(handle: str, again: Again) -> hub.KerasLayer:
    try:
        module = hub.KerasLayer(handle, trainable=True)
    except Exception as error:  # hub raises whatever the file system or the network raised
        raise EncoderError(
            "the encoder cannot be loaded",
            expected="a TF Hub handle: the address or the directory of a TF2 SavedModel",
            found=f"{type(error).__name__}: {str(error).splitlines()[0][:300]}",
            where=handle,
            fix=f"{again('--encoder', 'path/or/address')}, or no --encoder for the default, which make setup builds",
        ) from error
    if not hasattr(module.resolved_object, "vocab_file") or not hasattr(module.resolved_object, "do_lower_case"):
        names = [variable.name for variable in module.variables]
        raise _not_a_bert(handle, "a vocabulary asset `vocab_file` and `do_lower_case`", names, again)
    return module


def _position_table(values: dict[str, tf.Variable], handle: str, again: Again) -> tf.Variable:
    for name, variable in values.items():
        if "position_embedding" in name and len(variable.shape) == 2:
            return variable
    raise _not_a_bert(handle, "a variable position_embedding/embeddings", list(values), again)


def _not_a_bert(handle: str, expected: str, names: list[str], again: Again) -> EncoderError:
    return EncoderError(
        "the module is not a TF Hub BERT encoder",
        expected=expected,
        found=", ".join(sorted({name.split("/")[0] for name in names})) or "no variables",
        where=handle,
        fix=f"a TF2 BERT encoder: {again('--encoder', 'path/to/bert_en_uncased_L-12_H-768_A-12')}",
    )


def _rebuilt(module: hub.KerasLayer, values: dict[str, tf.Variable], *, pooler: bool) -> tuple[bert.Size | None, Any]:
    """Return the size and an encoder built under the current policy, or None and the module."""
    arrays = {name: variable.numpy() for name, variable in values.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    try:
        probe = _probe(bert.size_of(shapes, "exact"))
        expected = module(probe, training=False)
        for gelu in ("exact", "approximate"):
            size = bert.size_of(shapes, gelu)
            twin = _in_float32(size, pooler=True)
            bert.assign(twin, arrays)
            if _difference(twin(probe), expected) <= _TOLERANCE:
                encoder = bert.build(size, pooler)
                bert.assign(encoder, arrays)
                return size, encoder
    except (KeyError, ValueError, tf.errors.InvalidArgumentError):
        pass  # a variable is missing, or of another shape
    return None, module


def _in_float32(size: bert.Size, *, pooler: bool) -> tf_keras.Model:
    policy = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("float32")
    try:
        return bert.build(size, pooler)
    finally:
        tf_keras.mixed_precision.set_global_policy(policy)


def _probe(size: bert.Size) -> Feed:
    """Return a feed of 4 rows of random ids, with two segments and unequal lengths."""
    random = np.random.default_rng(0)
    shape = (4, min(16, size.positions))
    mask = np.arange(shape[1]) < np.array([[shape[1]], [shape[1] // 2], [3], [1]])
    feeds = random.integers(0, size.vocabulary, shape), mask, np.arange(shape[1]) >= np.full((4, 1), shape[1] // 2)
    return {name: np.asarray(value, np.int32) for name, value in zip(INPUTS, feeds, strict=True)}


def _difference(outputs: dict[str, tf.Tensor], expected: dict[str, tf.Tensor]) -> float:
    """Return the largest |Δ| of pooled and sequence output; NaN where a value is NaN."""
    return float(max(np.abs(outputs[name] - expected[name]).max() for name in ("pooled_output", "sequence_output")))


def _check_size(wanted: int, hidden: int, handle: str, again: Again) -> None:
    if wanted not in (0, hidden):
        raise EncoderError(
            "the encoder has not the size that was asked for",
            expected=f"output_size {wanted}",
            found=f"{hidden} hidden units",
            where=handle,
            fix=f"{again('--output-size', hidden)}, or another --encoder",
        )


def _check_layers(wanted: int, layers: int, *, recognised: bool, handle: str, again: Again) -> None:
    largest = layers if recognised else 0
    if not -1 <= wanted <= largest:
        raise EncoderError(
            "the encoder has not so many layers that can be trained alone",
            expected=f"fine_tune_layers from -1 (all) and 0 (none) to {largest}"
            + ("" if recognised else f" (it has {layers}, but is not built as a BERT, so: all or none)"),
            found=f"fine_tune_layers {wanted}",
            where=handle,
            fix=again("--fine-tune-layers", largest or -1),
        )
