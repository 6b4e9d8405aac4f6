"""The serving signature of a SavedModel from elsewhere, and the model under the bundle's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.import_savedmodel import outputs
from slipway.contract.ragged import INPUTS, Feed, Logits
from slipway.errors import ConversionError, UsageError

ROLES = {"ids": INPUTS[0], "mask": INPUTS[1], "types": INPUTS[2], "positions": "position_ids"}  # in --inputs → here
# Names of the inputs elsewhere (Hugging Face's TF models, BERT's first release) → here.
_KNOWN_INPUTS = {
    **{name: name for name in INPUTS},
    "input_ids": "input_word_ids",
    "attention_mask": "input_mask",
    "token_type_ids": "input_type_ids",
    "segment_ids": "input_type_ids",
    "position_ids": "position_ids",
}
_SHORTEST = 16  # tokens: a shorter fixed length is that of the example a model was traced with
_SAVE = "save the model with one signature serving_default: ids, mask and type ids, integers [batch, sequence], to logits"


@dataclass(frozen=True)
class Wanted:
    """What a person says of a SavedModel; None: it is found out."""

    signature: str | None
    inputs: str | None  # ids=NAME,mask=NAME,types=NAME
    output: str | None
    labels: int  # how many the model has
    again: str  # the command, for a fix


class ForeignModel:
    """A loaded SavedModel that is asked by the bundle's three inputs."""

    def __init__(self, directory: Path, source: Path, key: str, wanted: Wanted) -> None:
        """Load the SavedModel in `directory`; errors name `source`. Raises ConversionError."""
        from slipway.tensorflow import tf

        self._loaded = tf.saved_model.load(str(directory))  # owns the variables
        self._function = self._loaded.signatures[key]
        self._specs: Mapping[str, Any] = self._function.structured_input_signature[1]
        self.inputs = {name: f"{spec.dtype.name} {_shape(spec)}" for name, spec in self._specs.items()}
        self._names = _input_names(source, self._specs, wanted)
        self.length = _fixed_length(source, self._specs, wanted.again)
        self.output = _output_name(source, self._function.structured_outputs, wanted)
        self.is_float32 = self._function.structured_outputs[self.output].dtype == tf.float32
        rows = {variable.name.split(":")[0]: variable.shape[:1] for variable in self._function.variables}
        self.vocabulary = _rows(rows, "word_embedding")
        self.positions = min(filter(None, (_rows(rows, "position_embedding"), self.length)), default=0)

    def infer(self, feed: Feed) -> Logits:
        """Return its output as it is, [batch, columns], tagger [batch, tokens, columns]."""
        from slipway.tensorflow import tf

        answers: Logits = self._answer(*(tf.constant(feed[name]) for name in INPUTS)).numpy()
        return answers

    def save(self, kind: str, target: Path) -> None:
        """Write it under the bundle's signature, with logits made of its output's `kind`."""
        from slipway.tensorflow import SIGNATURE, tf

        module = tf.Module()
        module.model = self._loaded

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS])  # type: ignore[untyped-decorator]
        def logits(input_word_ids: Any, input_mask: Any, input_type_ids: Any) -> dict[str, Any]:
            return {"logits": outputs.to_logits(self._answer(input_word_ids, input_mask, input_type_ids), kind)}

        tf.saved_model.save(module, str(target), signatures={SIGNATURE: logits})

    def is_ours(self, key: str, kind: str) -> bool:
        """Return whether its signature is the bundle's own, so that its files can be copied."""
        from slipway.tensorflow import SIGNATURE, tf

        int32 = all(spec.dtype == tf.int32 for spec in self._specs.values())
        plain = kind in (outputs.LOGITS, outputs.LOG_PROBABILITIES) and not self.length
        return plain and int32 and key == SIGNATURE and self.output == "logits" and self._names == {name: name for name in INPUTS}

    def _answer(self, ids: Any, mask: Any, types: Any) -> Any:
        """Return its output as float32; unused type ids are ignored, types cast, lengths padded."""
        from slipway.tensorflow import tf

        tokens = tf.shape(ids)[1]
        given = dict(zip(INPUTS, (ids, mask, types), strict=True))
        given["position_ids"] = tf.zeros_like(ids) + tf.range(tokens)
        if self.length:
            given = {name: tf.pad(tensor, [[0, 0], [0, self.length - tokens]]) for name, tensor in given.items()}
            given = {name: tf.ensure_shape(tensor, [None, self.length]) for name, tensor in given.items()}
        answers = self._function(**{name: tf.cast(given[ours], self._specs[name].dtype) for name, ours in self._names.items()})
        answer = tf.cast(answers[self.output], tf.float32)
        answer = answer[:, tf.newaxis] if answer.shape.rank == 1 else answer  # a sigmoid's, squeezed
        return answer[:, :tokens] if self.length and answer.shape.rank == 3 else answer


