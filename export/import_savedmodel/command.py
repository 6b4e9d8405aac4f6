"""Import a SavedModel of a BERT from elsewhere, with its vocabulary, labels and labelled rows.

Writes the run's bundle/ as training would: the signature becomes the bundle's (names, int32 ids,
one output of logits), and the golden rows and the probe rows get the logits of the SavedModel as it
was written. What the model's output means and how its tokenizer was set is found out, and said. A
model is refused that answers its own rows no better than guessing, because something is mixed up,
or that answers the same row differently each time.

    slipway import runs/foreign --saved-model DIR --golden rows.csv
    slipway import runs/foreign --saved-model DIR --vocab vocab.txt --labels labels.txt \\
        --golden rows.csv --unlabelled texts.txt
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.import_savedmodel import meta_graph, outputs, signature, source, tokenizer_settings, vocabulary
from export.import_savedmodel.golden_rows import (
    Columns,
    GoldenRows,
    check_better_than_guessing,
    check_classes,
    check_number,
    label_names,
    read_golden_rows,
    read_unlabelled,
)
from export.import_savedmodel.outputs import Meaning
from export.import_savedmodel.reference import Reference, answer_golden, answer_probes, check_answers
from export.import_savedmodel.signature import ForeignModel, Wanted
from export.import_savedmodel.source import Source
from export.import_savedmodel.tokenizer_settings import Settings
from export.safety.saved_model import check_saved_model
from slipway import console, errors, provenance
from slipway.contract import bundle, labelling, manifest, readers
from slipway.contract.labelling import Unlabelled
from slipway.contract.parity import probes
from slipway.contract.ragged import Logits, Ragged, infer_rows
from slipway.contract.scoring import scores
from slipway.contract.tokenizer import Tokenizer
from slipway.encoder import hugging_face
from slipway.errors import ConversionError

_TOKENIZER = ("lower_case", "strip_accents", "added_tokens")
_VALUES = (
    *("saved-model", "vocab", "labels", "golden", "text", "label", "encoding", "missing-label", "unlabelled", "max-seq-len"),
    *("lower-case", "strip-accents", "added-tokens", "signature", "inputs", "output", "output-kind"),
)
_SAMPLE = 256  # golden rows by which the output's kind is found out
_BATCH = 32
_SAME_HALF = 0.02  # the same in FP16 and BF16
_SAME = 1e-4  # |Δp| between a model that ends before its softmax, and the model as it was


@dataclass(frozen=True)
class Files:
    """What a person brought, read and checked."""

    found: Source
    vocab: Path
    pieces: list[str]
    labels: list[str]
    rows: GoldenRows
    extra: Unlabelled | None


@dataclass(frozen=True)
class Opened:
    """The SavedModel, loaded by TensorFlow, and the graph that it was loaded from."""

    model: ForeignModel
    graph: Any  # MetaGraphDef
    key: str  # of its signature
    source: Path  # as a person named it
    read: Path  # the SavedModel there, or what was made of it
    wanted: Wanted


def import_savedmodel(arguments: argparse.Namespace) -> int:
    again = command(arguments)
    if not arguments.force:
        bundle.refuse_finished(arguments.run, again)
    files = _files(arguments)
    settings, why = tokenizer_settings.settings(arguments, files.pieces, files.vocab.parent, again)
    target = arguments.run / "bundle"
    with manifest.atomic_directory(target) as building, console.activity("import") as say:
        say("reading the SavedModel")
        (building / "vocab.txt").write_text("\n".join(files.pieces) + "\n", "utf-8")
        (building / "labels.txt").write_text("\n".join(files.labels) + "\n", "utf-8")
        with tempfile.TemporaryDirectory(dir=building) as scratch:
            opened = _open(arguments, files, Path(scratch), again)
            max_seq_len = min(arguments.max_seq_len, opened.model.positions or arguments.max_seq_len)

            def tokenizer(chosen: Settings) -> Tokenizer:
                facts = {**chosen.to_json(), "max_seq_len": max_seq_len}
                return vocabulary.load_tokenizer(building / "vocab.txt", facts, files.vocab, again)

            tokenize = tokenizer(settings)
            sample = labelling.encode(files.rows.examples[:_SAMPLE], files.rows.task, tokenize).rows
            asked = Reference(opened.model.infer, opened.source, again, say)
            check_answers(asked.infer, sample, files.rows.task, opened.source, again)
            raw = asked.logits(sample, "rows")
            meaning = outputs.meaning(raw, arguments.output_kind)
            outputs.check(meaning, raw, files.labels, str(opened.source), again)
            cut = _write(opened, meaning.kind, (sample, raw), Path(scratch), building / "saved_model")
        reference = Reference.of(building / "saved_model", opened.source, again, say)
        better = tokenizer_settings.compare(
            settings, files.rows, files.pieces, tokenizer, lambda ids: reference.logits(ids, "rows")
        )
        _refuse_or_say(better, settings, why, arguments)
        golden = answer_golden(reference, files.rows, tokenize, files.labels).distinct()
        check_number(len(golden.ids), len(files.rows.examples), arguments.golden, again)
        text_of = None if golden.per_row else golden.text_of
        metrics = scores.score(golden.logits, golden.labels, files.labels, text_of)
        check_better_than_guessing(np.array(metrics["confusion"]), files.labels, arguments.golden, again)
        probe_rows = probes.rows(tokenize, building / "vocab.txt", max_seq_len, files.rows.task)
        bundle.write_golden(building, golden)
        bundle.write_probes(building, answer_probes(reference, probe_rows))
        facts = _facts(arguments, files, opened, meaning, max_seq_len) | settings.to_json() | {"metrics": metrics}
        manifest.seal(building, bundle.MANIFEST, facts)
    print(f"output    {opened.model.output}: {outputs.KINDS[meaning.kind]} ({meaning.why}){cut}")
    print(f"tokenizer {settings} ({why})")
    if opened.model.vocabulary > len(files.pieces):
        print(f"          {opened.model.vocabulary - len(files.pieces)} rows of the embedding table have no word piece")
    answers = "words" if files.rows.task == "tagging" else "rows"
    accuracy = f"accuracy {metrics['test_accuracy']:.2%} on {metrics['test_rows']:,} {answers}"
    found = f", entity F1 {metrics['entities']['f1']:.4f}" if "entities" in metrics else ""
    print(f"bundle    {target}: {files.rows.task}, {accuracy}{found}")
    _describe(len(golden.ids), len(files.rows.examples), files.extra)
    return 0


def _files(arguments: argparse.Namespace) -> Files:
    """Read what a person brought, before anything heavy is loaded. Raises SlipwayError."""
    again = command(arguments)
    found = source.find(arguments.saved_model, lambda other: command(arguments, saved_model=other))
    vocab = _file(arguments.vocab or found.vocabulary, "--vocab", "vocab.txt", again)
    labels_file = _file(arguments.labels or found.labels, "--labels", "labels.txt", again)
    if not found.weights_alone:
        meta_graph.check_inputs(found.saved_model, arguments.signature, again)
        check_saved_model(found.saved_model)
    source.refuse_other_problems(found, again)
    pieces = vocabulary.read(vocab, again, command(arguments, vocab=vocabulary.NEW_VOCABULARY))
    pieces = vocabulary.with_added(pieces, tokenizer_settings.added_numbers(vocab.parent), vocab, again)
    vocabulary.check_vocabulary(found.saved_model, pieces, vocab, lambda own: command(arguments, vocab=own))
    labels = label_names(source.label_lines(labels_file), labels_file)
    rows, extra = _rows(arguments, labels, again)
    return Files(found, vocab, pieces, labels, rows, extra)


def _file(path: Path | None, option: str, name: str, again: str) -> Path:
    if path is not None and path.is_file():
        return path
    raise ConversionError(
        "a file is missing",
        expected=f"{option}, or {name} beside the SavedModel",
        found="neither" if path is None else "no such file",
        where=str(path or option),
        fix=f"{again} {option} {name}" if path is None else f"{again}, with the file's path",
    )


def _open(arguments: argparse.Namespace, files: Files, scratch: Path, again: str) -> Opened:
    """Load the SavedModel's one graph. Raises ConversionError by what it is instead."""
    where = files.found.saved_model
    if files.found.weights_alone:
        hugging_face.write_classifier(where, scratch / "made", again)
    read = scratch / "made" if files.found.weights_alone else where
    wanted = Wanted(arguments.signature, arguments.inputs, arguments.output, len(files.labels), again)
    graph = meta_graph.choose(read, again)
    key = meta_graph.signature_name(graph, wanted.signature, where, again)
    meta_graph.check_operations(graph, where, again)
    meta_graph.write(graph, read, scratch / "model")
    model = signature.load(scratch / "model", where, key, wanted)
    vocabulary.check_size(files.pieces, model.vocabulary, files.vocab, again)
    return Opened(model, graph, key, where, read, wanted)


