"""Runs of a model that counts words: bundle, artifact and verdict in seconds, without TensorFlow.

Every word speaks for a label, and a text has the label that most of its words speak for. A model
with `wrong` words takes these for another label's; its reference does, too, so it passes the gate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from slipway.contract import artifact, bundle, manifest
from slipway.contract.bundle import NOT_ASKED, Bundle, Golden, Probes
from slipway.contract.parity import probes
from slipway.contract.ragged import Logits, Ragged
from slipway.contract.tokenizer import Tokenizer
from tests.support.command import slipway_output

LABELS = ("Business", "Sports", "World")
WORDS = tuple(f"{letter}{other}" for letter in "abcdefgh" for other in "abcdef")
_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS)
_LONGEST = 16  # tokens
_ROWS = 600  # golden texts
_WORK = 8192  # columns of a matrix


def make(
    run: Path,
    task: str = "single_text",
    wrong: int = 0,
    seed: int = 0,
    external: bool = False,
    variants: tuple[str, ...] = ("onnx_fp32",),
) -> Path:
    """Make a run with a bundle, and the same model as these variants with their verdicts.

    `wrong` of WORDS are misunderstood; `seed` is of the golden texts; the weights lie in a file of
    their own if they are `external`.
    """
    model = _model(task, wrong)
    source = _write_bundle(run / "bundle", task, model, _texts(task, np.random.default_rng(seed)))
    for variant in variants:
        directory = run / "artifacts" / variant
        directory.mkdir(parents=True)
        onnx.save(model, directory / "model.onnx", save_as_external_data=external, location="table.bin", size_threshold=100)
        manifest.seal(directory, artifact.MANIFEST, {"variant": variant, "bundle_sha256": source.sha256})
    slipway_output("export", run, "--compare-only")
    return run


def build(run: Path, **options: Any) -> Path:
    """Make a run, with its repository."""
    slipway_output("build", make(run, **options))
    return run


def label_of(word: str) -> int:
    return WORDS.index(word) % len(LABELS)


def _texts(task: str, random: np.random.Generator) -> list[tuple[Any, Any]]:
    """Pairs of a text and its label; tagger: its labels."""

    def words(label: int) -> list[str]:
        own = [word for word in WORDS if label_of(word) == label]
        return [str(word) for word in random.choice(own if task != "tagging" else WORDS, random.integers(3, 6))]

    texts: list[tuple[Any, Any]] = []
    for row in range(_ROWS):
        label = row % len(LABELS)
        sentence = words(label)
        if task == "tagging":
            texts.append((sentence, [label_of(word) for word in sentence]))
        else:
            texts.append((" ".join(sentence) if task == "single_text" else [" ".join(sentence), " ".join(words(label))], label))
    return texts


def _model(task: str, wrong: int) -> onnx.ModelProto:
    """A table row for each word; a classifier adds them up, and so [PAD] is nothing.

    Between them the rows are multiplied with a matrix and with its inverse: without any work the
    gate would find that its cost model is far off.
    """
    table = np.random.default_rng(1).normal(0, 0.1, (len(_PIECES), len(LABELS))).astype(np.float32)
    for place, word in enumerate(WORDS):
        table[len(_PIECES) - len(WORDS) + place, (label_of(word) + (place < wrong)) % len(LABELS)] += 1
    table[0] = 0
    wide = np.random.default_rng(2).normal(0, 1, (len(LABELS), _WORK))
    tables = {"table": table, "wide": wide.astype(np.float32), "narrow": np.linalg.pinv(wide).astype(np.float32)}
    nodes = [
        helper.make_node("Gather", ["table", "input_word_ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "wide"], ["work"]),
        helper.make_node("MatMul", ["work", "narrow"], ["logits" if task == "tagging" else "words"]),
    ]
    if task != "tagging":
        nodes.append(helper.make_node("ReduceSum", ["words", "axis"], ["logits"], keepdims=0))
    ids = helper.make_tensor_value_info("input_word_ids", TensorProto.INT32, ["batch", "tokens"])
    shape = ["batch", *(["tokens"] if task == "tagging" else []), len(LABELS)]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
    constants = [numpy_helper.from_array(values, name) for name, values in {**tables, "axis": np.array([1], np.int64)}.items()]
    graph = helper.make_graph(nodes, "words", [ids], [logits], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _write_bundle(directory: Path, task: str, model: onnx.ModelProto, texts: list[tuple[Any, Any]]) -> Bundle:
    (directory / "saved_model").mkdir(parents=True)
    (directory / "saved_model" / "saved_model.pb").write_text("in its place: nothing here runs it")
    (directory / "vocab.txt").write_text("\n".join(_PIECES) + "\n")
    (directory / "labels.txt").write_text("\n".join(LABELS) + "\n")
    tokenizer = Tokenizer(directory / "vocab.txt", lower_case=True, max_seq_len=_LONGEST)
    bundle.write_golden(directory, _golden(task, tokenizer, _reference(model), texts))
    probe = probes.rows(tokenizer, directory / "vocab.txt", _LONGEST, task)
    bundle.write_probes(directory, Probes(probe.texts, probe.ids, _reference(model)(probe.ids)))
    facts = {"schema": bundle.SCHEMA, "task": task, "max_seq_len": _LONGEST, "lower_case": True}
    manifest.seal(directory, bundle.MANIFEST, facts)
    return bundle.load(directory)


def _reference(model: onnx.ModelProto) -> Callable[[Ragged], Logits]:
    table = numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == "table"))
    tagging = model.graph.node[-1].op_type == "MatMul"

    def logits(ids: Ragged) -> Logits:
        rows = table[ids.ids]
        return rows if tagging else np.stack([rows[a:b].sum(0) for a, b in zip(ids.offsets, ids.offsets[1:], strict=False)])

    return logits


def _golden(task: str, tokenizer: Tokenizer, reference: Callable[[Ragged], Logits], texts: list[tuple[Any, Any]]) -> Golden:
    sentences = [text for text, _ in texts]
    given = [tuple(text) for text in sentences] if task == "text_pair" else sentences
    tokens = tokenizer.of_words(sentences) if task == "tagging" else tokenizer(given)
    ids = Ragged.of([row.ids for row in tokens], [row.types for row in tokens])
    labels = [label for _, label in texts]
    if task == "tagging":
        labels = [NOT_ASKED if word is None else tags[word] for row, tags in zip(tokens, labels, strict=True) for word in row.words]
    return Golden(sentences, ids, np.array(labels, np.int64), reference(ids))
