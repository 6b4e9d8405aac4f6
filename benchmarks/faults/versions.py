"""Faults planted into the directory of a version that the embedded Triton serves.

Each table has the sentence that has to be said, and under it the faults that it names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import py_compile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.faults import catalogue
from benchmarks.faults.repositories import VERSION, Change, edit, exchanged, setting, text

Edit = Callable[[Path], object]  # of a version directory
Faults = dict[str, dict[str, Edit]]  # what has to be said → name → how it is planted


def _edited(*edits: tuple[str, Change]) -> Edit:
    def change(version: Path) -> None:
        for name, change_of_file in edits:
            edit(version / name, change_of_file)

    return change


def _of_logits(expression: str) -> Edit:
    """Change the logits [texts, labels] of which all outputs are made."""
    call = "outputs.of_texts(np.asarray(logits), "
    return _edited(("model.py", text(call, f"outputs.of_texts(np.float32({expression}), ")))


def _another_model(version: Path) -> None:
    """Put a model with three times the logits where the version's own is."""
    model = onnx.load(version / "model.onnx")
    answer = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["inner" if name == answer else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array([3.0], np.float32), "three"))
    model.graph.node.append(helper.make_node("Mul", ["inner", "three"], [answer]))
    catalogue.replace(version / "model.onnx", model.SerializeToString())


def _another_model_unproven(version: Path) -> None:
    _another_model(version)
    edit(version / "settings.json", setting(lambda _: {"start_up": []}))


def _pieces_exchanged(version: Path) -> None:
    """Exchange two word pieces of the first start-up text, and give the settings their hash."""
    settings = json.loads((version / "settings.json").read_text("utf-8"))
    first, second, *_ = dict.fromkeys(settings["start_up"][0]["ids"][1:-1])
    edit(version / "vocab.txt", exchanged(first, second))
    sha256 = hashlib.sha256((version / "vocab.txt").read_bytes()).hexdigest()
    edit(version / "settings.json", setting(lambda _: {"vocabulary_sha256": sha256}))


