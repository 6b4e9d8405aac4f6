"""Import a SavedModel of a BERT from elsewhere, with its vocabulary, labels and labelled rows.

Writes the run's bundle/ as training would: the signature becomes the bundle's (names, int32 ids,
one output), and the golden rows and the probe rows get the logits of the SavedModel as it was
written. A model is refused that answers its own rows no better than guessing, because something is
mixed up, or that answers the same row differently each time.

    slipway import runs/theirs --saved-model DIR --vocab vocab.txt --labels labels.txt \\
        --golden rows.csv --unlabelled texts.txt
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from export import safety
from export.golden_rows import (
    GoldenRows,
    check_better_than_guessing,
    check_classes,
    check_number,
    label_names,
    read_golden_rows,
    read_unlabelled,
)
from slipway import console, errors, provenance
from slipway.contract import bundle, labelling, manifest
from slipway.contract.bundle import Golden, Probes
from slipway.contract.labelling import Unlabelled
from slipway.contract.parity import probes
from slipway.contract.ragged import INPUTS, Feed, Logits, Ragged, infer_rows
from slipway.contract.tokenizer import Tokenizer, VocabularyError
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
_BATCH = 32
_TWICE = 32  # rows that are run twice
_ROUNDING = 1e-4  # of the logits' standard deviation: threads may add in another order
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class ForeignSignature:
    """The signature that a SavedModel came with, and the rows of its tables (0: unknown)."""

    inputs: dict[str, str]  # name → type and shape
    output: str
    vocabulary: int  # rows of the word embeddings
    positions: int  # rows of the position embeddings


Infer = Callable[[Feed], Logits]


def import_savedmodel(arguments: argparse.Namespace) -> int:
    again = command(arguments)
    safety.check_saved_model(arguments.saved_model)
    labels = label_names(_lines(arguments.labels, again), arguments.labels)
    pieces = _lines(arguments.vocab, again)
    check_vocabulary(arguments.saved_model, pieces, arguments.vocab, lambda own: command(arguments, vocab=own))
    rows, extra = _rows(arguments, labels, again)
    target = arguments.run / "bundle"
    with manifest.atomic_directory(target) as building, console.activity("import") as say:
        say("reading the SavedModel")
        signature = import_model(arguments.saved_model, building / "saved_model")
        _check_size(pieces, signature.vocabulary, arguments.vocab, again)
        shutil.copyfile(arguments.vocab, building / "vocab.txt")
        (building / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
        cased = any(piece != piece.lower() for piece in pieces if piece not in _SPECIAL and not piece.startswith("[unused"))
        max_seq_len = min(arguments.max_seq_len, signature.positions or arguments.max_seq_len)
        tokenizer = _tokenizer(building / "vocab.txt", not cased, max_seq_len, again)
        reference = _Reference(building / "saved_model", arguments.saved_model, again, say)
        golden = _golden(reference, rows, tokenizer, labels).distinct()
        check_number(len(golden.ids), len(rows.examples), arguments.golden, again)
        metrics = labelling.score(golden.logits, golden.labels, labels)
        check_better_than_guessing(np.array(metrics["confusion"]), labels, arguments.golden, again)
        bundle.write_golden(building, golden)
        bundle.write_probes(building, _probes(reference, probes.rows(tokenizer, building / "vocab.txt", max_seq_len, rows.task)))
        facts = _facts(arguments, signature, rows.task, max_seq_len, not cased)
        facts |= {"metrics": metrics, **({"unlabelled": extra.facts} if extra else {})}
        manifest.seal(building, bundle.MANIFEST, facts)
    answers = "words" if rows.task == "tagging" else "rows"
    print(f"bundle    {target}: {rows.task}, accuracy {metrics['test_accuracy']:.2%} on {metrics['test_rows']:,} {answers}")
    _describe(len(golden.ids), len(rows.examples), extra)
    return 0


def _rows(arguments: argparse.Namespace, labels: list[str], again: str) -> tuple[GoldenRows, Unlabelled | None]:
    """Return the golden rows, checked, and the facts of those without labels, if any were given."""
    for warning in labelling.look_alikes(labels):
        print(f"!!! {warning}", flush=True)
    rows, extra = read_golden_rows(arguments.golden, labels), None
    if arguments.unlabelled:
        extra = read_unlabelled(arguments.unlabelled, rows, without=command(arguments, unlabelled=None))
        rows = replace(rows, unlabelled=[list(text) if isinstance(text, tuple) else text for text in extra.texts])
    check_number(rows.distinct, len(rows.examples), arguments.golden, again)
    check_classes(rows, labels, arguments.golden, again)
    return rows, extra


def _describe(distinct: int, rows: int, extra: Unlabelled | None) -> None:
    if extra:
        print(f"          {len(extra.texts):,} texts without labels, {extra.left_out:,} left out that came before")
    if distinct < rows:
        print(f"          {distinct:,} of {rows:,} rows have word pieces of their own; the others repeat them, and are left out")


def command(arguments: argparse.Namespace, **changed: Path | None) -> str:
    """Return the command that imports this model again, with other values of some options."""
    return errors.command("import", arguments.run, *_options(argparse.Namespace(**{**vars(arguments), **changed})))


def _options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that import this model again."""
    names = ("saved-model", "vocab", "labels", "golden", "unlabelled", "max-seq-len")
    values = {name: getattr(arguments, name.replace("-", "_")) for name in names}
    return [word for name, value in values.items() if value is not None for word in (f"--{name}", str(value))]


