"""Import a SavedModel of a BERT from elsewhere, with its vocabulary, labels and labelled rows.

Writes the run's bundle/ as training would: the signature becomes the bundle's (names, int32 ids,
one output), and the golden rows get the logits of the SavedModel as it was written. A model that
answers its own rows no better than guessing is refused: something is mixed up.

    slipway import runs/theirs --saved-model DIR --vocab vocab.txt --labels labels.txt \\
        --golden rows.csv
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linear_sum_assignment

from export import safety
from slipway import console, errors, provenance
from slipway.contract import bundle, labelling, manifest, readers
from slipway.contract.bundle import Golden
from slipway.contract.comparison import least_rows
from slipway.contract.ragged import INPUTS, infer_rows
from slipway.contract.tokenizer import Tokenizer, VocabularyError
from slipway.contract.variants import VARIANTS
from slipway.errors import ConversionError, CorpusError

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
_CHANCE = 1e-3  # probability of so many right answers by guessing, above which the model is refused
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class ForeignSignature:
    """The signature that a SavedModel came with, and the rows of its tables (0: unknown)."""

    inputs: dict[str, str]  # name → type and shape
    output: str
    vocabulary: int  # rows of the word embeddings
    positions: int  # rows of the position embeddings


@dataclass(frozen=True)
class GoldenRows:
    task: str  # one of bundle.TASKS
    texts: list[Any]  # str; pair: [str, str]; tagger: the words, list[str]
    labels: list[Any]  # int; tagger: list[int], one a word


def import_savedmodel(arguments: argparse.Namespace) -> int:
    again = errors.command("import", arguments.run, *_options(arguments))
    safety.check_saved_model(arguments.saved_model)
    labels, pieces = _lines(arguments.labels, again), _lines(arguments.vocab, again)
    rows = read_golden_rows(arguments.golden, labels)
    _check_number(rows, arguments.golden, again)
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
        golden = _golden(building / "saved_model", rows, tokenizer, labels, again, say)
        metrics = labelling.score(golden.logits, golden.labels, labels)
        _check_better_than_guessing(np.array(metrics["confusion"]), labels, arguments.golden, again)
        bundle.write_golden(building, golden)
        facts = _facts(arguments, signature, rows.task, max_seq_len, not cased)
        manifest.seal(building, bundle.MANIFEST, facts | {"metrics": metrics})
    print(f"bundle    {target}: {rows.task}, accuracy {metrics['test_accuracy']:.2%} on {len(rows.texts)} rows")
    return 0


def _options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that import this model again."""
    names = ("saved-model", "vocab", "labels", "golden", "max-seq-len")
    return [word for name in names for word in (f"--{name}", str(getattr(arguments, name.replace("-", "_"))))]


def _lines(path: Path, again: str) -> list[str]:
    if not path.is_file():
        raise ConversionError(
            "a file is missing", expected=path.name, found="no such file", where=str(path), fix=f"{again}, with the file's path"
        )
    return path.read_text("utf-8").removesuffix("\n").split("\n")  # splitlines would also split at U+2028