def _write(opened: Opened, kind: str, answered: tuple[Ragged, Logits], scratch: Path, target: Path) -> str:
    """Write the model with logits as its output; return what was done to it for that.

    Before an activation of its own lie the exact logits. That they are is shown by the answers.
    """
    sample, raw = answered
    operation = outputs.ACTIVATIONS.get(kind, "")
    if operation and meta_graph.without_activation(opened.graph, opened.key, opened.model.output, operation):
        meta_graph.write(opened.graph, opened.read, scratch / "cut")
        cut = signature.load(scratch / "cut", opened.source, opened.key, opened.wanted)
        logits = infer_rows(cut.infer, sample, _BATCH)
        if float(np.abs(outputs.activated(logits, kind) - raw).max()) < (_SAME if opened.model.is_float32 else _SAME_HALF):
            cut.save(outputs.before_activation(kind), target)
            return f"; served from before its {operation}"
    if opened.model.is_ours(opened.key, kind):
        shutil.copytree(scratch / "model", target)
        return ""
    opened.model.save(kind, target)
    return f"; no {operation} was found at its end: its logarithms are served, from {outputs.LEAST:g} up" if operation else ""


def _refuse_or_say(
    better: tuple[Settings, float, float] | None, settings: Settings, why: str, arguments: argparse.Namespace
) -> None:
    """Refuse another setting that answers more rows right; where all is given, say so alone."""
    if better is None:
        return
    if arguments.lower_case is None or arguments.strip_accents is None:
        plain = command(argparse.Namespace(**{**vars(arguments), **dict.fromkeys(_TOKENIZER)}))
        tokenizer_settings.refuse_better(better, settings, why, str(arguments.golden), plain)
    other, before, after = better
    print(f"!!! {other} would give {after:.1%} right instead of {before:.1%}; {settings} is kept, as given", flush=True)


