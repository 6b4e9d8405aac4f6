"""Any SavedModel of a BERT, brought to the bundle's signature: the names of its inputs and output, int32 ids, one output."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from train.errors import ConversionError
from train.ragged import INPUTS

# How the inputs are called elsewhere (Hugging Face's TF models, BERT's first release) → here.
_KNOWN = {
    **{name: name for name in INPUTS},
    "input_ids": "input_word_ids",
    "attention_mask": "input_mask",
    "token_type_ids": "input_type_ids",
    "segment_ids": "input_type_ids",
}
_FIX = "save the model with one signature serving_default: ids, mask and type ids, integers [batch, sequence], to logits"


def hand_over(source: Path, target: Path) -> dict[str, Any]:
    """Write the SavedModel to `target`, as it is or wrapped; returns its own signature and the sizes of its tables (0: unknown).

    Raises ConversionError when its serving signature is not a BERT's.
    """
    from train.keras2 import tf
    from train.saved_model import SIGNATURE

    loaded = tf.saved_model.load(str(source))
    if SIGNATURE not in loaded.signatures:
        raise _refusal(source, f"a signature {SIGNATURE}", f"signatures {list(loaded.signatures)}")
    signature = loaded.signatures[SIGNATURE]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    names = _names(source, inputs)
    output = _output(source, outputs)
    if names == {name: name for name in INPUTS} and output == "logits" and all(one.dtype == tf.int32 for one in inputs.values()):
        shutil.copytree(source, target)
    else:
        _wrap(loaded, signature, names, output, target)
    tables = {v.name.split(":")[0]: v.shape for v in signature.variables}
    return {
        "inputs": {name: f"{one.dtype.name} {one.shape.as_list()}" for name, one in inputs.items()},
        "output": output,
        "vocabulary": next((int(shape[0]) for name, shape in tables.items() if "word_embedding" in name), 0),
        "positions": next((int(shape[0]) for name, shape in tables.items() if "position_embedding" in name), 0),
    }


def _names(source: Path, inputs: dict[str, Any]) -> dict[str, str]:
    """Its input → ours. Raises ConversionError on an unknown one, a wrong type, or a fixed length."""
    for name, spec in inputs.items():
        if name not in _KNOWN or spec.dtype.name not in ("int32", "int64") or spec.shape.as_list() != [None, None]:
            expected = f"inputs called {', '.join(_KNOWN)}: int32 or int64, [None, None]"
            raise _refusal(source, expected, f"{name}: {spec.dtype.name} {spec.shape.as_list()}")
    names = {name: _KNOWN[name] for name in inputs}
    if not {"input_word_ids", "input_mask"} <= set(names.values()):
        raise _refusal(source, "at least ids and a mask", f"inputs {list(inputs)}")
    return names


def _output(source: Path, outputs: dict[str, Any]) -> str:
    if "logits" in outputs:
        return "logits"
    if len(outputs) != 1:
        raise _refusal(source, "an output called logits, or only one", f"outputs {list(outputs)}")
    return str(next(iter(outputs)))


def _wrap(loaded: Any, signature: Any, names: dict[str, str], output: str, target: Path) -> None:
    """Save it anew under the bundle's signature; types are cast, a type id it does not take is ignored."""
    from train.keras2 import tf
    from train.saved_model import SIGNATURE

    specs = signature.structured_input_signature[1]
    module = tf.Module()
    module.model = loaded  # owns the variables

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS])  # type: ignore[untyped-decorator]
    def logits(input_word_ids: Any, input_mask: Any, input_type_ids: Any) -> dict[str, Any]:
        ours = dict(zip(INPUTS, (input_word_ids, input_mask, input_type_ids), strict=True))
        given = {name: tf.cast(ours[meaning], specs[name].dtype) for name, meaning in names.items()}
        return {"logits": tf.cast(signature(**given)[output], tf.float32)}

    tf.saved_model.save(module, str(target), signatures={SIGNATURE: logits})


def _refusal(source: Path, expected: str, found: str) -> ConversionError:
    return ConversionError("the SavedModel is not a BERT to convert", expected=expected, found=found, where=str(source), fix=_FIX)
