"""Import a SavedModel of a BERT from elsewhere, with its vocabulary, labels and labelled rows.

Writes the run's bundle/ as training would: the signature becomes the bundle's (names, int32 ids,
one output), and the golden rows and the probe rows get the logits of the SavedModel as it was
written. A model is refused that answers its own rows no better than guessing, because something is
mixed up, or that answers the same row differently each time.

    slipway import runs/foreign --saved-model DIR --vocab vocab.txt --labels labels.txt \\
        --golden rows.csv --unlabelled texts.txt
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export.import_savedmodel.golden_rows import (
    GoldenRows,
    check_better_than_guessing,
    check_classes,
    check_number,
    label_names,
    read_golden_rows,
    read_unlabelled,
)
from export.import_savedmodel.reference import Reference, answer_golden, answer_probes
from export.import_savedmodel.signature import ForeignSignature, import_model
from export.import_savedmodel.vocabulary import check_size, check_vocabulary, is_cased, load_tokenizer
from export.safety.saved_model import check_saved_model
from slipway import console, errors, provenance
from slipway.contract import bundle, labelling, manifest
from slipway.contract.labelling import Unlabelled
from slipway.contract.parity import probes
from slipway.errors import ConversionError


def import_savedmodel(arguments: argparse.Namespace) -> int:
    again = command(arguments)
    check_saved_model(arguments.saved_model)
    labels = label_names(_lines(arguments.labels, again), arguments.labels)
    pieces = _lines(arguments.vocab, again)
    check_vocabulary(arguments.saved_model, pieces, arguments.vocab, lambda own: command(arguments, vocab=own))
    rows, extra = _rows(arguments, labels, again)
    target = arguments.run / "bundle"
    with manifest.atomic_directory(target) as building, console.activity("import") as say:
        say("reading the SavedModel")
        signature = import_model(arguments.saved_model, building / "saved_model")
        check_size(pieces, signature.vocabulary, arguments.vocab, again)
        shutil.copyfile(arguments.vocab, building / "vocab.txt")
        (building / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
        lower_case = not is_cased(pieces)
        max_seq_len = min(arguments.max_seq_len, signature.positions or arguments.max_seq_len)
        tokenizer = load_tokenizer(building / "vocab.txt", lower_case, max_seq_len, again)
        reference = Reference(building / "saved_model", arguments.saved_model, again, say)
        golden = answer_golden(reference, rows, tokenizer, labels).distinct()
        check_number(len(golden.ids), len(rows.examples), arguments.golden, again)
        metrics = labelling.score(golden.logits, golden.labels, labels)
        check_better_than_guessing(np.array(metrics["confusion"]), labels, arguments.golden, again)
        probe_rows = probes.rows(tokenizer, building / "vocab.txt", max_seq_len, rows.task)
        bundle.write_golden(building, golden)
        bundle.write_probes(building, answer_probes(reference, probe_rows))
        facts = _facts(arguments, signature, rows.task, max_seq_len, lower_case)
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


def _facts(
    arguments: argparse.Namespace, signature: ForeignSignature, task: str, max_seq_len: int, lower_case: bool
) -> dict[str, Any]:
    """Return the content of bundle.json."""
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