def _lines(path: Path, again: str) -> list[str]:
    if not path.is_file():
        raise ConversionError(
            "a file is missing", expected=path.name, found="no such file", where=str(path), fix=f"{again}, with the file's path"
        )
    return path.read_text("utf-8").removesuffix("\n").split("\n")  # splitlines would also split at U+2028


def check_vocabulary(saved_model: Path, pieces: list[str], where: Path, again: Callable[[Path], str]) -> None:
    """Compare a vocabulary with those among the SavedModel's own assets, if there are any.

    `again` is the command with another vocabulary. Raises ConversionError with the first line that
    differs.
    """
    for asset in sorted(saved_model.glob("assets/*vocab*")):
        own = asset.read_text("utf-8", "backslashreplace").removesuffix("\n").split("\n")
        if not {"[CLS]", "[SEP]"} <= {line.removesuffix("\r") for line in own}:
            continue  # of something else, such as labels
        for number, (expected, given) in enumerate(zip_longest(own, pieces, fillvalue=""), 1):
            if expected.removesuffix("\r") != given.removesuffix("\r"):
                raise ConversionError(
                    "the vocabulary is not this model's",
                    expected=f"{expected!r} in line {number:,}, as in the model's own assets/{asset.name}",
                    found=repr(given),
                    where=f"{where}:{number}",
                    fix=again(asset),
                )


def _check_size(pieces: list[str], embeddings: int, where: Path, again: str) -> None:
    """Raise ConversionError for more word pieces than rows in the embedding table (0: unknown)."""
    if embeddings and len(pieces) > embeddings:
        raise ConversionError(
            "the vocabulary is not this model's",
            expected=f"at most {embeddings} word pieces, the rows of its embedding table",
            found=f"{len(pieces)} lines",
            where=str(where),
            fix=f"{again}, with the --vocab that the model was trained with",
        )


def _facts(
    arguments: argparse.Namespace, signature: ForeignSignature, task: str, max_seq_len: int, lower_case: bool
) -> dict[str, Any]:
    """Return the content of bundle.json. A vocabulary with capital letters is a cased model's."""
    model, golden = arguments.saved_model, arguments.golden
    return {
        "schema": bundle.SCHEMA,
        bundle.MADE_BY: ["import", *_options(arguments)],
        "task": task,
        "max_seq_len": max_seq_len,
        "lower_case": lower_case,
        "encoder": {"handle": str(model), "sha256": manifest.sha256(model), "made_from": ""},
        "corpus": {"where": str(golden), "sha256": manifest.sha256(golden), "generated": False},
        "hyper_parameters": {},
        "signature": {"inputs": signature.inputs, "output": signature.output},
        **provenance.record("tensorflow", "tokenizers", "numpy"),
    }


