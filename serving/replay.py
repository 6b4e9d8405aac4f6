"""Golden rows through a live server: every model asked over one protocol, and compared with the FP32 SavedModel as offline."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export import comparison
from export.variants import VARIANTS
from serving import client
from serving.client import Options
from serving.records import TEXT_MODEL
from train import terminal
from train.bundle import Bundle, Golden
from train.ragged import unpadded

_BATCH = 32
_UNHURRIED = Options(deadline=3600)  # all golden rows are one call


@dataclass(frozen=True)
class Model:
    name: str
    variant: str  # whose limits it has to hold
    served_as: str  # its name on the server


# Logits of the answers that have a label, [rows, labels] or of a tagger [words, labels], and what else was wrong.
_Asked = tuple[NDArray[np.float32], list[str]]


def check(address: str, protocol: str, model: Model, source: Bundle, golden: Golden) -> dict[str, Any]:
    """All golden rows through the served model, and the verdict by its variant's limits. Raises ServerError."""
    ask = _ask_ids if model.name != TEXT_MODEL else _ask_words if source.task == "tagging" else _ask_texts
    started = time.monotonic()
    logits, wrong = ask(address, protocol, model.served_as, source, golden)
    seconds = time.monotonic() - started
    asked = golden.asked
    measured = comparison.compare(golden.logits[asked], logits, golden.labels[asked], golden.lengths[asked], source.labels)
    failures = comparison.judge(measured, VARIANTS[model.variant].limits)
    return {
        "model": f"{TEXT_MODEL} ({model.variant})" if model.name == TEXT_MODEL else model.name,
        "variant": model.variant,
        "protocol": protocol,
        "passed": not failures and not wrong,
        "failures": failures,
        "wrong_answers": wrong,
        "texts_per_second": len(golden.texts) / seconds,
        **measured,
    }


def _ask_texts(address: str, protocol: str, model: str, source: Bundle, golden: Golden) -> _Asked:
    """Every golden text; besides the logits, the label and the token count have to be the expected ones."""
    with client.connect(address, protocol, _UNHURRIED) as connection:
        answers = connection.classify(golden.texts, model=model)
    logits = np.array([answer.logits for answer in answers], np.float32)
    labels = [source.labels[i] for i in logits.argmax(axis=1)]
    lengths = golden.ids.lengths.tolist()
    wrong = [
        f"row {row}: label {answer.label}, {answer.tokens} tokens; expected {label}, {length}"
        for row, (answer, label, length) in enumerate(zip(answers, labels, lengths, strict=True))
        if (answer.label, answer.tokens) != (label, length)
    ]
    return logits, wrong


def _ask_words(address: str, protocol: str, model: str, source: Bundle, golden: Golden) -> _Asked:
    """Every golden sentence; besides the logits, the number of words tagged, the labels and the token count."""
    with client.connect(address, protocol, _UNHURRIED) as connection:
        answers = connection.tag(golden.texts, model=model)
    expected = np.bincount(golden.text_of[golden.asked], minlength=len(golden.texts)).tolist()
    logits, wrong = [], []
    for row, (answer, words, length) in enumerate(zip(answers, expected, golden.ids.lengths.tolist(), strict=True)):
        tagged = np.array([label != "" for label in answer.labels])
        found = answer.logits[tagged]
        labels = [source.labels[i] for i in found.argmax(axis=1)]
        if (len(found), answer.tokens) != (words, length) or labels != [label for label in answer.labels if label]:
            wrong.append(
                f"row {row}: {len(found)} words, {answer.tokens} tokens, {answer.labels}; expected {words}, {length}, {labels}"
            )
        logits.append(found if len(found) == words else np.full((words, len(source.labels)), np.nan, np.float32))
    return np.concatenate(logits), wrong


def _ask_ids(address: str, protocol: str, model: str, source: Bundle, golden: Golden) -> _Asked:
    """Every golden row's ids, in batches padded as a client would pad them."""
    parts = []
    with client.connect(address, protocol) as connection:
        for start in range(0, len(golden.ids), _BATCH):
            feed = golden.ids.take(np.arange(start, min(start + _BATCH, len(golden.ids)))).padded()
            types = feed["input_type_ids"] if source.task == "text_pair" else None
            parts.append(unpadded(connection.logits(model, feed["input_word_ids"], types), feed))
    return np.concatenate(parts)[golden.asked], []


def show(checks: list[dict[str, Any]]) -> None:
    columns = ("model", "over", "flips", "accuracy", "loss <", "texts/s", "verdict")
    table = terminal.table("Parity of the live server with the FP32 SavedModel", *columns, left=("model", "over", "verdict"))
    for one in checks:
        table.add_row(
            one["model"],
            one["protocol"],
            f"{one['flips']}/{one['rows']}",
            f"{one['accuracy']:.2%}",
            f"{one['accuracy_loss_bound']:.2%}",
            f"{one['texts_per_second']:.0f}",
            terminal.verdict(one["passed"]),
        )
    terminal.console().print(table)
    for one in checks:
        for failure in one["failures"]:
            print(f"{one['model']}: {failure['what']} is {failure['would_pass']:.4g}, limit {failure['limit']:.4g}")
        for wrong in one["wrong_answers"][:5]:
            print(f"{one['model']}: {wrong}")
