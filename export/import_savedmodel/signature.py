"""The serving signature of a SavedModel from elsewhere, and the model under the bundle's own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.contract.ragged import INPUTS
from slipway.errors import ConversionError

# Names of the inputs elsewhere (Hugging Face's TF models, BERT's first release) → here.
_KNOWN_INPUTS = {
    **{name: name for name in INPUTS},
    "input_ids": "input_word_ids",
    "attention_mask": "input_mask",
    "token_type_ids": "input_type_ids",
    "segment_ids": "input_type_ids",
}
_SIGNATURE_FIX = "save the model with one signature serving_default: ids, mask and type ids, integers [batch, sequence], to logits"


@dataclass(frozen=True)
class ForeignSignature:
    """The signature that a SavedModel came with, and the rows of its tables (0: unknown)."""

    inputs: dict[str, str]  # name → type and shape
    output: str
    vocabulary: int  # rows of the word embeddings
    positions: int  # rows of the position embeddings


def import_model(source: Path, target: Path) -> ForeignSignature:
    """Write the SavedModel to `target`, as it is or wrapped; return its own signature.

    Raises ConversionError when its serving signature is not a BERT's.
    """
    from slipway.tensorflow import SIGNATURE, tf

    loaded = tf.saved_model.load(str(source))
    if SIGNATURE not in loaded.signatures:
        raise _not_a_bert(source, f"a signature {SIGNATURE}", f"signatures {list(loaded.signatures)}")
    signature = loaded.signatures[SIGNATURE]
    inputs = signature.structured_input_signature[1]
    names = _input_names(source, inputs)
    output = _output_name(source, list(signature.structured_outputs))
    int32 = all(spec.dtype == tf.int32 for spec in inputs.values())
    if names == {name: name for name in INPUTS} and output == "logits" and int32:
        shutil.copytree(source, target)
    else:
        _wrap(loaded, signature, names, output, target)
    rows = {variable.name.split(":")[0]: variable.shape[:1] for variable in signature.variables}
    return ForeignSignature(
        inputs={name: f"{spec.dtype.name} {spec.shape.as_list()}" for name, spec in inputs.items()},
        output=output,
        vocabulary=next((int(size[0]) for name, size in rows.items() if "word_embedding" in name), 0),
        positions=next((int(size[0]) for name, size in rows.items() if "position_embedding" in name), 0),
    )


def _input_names(source: Path, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Map its inputs to ours. Raises ConversionError for an unknown name, type or shape."""
    for name, spec in inputs.items():
        if name not in _KNOWN_INPUTS or spec.dtype.name not in ("int32", "int64") or spec.shape.as_list() != [None, None]:
            expected = f"inputs called {', '.join(_KNOWN_INPUTS)}: int32 or int64, [None, None]"
            raise _not_a_bert(source, expected, f"{name}: {spec.dtype.name} {spec.shape.as_list()}")
    names = {name: _KNOWN_INPUTS[name] for name in inputs}
    if not {"input_word_ids", "input_mask"} <= set(names.values()):
        raise _not_a_bert(source, "at least ids and a mask", f"inputs {list(inputs)}")
    return names


def _output_name(source: Path, outputs: list[str]) -> str:
    if "logits" in outputs:
        return "logits"
    if len(outputs) != 1:
        raise _not_a_bert(source, "an output called logits, or only one", f"outputs {outputs}")
    return outputs[0]


def _wrap(loaded: Any, signature: Any, names: dict[str, str], output: str, target: Path) -> None:
    """Save it anew under the bundle's signature; types are cast, unused type ids are ignored."""
    from slipway.tensorflow import SIGNATURE, tf

    specs = signature.structured_input_signature[1]
    module = tf.Module()
    module.model = loaded  # owns the variables

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS])  # type: ignore[untyped-decorator]
    def logits(input_word_ids: Any, input_mask: Any, input_type_ids: Any) -> dict[str, Any]:
        ours = dict(zip(INPUTS, (input_word_ids, input_mask, input_type_ids), strict=True))
        given = {name: tf.cast(ours[meaning], specs[name].dtype) for name, meaning in names.items()}
        return {"logits": tf.cast(signature(**given)[output], tf.float32)}

    tf.saved_model.save(module, str(target), signatures={SIGNATURE: logits})


def _not_a_bert(source: Path, expected: str, found: str) -> ConversionError:
    return ConversionError(
        "the SavedModel is not a BERT to convert", expected=expected, found=found, where=str(source), fix=_SIGNATURE_FIX
    )
