"""Make a bundle of a SavedModel that was not trained here, so that it can be converted, compared and served like one that was.

Reads a SavedModel, its vocabulary, its labels and labelled rows (export/golden_file.py); writes RUN/bundle.

    python -m export.adopt --saved-model path --vocab vocab.txt --labels labels.txt --golden rows.csv --out runs/mine/bundle
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import linear_sum_assignment

from export import foreign_model, golden_file, safety
from export.comparison import least_rows
from export.golden_file import Rows
from export.variants import VARIANTS
from train import bundle, errors, labelling, manifest, provenance, scores, terminal
from train.bundle import Golden
from train.errors import ConversionError, CorpusError
from train.ragged import infer_rows
from train.tokenizer import Tokenizer, VocabularyError

_BATCH = 32
_CHANCE = 1e-3  # probability of so many right answers by guessing, above which the model is refused


def main() -> int:
    arguments = _parse()
    safety.check_saved_model(arguments.saved_model)
    labels, pieces = _lines(arguments.labels), _lines(arguments.vocab)
    rows = golden_file.read(arguments.golden, labels)
    _check_number(rows, arguments.golden)
    with manifest.atomic_directory(arguments.out) as building, terminal.activity("adopt") as say:
        say("reading the SavedModel")
        signature = foreign_model.hand_over(arguments.saved_model, building / "saved_model")
        shutil.copyfile(arguments.vocab, building / "vocab.txt")
        (building / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
        facts = _facts(arguments, pieces, rows.task, signature)
        golden = _golden(building, rows, facts, labels, say)
        metrics = scores.score(golden.logits, golden.labels, labels)
        _check_better_than_guessing(metrics, labels, arguments.golden)
        bundle.write_golden(building, golden)
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


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise ConversionError(
            "a file is missing", expected=path.name, found="no such file", where=str(path), fix="make export … VOCAB=… LABELS=…"
        )
    return path.read_text("utf-8").removesuffix("\n").split("\n")  # splitlines would also split at U+2028


def _check_number(rows: Rows, where: Path) -> None:
    least = max(least_rows(variant.limits) for variant in VARIANTS.values())
    if len(rows.texts) < least:
        raise CorpusError(
            "too few golden rows",
            expected=f"{least} rows: with fewer, even answers that are all equal do not hold the variants' limits at 95 %",
            found=f"{len(rows.texts)} rows",
            where=str(where),
            fix="make export … GOLDEN=, with more labelled rows",
        )


def _facts(arguments: argparse.Namespace, pieces: list[str], task: str, signature: dict[str, Any]) -> dict[str, Any]:
    """What bundle.json says. A vocabulary with capital letters is a cased model's."""
    rows = signature.pop("vocabulary")
    if rows and len(pieces) > rows:
        raise ConversionError(
            "the vocabulary is not this model's",
            expected=f"at most {rows} word pieces, the rows of its embedding table",
            found=f"{len(pieces)} lines",
            where=str(arguments.vocab),
            fix="make export … VOCAB=, the vocab.txt that the model was trained with",
        )
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    cased = any(piece != piece.lower() for piece in pieces if piece not in special and not piece.startswith("[unused"))
    return {
        "schema": bundle.SCHEMA,
        "task": task,
        "max_seq_len": min(arguments.max_seq_len, signature.pop("positions") or arguments.max_seq_len),
        "lower_case": not cased,
        "encoder": {"handle": str(arguments.saved_model), "sha256": manifest.sha256(arguments.saved_model), "made_from": ""},
        "corpus": {"where": str(arguments.golden), "sha256": manifest.sha256(arguments.golden), "generated": False},
        "hyper_parameters": {},
        "signature": signature,
        **provenance.record("tensorflow", "tokenizers", "numpy"),
    }


def _golden(building: Path, rows: Rows, facts: dict[str, Any], labels: list[str], say: Any) -> Golden:
    """The rows with the logits of the SavedModel, loaded back from where it now lies. Raises ConversionError."""
    from train.saved_model import SavedClassifier

    encoded = labelling.encode(
        list(zip(rows.texts, rows.labels, strict=True)), rows.task, _tokenizer(building / "vocab.txt", facts)
    )
    ids, tagging = encoded.rows, rows.task == "tagging"
    done = 0

    def progress(more: int) -> None:
        nonlocal done
        done += more
        say(f"reference logits of {done:,} of {len(ids):,} rows")

    logits = infer_rows(SavedClassifier(building / "saved_model").infer, ids, _BATCH, progress)
    expected = [len(ids.ids) if tagging else len(ids), len(labels)]
    if list(logits.shape) != expected:
        raise ConversionError(
            "the SavedModel's answers do not fit the labels and the rows",
            expected=f"logits {expected}: {len(labels)} labels for every {'token' if tagging else 'row'}",
            found=f"logits {list(logits.shape)}",
            where=str(building / "saved_model"),
            fix="make export … LABELS=, GOLDEN= for the task of this model",
        )
    return Golden(rows.texts, ids, encoded.labels, logits)


def _tokenizer(vocabulary: Path, facts: dict[str, Any]) -> Tokenizer:
    try:
        return Tokenizer(vocabulary, lower_case=facts["lower_case"], max_seq_len=facts["max_seq_len"])
    except VocabularyError as error:
        raise ConversionError(
            "the vocabulary is not a BERT's",
            expected="a word piece a line, [PAD] first, with [UNK], [CLS] and [SEP]",
            found=str(error),
            where="VOCAB",
            fix="make export … VOCAB=, the vocab.txt that the model was trained with",
        ) from error


def _check_better_than_guessing(metrics: dict[str, Any], labels: list[str], where: Path) -> None:
    """Raises ConversionError when another order of labels, or always the most frequent one, does as well: something is mixed up."""
    confusion, rows = np.array(metrics["confusion"]), metrics["test_rows"]
    _, order = linear_sum_assignment(-confusion)
    better = confusion[np.arange(len(order)), order].sum()
    if better > confusion.trace():
        moved = ", ".join(f"{labels[i]} is answered as {labels[j]}" for i, j in enumerate(order) if i != j)
        raise ConversionError(
            "the labels are not in the order of the logits",
            expected=f"most answers right: another order gives {better / rows:.1%}",
            found=f"{confusion.trace() / rows:.1%} right; {moved}",
            where=str(where),
            fix="make export … LABELS=, in the order the model was trained with",
        )
    right, frequent = int(confusion.trace()), confusion.sum(axis=1).max() / rows
    if frequent < 1 and stats.binomtest(right, rows, frequent, alternative="greater").pvalue > _CHANCE:
        raise ConversionError(
            "the SavedModel answers these rows no better than guessing",
            expected=f"clearly more than {frequent:.1%} right, the share of the most frequent label",
            found=f"{right / rows:.1%} of {rows}",
            where=str(where),
            fix="check that VOCAB is the model's own, that LABELS are in the order of its logits, and that GOLDEN is of its task",
        )


if __name__ == "__main__":
    errors.run(main)