def _tokenizer(vocabulary: Path, lower_case: bool, max_seq_len: int, again: str) -> Tokenizer:
    try:
        return Tokenizer(vocabulary, lower_case=lower_case, max_seq_len=max_seq_len)
    except VocabularyError as error:
        raise ConversionError(
            "the vocabulary is not a BERT's",
            expected="a word piece a line, [PAD] first, with [UNK], [CLS] and [SEP]",
            found=str(error),
            where="--vocab",
            fix=f"{again}, with the --vocab that the model was trained with",
        ) from error


class _Reference:
    """The SavedModel as it was written, which answers the bundle's rows."""

    def __init__(self, written: Path, source: Path, again: str, say: Callable[[str], None]) -> None:
        from slipway.tensorflow import SavedClassifier, tf

        self._infer, self._wrong_ids = SavedClassifier(written).infer, tf.errors.InvalidArgumentError
        self.source, self.again, self._say = source, again, say

    def infer(self, feed: Feed) -> Logits:
        """Answer a batch. Raises ConversionError where a table of the model has too few rows."""
        try:
            return self._infer(feed)
        except self._wrong_ids as error:
            cause = next((line for line in str(error).splitlines() if line.startswith("indices")), str(error))
            raise ConversionError(
                "the SavedModel cannot answer every word piece at every position",
                expected="tables with rows for every line of --vocab, --max-seq-len positions and two segments",
                found=cause.strip().partition("\n")[0],
                where=str(self.source),
                fix=f"{self.again}, with the model's own --vocab, and a --max-seq-len that its position table has",
            ) from error

    def logits(self, ids: Ragged, of: str) -> Logits:
        """Return [rows, labels], tagger: [tokens, labels]."""
        rows_done = 0

        def done(batch: int) -> None:
            nonlocal rows_done
            rows_done += batch
            self._say(f"reference logits of {rows_done:,} of {len(ids):,} {of}")

        return infer_rows(self.infer, ids, _BATCH, done)


def check_repeatable(infer: Infer, ids: Ragged, source: Path, again: str) -> None:
    """Raise ConversionError when the same rows are answered differently the second time."""
    feed = ids.take(np.arange(min(_TWICE, len(ids)))).padded()
    first, second = infer(feed), infer(feed)
    difference = float(np.abs(first - second).max())
    if difference > _ROUNDING * first.std():
        raise ConversionError(
            "the SavedModel answers differently each time: dropout or another random operation in its serving signature",
            expected="the same logits for the same rows",
            found=f"logits that differ by up to {difference:.3g} between two runs",
            where=str(source),
            fix=f"save it for inference (training=False), then {again}",
        )


def _golden(reference: _Reference, rows: GoldenRows, tokenizer: Tokenizer, labels: list[str]) -> Golden:
    """Add the reference's logits to the rows. Raises ConversionError."""
    encoded = labelling.encode(rows.examples, rows.task, tokenizer)
    ids, tagging = encoded.rows, rows.task == "tagging"
    check_repeatable(reference.infer, ids, reference.source, reference.again)
    logits = reference.logits(ids, "golden rows")
    expected = [len(ids.ids) if tagging else len(ids), len(labels)]
    if list(logits.shape) != expected:
        raise ConversionError(
            "the SavedModel's answers do not fit the labels and the rows",
            expected=f"logits {expected}: {len(labels)} labels for every {'token' if tagging else 'row'}",
            found=f"logits {list(logits.shape)}",
            where=str(reference.source),
            fix=f"{reference.again}, with the --labels and the --golden rows of this model's task",
        )
    return Golden([text for text, _ in rows.examples], ids, encoded.labels, logits)


def _probes(reference: _Reference, rows: probes.ProbeRows) -> Probes:
    """Add the reference's logits to the probe rows. Raises ConversionError."""
    return Probes(rows.texts, rows.truncated, rows.ids, reference.logits(rows.ids, "probe rows"))


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