def _check_number(rows: GoldenRows, where: Path, again: str) -> None:
    least = max(least_rows(variant.limits) for variant in VARIANTS.values())
    if len(rows.texts) < least:
        raise CorpusError(
            "too few golden rows",
            expected=f"{least} rows: with fewer, even answers that are all equal do not hold the variants' limits at 95 %",
            found=f"{len(rows.texts)} rows",
            where=str(where),
            fix=f"{again}, with more labelled rows",
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


def _golden(
    saved_model: Path, rows: GoldenRows, tokenizer: Tokenizer, labels: list[str], again: str, say: Callable[[str], None]
) -> Golden:
    """Add the logits of the SavedModel just written to the rows. Raises ConversionError."""
    from slipway.tensorflow import SavedClassifier

    encoded = labelling.encode(list(zip(rows.texts, rows.labels, strict=True)), rows.task, tokenizer)
    ids, tagging = encoded.rows, rows.task == "tagging"
    rows_done = 0

    def done(batch: int) -> None:
        nonlocal rows_done
        rows_done += batch
        say(f"reference logits of {rows_done:,} of {len(ids):,} rows")

    logits = infer_rows(SavedClassifier(saved_model).infer, ids, _BATCH, done)
    expected = [len(ids.ids) if tagging else len(ids), len(labels)]
    if list(logits.shape) != expected:
        raise ConversionError(
            "the SavedModel's answers do not fit the labels and the rows",
            expected=f"logits {expected}: {len(labels)} labels for every {'token' if tagging else 'row'}",
            found=f"logits {list(logits.shape)}",
            where=str(saved_model),
            fix=f"{again}, with the --labels and the --golden rows of this model's task",
        )
    return Golden(rows.texts, ids, encoded.labels, logits)


def _check_better_than_guessing(confusion: NDArray[np.int64], labels: list[str], where: Path, again: str) -> None:
    """Raise ConversionError when another order of labels, or one label for all rows, does as well.

    Then something is mixed up. `confusion`: [true label, predicted label] rows.
    """
    rows, right = confusion.sum(), int(confusion.trace())
    _, order = linear_sum_assignment(-confusion)
    better = confusion[np.arange(len(order)), order].sum()
    if better > right:
        moved = ", ".join(f"{labels[i]} is answered as {labels[j]}" for i, j in enumerate(order) if i != j)
        raise ConversionError(
            "the labels are not in the order of the logits",
            expected=f"most answers right: another order gives {better / rows:.1%}",
            found=f"{right / rows:.1%} right; {moved}",
            where=str(where),
            fix=f"{again}, with --labels in the order the model was trained with",
        )
    frequent = confusion.sum(axis=1).max() / rows
    if frequent < 1 and stats.binomtest(right, rows, frequent, alternative="greater").pvalue > _CHANCE:
        raise ConversionError(
            "the SavedModel answers these rows no better than guessing",
            expected=f"clearly more than {frequent:.1%} right, the share of the most frequent label",
            found=f"{right / rows:.1%} of {rows}",
            where=str(where),
            fix="check that --vocab is the model's own, that --labels are in the order of its logits, and that the"
            f" --golden rows are of its task: {again}",
        )


def read_golden_rows(path: Path, names: list[str]) -> GoldenRows:
    """Read the rows of a file, `names` being the labels. Raises CorpusError by file and line."""
    if path.suffix not in readers.SUFFIXES or not path.is_file():
        raise CorpusError(
            "the golden rows cannot be read",
            expected=f"a file that ends in {', '.join(readers.SUFFIXES)}",
            found="no such file" if path.suffix in readers.SUFFIXES else f"the ending {path.suffix!r}",
            where=str(path),
            fix=f"{errors.command('import', 'RUN', '--golden', 'rows.csv')} …, with a header text,label",
        )
    if not labelling.are_labels(names):
        _refuse_rows(str(path), "two labels or more in labels.txt, each once", str(names))
    number = labelling.numbers(names)
    rule = f"a label out of {list(number)}"
    task = ""
    texts: list[Any] = []
    labels: list[Any] = []
    for row in readers.read(path):
        if isinstance(row, readers.BadRow):
            _refuse_rows(f"{path}:{row.line}", row.rule, row.found)
        label = labelling.numbered(row, number, rule)
        if isinstance(label, readers.BadRow):
            _refuse_rows(f"{path}:{label.line}", label.rule, label.found)
        task = row.task
        texts.append(list(row.text) if isinstance(row.text, tuple) else row.text)
        labels.append(label)
    return GoldenRows(task, texts, labels)


def _refuse_rows(where: str, expected: str, found: str) -> NoReturn:
    fix = "correct the file and run it again"
    raise CorpusError("the golden rows cannot be used", expected=expected, found=found, where=where, fix=fix)


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
