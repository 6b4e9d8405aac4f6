"""Make a bundle of a SavedModel that was not trained here, so that it is exported and served alike.

Reads a SavedModel, its vocabulary, its labels and labelled rows (export/golden_file.py); writes
RUN/bundle.

    python -m export.adopt --saved-model M --vocab vocab.txt --labels labels.txt --golden rows.csv
    --out runs/mine/bundle
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linear_sum_assignment

from export import safety
from export.comparison import least_rows
from export.foreign_model import ForeignSignature, import_model
from export.golden_file import GoldenRows, read_golden_rows
from export.variants import VARIANTS
from train import bundle, errors, labelling, manifest, provenance, scores, terminal
from train.bundle import Golden
from train.errors import ConversionError, CorpusError
from train.ragged import infer_rows
from train.tokenizer import Tokenizer, VocabularyError

_BATCH = 32
_CHANCE = 1e-3  # probability of so many right answers by guessing, above which the model is refused
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def main() -> int:
    arguments = _parse()
    again = _command(arguments)
    safety.check_saved_model(arguments.saved_model)
    labels, pieces = _lines(arguments.labels, again), _lines(arguments.vocab, again)
    rows = read_golden_rows(arguments.golden, labels)
    _check_number(rows, arguments.golden, again)
    with manifest.atomic_directory(arguments.out) as building, terminal.activity("import") as say:
        say("reading the SavedModel")
        signature = import_model(arguments.saved_model, building / "saved_model")
        _check_size(pieces, signature.vocabulary, arguments.vocab, again)
        shutil.copyfile(arguments.vocab, building / "vocab.txt")
        (building / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
        cased = any(piece != piece.lower() for piece in pieces if piece not in _SPECIAL and not piece.startswith("[unused"))
        max_seq_len = min(arguments.max_seq_len, signature.positions or arguments.max_seq_len)
        tokenizer = _tokenizer(building / "vocab.txt", not cased, max_seq_len, again)
        golden = _golden(building / "saved_model", rows, tokenizer, labels, again, say)
        metrics = scores.score(golden.logits, golden.labels, labels)
        _check_better_than_guessing(np.array(metrics["confusion"]), labels, arguments.golden, again)
        bundle.write_golden(building, golden)
        facts = _facts(arguments, signature, rows.task, max_seq_len, not cased)
        manifest.seal(building, bundle.MANIFEST, facts | {"metrics": metrics})
    print(f"bundle    {arguments.out}: {rows.task}, accuracy {metrics['test_accuracy']:.2%} on {len(rows.texts)} rows")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--saved-model", type=Path, required=True, help="directory with saved_model.pb")
    parser.add_argument("--vocab", type=Path, required=True, help="vocab.txt, a word piece a line")
    parser.add_argument("--labels", type=Path, required=True, help="labels.txt, a label a line, in the order of the logits")
    parser.add_argument("--golden", type=Path, required=True, help="labelled rows: .csv, .tsv, .jsonl, or .conll")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's directory, for example runs/mine/bundle")
    parser.add_argument("--max-seq-len", type=int, default=128, help="tokens after which a text is cut")
    return parser.parse_args()


def _command(arguments: argparse.Namespace) -> str:
    """Return the command that imports this model again, for a person to change one of its files."""
    files = [(f"--{name}", getattr(arguments, name.replace("-", "_"))) for name in ("saved-model", "vocab", "labels", "golden")]
    return errors.command("import", arguments.out.parent, *(word for option in files for word in option))


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
    from train.saved_model import SavedClassifier

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


if __name__ == "__main__":
    errors.run(main)