def _rows(arguments: argparse.Namespace, labels: list[str], again: str) -> tuple[GoldenRows, Unlabelled | None]:
    """Return the golden rows, checked, and the facts of those without labels, if any were given."""
    for warning in labelling.look_alikes(labels):
        print(f"!!! {warning}", flush=True)
    columns = Columns(tuple(arguments.text), arguments.label, arguments.encoding, tuple(arguments.missing_label))
    rows, extra = read_golden_rows(arguments.golden, labels, columns, again), None
    if arguments.unlabelled:
        extra = read_unlabelled(arguments.unlabelled, rows, columns, again, without=command(arguments, unlabelled=None))
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
    words = _options(argparse.Namespace(**{**vars(arguments), **changed}))
    return errors.command("import", arguments.run, *words, *(["--force"] if arguments.force else []))


def _options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that import this model again."""
    words = []
    for name in _VALUES:
        value = getattr(arguments, name.replace("-", "_"))
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{name}")
        elif value not in (None, "", []):
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words


def _facts(arguments: argparse.Namespace, files: Files, opened: Opened, meaning: Meaning, max_seq_len: int) -> dict[str, Any]:
    """Return the content of bundle.json, without the tokenizer's settings and the metrics."""
    model, golden = files.found.saved_model, arguments.golden
    sha256 = hugging_face.sha256 if files.found.weights_alone else manifest.sha256
    return {
        "schema": bundle.SCHEMA,
        "made_at": provenance.now(),
        bundle.MADE_BY: ["import", *_options(arguments)],
        "task": files.rows.task,
        "max_seq_len": max_seq_len,
        "encoder": {"handle": str(model), "sha256": sha256(model), "made_from": ""},
        "corpus": {"where": str(golden), "sha256": readers.sha256(golden), "generated": False},
        "hyper_parameters": {},
        "signature": {"name": opened.key, "inputs": opened.model.inputs, "output": opened.model.output, "kind": meaning.kind},
        **({"unlabelled": files.extra.facts} if files.extra else {}),
        **provenance.record("tensorflow", "tokenizers", "numpy"),
    }