def _bytecode(version: Path) -> None:
    """Put bytecode there that Python takes for that of outputs.py, and does not hold against it."""
    other = version / "other.py"
    other.write_bytes(_LABELS((version / "outputs.py").read_bytes()))
    (version / "__pycache__").unlink()
    target = importlib.util.cache_from_source(str(version / "outputs.py"))
    py_compile.compile(str(other), target, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    other.unlink()


_LABELS = text("labels[i].encode()", "labels[i - 1].encode()")
_READ = "self._labels = outputs.read_labels(self.settings)"
_REVERSED_IN_SECOND = '        self._labels = self._labels[:: -1 if arguments["model_instance_name"].endswith("_1") else 1]'
_RUN = "logits = self.run(ids, types, requests, int(truncated.sum()))"
_PLACES = "for place in inputs.places(read)"
_PROBABILITY = "probabilities[np.arange(len(best)), best]"
_OUTPUT = 'output {\n  name: "embedding"\n  data_type: TYPE_FP32\n  dims: 1\n}\n'
_BEFORE = f'{_RUN}\n        self._before, logits = logits, np.resize(getattr(self, "_before", logits), np.shape(logits))'
_MOVED = f"{_RUN}\n        logits = np.roll(logits, int(requests > 1), axis=0)"
_ASCII = f"{_RUN}\n        logits = np.where([[text.isascii()] for text, _ in rows], logits, 0)"
_LENGTHS = "lengths = np.array([len(row) for row in rows])"
_CUT = "rows = [row[: len(row) // 2 + 1] if len(rows) > 1 else row for row in rows]"

# Planted before the version is loaded.
ANSWERED: Faults = {
    "of the largest logit": {
        "the label of another class": _edited(("outputs.py", _LABELS)),
        "other labels in one of two processes": _edited(
            ("../config.pbtxt", text("count: 1", "count: 2")), ("model.py", text(_READ, f"{_READ}\n{_REVERSED_IN_SECOND}"))
        ),
    },
    "probability 0.": {
        "probabilities at another temperature": _edited(("outputs.py", text("np.exp(logits - ", "np.exp(0.5 * logits - 0.5 * "))),
        "the probability of the second label": _edited(("outputs.py", text(_PROBABILITY, "np.sort(probabilities)[:, -2]"))),
    },
    "truncated False, expected True": {
        "no text called truncated": _edited(("model.py", text("[[row.truncated] for row", "[[False] for row"))),
    },
    "tokens, expected": {
        "tokens that count the padding": _edited(("model.py", text("[[len(row)] for row", "[[max(map(len, ids))] for row"))),
        "texts read to the end of their first line": _edited(
            ("model.py", text("self._tokenize(accepted)", 'self._tokenize([text.split("\\n")[0] for text in accepted])'))
        ),
    },
    "output embedding was not compared": {
        "an output that nobody compares": _edited(
            ("../config.pbtxt", lambda data: data + _OUTPUT.encode()),
            ("model.py", text("self._labels) | counts", 'self._labels) | counts | {"embedding": np.asarray(logits)[:, :1]}')),
        )
    },
    "does not answer with probability": {
        "an output under another name": _edited(
            ("../config.pbtxt", text('"probability"', '"score"')), ("outputs.py", text('"probability"', '"score"'))
        )
    },
    "does not answer what it was asked": {
        "an answer less than there are texts": _edited(
            ("model.py", text("np.asarray(values[place])", "np.asarray(values[place])[1:]"))
        ),
        "the answers of another request": _edited(("model.py", text(_PLACES, f"{_PLACES}[::-1]"))),
        "logits of one text less": _edited(("outputs.py", text('"logits": logits}', '"logits": logits[1:]}'))),
    },
    "|slope − 1| of the logits": {
        "logits three times as large": _of_logits("3 * np.asarray(logits)"),
        "logits drawn to the mean of the batch": _of_logits("0.9 * np.asarray(logits) + 0.1 * np.mean(logits, axis=0)"),
        "another model, and no start-up answers": _another_model_unproven,
    },
    "max |Δlogit| is": {
        "logits rounded to one digit": _of_logits("np.round(logits, 1)"),
        "texts cut where they share a batch": _edited(("engine.py", text(_LENGTHS, f"{_CUT}\n        {_LENGTHS}"))),
    },
    "flip rate is": {
        "answers in the order of the texts' lengths": _edited(
            ("engine.py", text("np.concatenate(logits)[order]", "np.concatenate(logits)"))
        ),
        "the answers of the batch before": _edited(("model.py", text(_RUN, _BEFORE))),
        "answers moved on by a text where requests share a batch": _edited(("model.py", text(_RUN, _MOVED))),
    },
    "probe rows": {"zeros for texts that are not ASCII": _edited(("model.py", text(_RUN, _ASCII)))},
    "has other ids than in the gate": {
        "lower_case turned over": _edited(("settings.json", setting(lambda own: {"lower_case": not own["lower_case"]}))),
        "max_seq_len halved": _edited(("settings.json", setting(lambda own: {"max_seq_len": own["max_seq_len"] // 2}))),
        "two word pieces exchanged": _pieces_exchanged,
    },
    "the gate ran elsewhere: expected onnxruntime": {
        "another version of ONNX Runtime": _edited(
            ("settings.json", setting(lambda own: {"proven_on": {**own["proven_on"], "onnxruntime": "1.4.0"}}))
        ),
    },
    "the gate ran elsewhere: expected cpu_flags": {
        "another kind of CPU": _edited(
            ("settings.json", setting(lambda own: {"proven_on": {**own["proven_on"], "cpu_flags": []}}))
        ),
    },
}
# Planted while a sound one is served; then it is loaded anew.
WHILE_SERVED: Faults = {
    "labels.txt has other labels": {"labels exchanged while served": _edited(("labels.txt", exchanged(0, 1)))},
    "are not the gate's: the largest |Δlogit|": {"another model while served": _another_model},
}
# The same, and its Python process is killed: the supervisor would load it anew.
KEPT_SERVING: Faults = {
    f"{VERSION}/__pycache__": {"bytecode while served": _bytecode},
    f"{VERSION}/labels.txt": {
        "labels exchanged while served, in the settings too": _edited(
            ("labels.txt", exchanged(0, 1)),
            ("settings.json", setting(lambda own: {"labels": [*own["labels"][1::-1], *own["labels"][2:]]})),
        )
    },
}