def load(directory: Path, source: Path, key: str, wanted: Wanted) -> ForeignModel:
    """Load a SavedModel. Raises ConversionError where it cannot be, or is not a BERT's."""
    try:
        return ForeignModel(directory, source, key, wanted)
    except (ValueError, KeyError, OSError, RuntimeError) as error:  # whatever its files lead TensorFlow to
        line = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise _not_a_bert(source, "a SavedModel that TensorFlow loads", line, f"save it anew, then {wanted.again}") from error


def _shape(spec: Any) -> Any:
    return spec.shape.as_list() if spec.shape.rank is not None else "of unknown rank"


def _columns(spec: Any) -> int | None:
    """Return an output's last size; None where it is not known."""
    return spec.shape[-1] if spec.shape.rank else None


def _rows(rows: dict[str, Any], table: str) -> int:
    return next((int(size[0]) for name, size in rows.items() if table in name and len(size)), 0)


def _input_names(source: Path, inputs: Mapping[str, Any], wanted: Wanted) -> dict[str, str]:
    """Map its inputs to ours. Raises ConversionError for an unknown name, type or shape."""
    known = _KNOWN_INPUTS | _given_inputs(inputs, wanted)
    for name, spec in inputs.items():
        allowed = ("int32", "int64", "float32") if known.get(name) == INPUTS[1] else ("int32", "int64")
        if name not in known:
            roles = ",".join(f"{role}=NAME" for role in list(ROLES)[:3])
            fix = f"{wanted.again} --inputs {roles}, with its names: {', '.join(sorted(inputs))}"
            raise _not_a_bert(source, f"inputs called {', '.join(_KNOWN_INPUTS)}", f"{name}: {spec.dtype.name} {_shape(spec)}", fix)
        if spec.dtype.name not in allowed or spec.shape.rank != 2 or spec.shape[0] is not None:
            expected = f"{name} as {' or '.join(allowed)} [None, None]"
            raise _not_a_bert(source, expected, f"{name}: {spec.dtype.name} {_shape(spec)}", f"{_SAVE}; then {wanted.again}")
    names = {name: known[name] for name in inputs}
    if not set(INPUTS[:2]) <= set(names.values()):
        raise _not_a_bert(source, "at least ids and a mask", f"inputs {', '.join(inputs)}", f"{_SAVE}; then {wanted.again}")
    return names


def _given_inputs(inputs: Mapping[str, Any], wanted: Wanted) -> dict[str, str]:
    """Return the inputs that --inputs names. Raises UsageError for what it cannot mean."""
    pairs = [pair.partition("=") for pair in (wanted.inputs or "").split(",") if pair]
    if wrong := ["".join(pair) for pair in pairs if pair[0] not in ROLES or pair[2] not in inputs]:
        raise UsageError(
            "--inputs names what is not there",
            expected=f"{', '.join(f'{role}=NAME' for role in ROLES)}, out of {', '.join(inputs)}",
            found=", ".join(wrong),
            where="--inputs",
            fix=f"{wanted.again}, with --inputs of these names",
        )
    return {name: ROLES[role] for role, _, name in pairs}


def _fixed_length(source: Path, inputs: Mapping[str, Any], again: str) -> int:
    """Return the tokens that the model takes, if it takes no other number; else 0."""
    lengths = {spec.shape[1] for spec in inputs.values()}
    if lengths == {None}:
        return 0
    length = next(iter(lengths))
    if len(lengths) > 1 or length < _SHORTEST:
        raise _not_a_bert(
            source,
            f"inputs [None, None], or of one length of at least {_SHORTEST} tokens",
            ", ".join(f"{name} {_shape(spec)}" for name, spec in inputs.items()),
            f"it was traced with an example: give tf.TensorSpec([None, None], tf.int32) for each input, then {again}",
        )
    return int(length)


def _output_name(source: Path, answers: Mapping[str, Any], wanted: Wanted) -> str:
    """Return the classifier's output. Raises ConversionError where that is not clear."""
    names = sorted(name for name, spec in answers.items() if spec.dtype.is_floating)
    fitting = [name for name in names if _columns(answers[name]) in ((1, 2) if wanted.labels == 2 else (wanted.labels,))]
    single = next((found[0] for found in (names, fitting) if len(found) == 1), "")
    name = wanted.output or ("logits" if "logits" in names else single)
    if name in names:
        return name
    found = ", ".join(f"{name}: {spec.dtype.name} {_shape(spec)}" for name, spec in sorted(answers.items()))
    again = f"{wanted.again} --output {(fitting or names)[0]}" if names else f"{_SAVE}; then {wanted.again}"
    raise _not_a_bert(source, f"an output called {wanted.output or 'logits'}, or one of floats alone", found, again)


def _not_a_bert(source: Path, expected: str, found: str, fix: str) -> ConversionError:
    return ConversionError("the SavedModel is not a BERT to convert", expected=expected, found=found, where=str(source), fix=fix)
