"""Golden rows through a live server: each model asked over a protocol, and compared as offline."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway import console
from slipway.client.client import Client
from slipway.client.transport import Options
from slipway.contract import comparison
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.comparison import Comparison, Failure
from slipway.contract.ragged import unpadded
from slipway.contract.records import TEXT_MODEL
from slipway.contract.variants import VARIANTS

_BATCH = 32
_UNHURRIED = Options(deadline=3600)  # all golden rows are one call


@dataclass(frozen=True)
class AskedModel:
    """A served model that is asked for golden rows."""

    name: str
    variant: str  # whose limits it has to hold
    served_as: str  # its name on the server


@dataclass(frozen=True)
class ServedCheck:
    """The answers of one model over one protocol, judged by its variant's limits."""

    model: str
    variant: str
    protocol: str
    failures: list[Failure]
    wrong_answers: list[str]
    texts_per_second: float
    measured: Comparison

    @property
    def passed(self) -> bool:
        return not self.failures and not self.wrong_answers

    def to_json(self) -> dict[str, Any]:
        """Return an entry of served.json's "checks": the comparison's figures beside the others."""
        facts = asdict(self)
        return {"passed": self.passed, **facts.pop("measured"), **facts}


@dataclass(frozen=True)
class _Answers:
    logits: NDArray[np.float32]  # of the answers that have a label, [rows, labels]; tagger: [words, labels]
    wrong: list[str]  # answers whose label or token count is not the expected one


def check(address: str, protocol: str, model: AskedModel, source: Bundle, golden: Golden) -> ServedCheck:
    """Ask for all golden rows and judge the answers by the variant's limits. Raises ServerError."""
    ask = _ask_ids if model.name != TEXT_MODEL else _ask_words if source.task == "tagging" else _ask_texts
    started = time.monotonic()
    with Client(f"{protocol}://{address}", _UNHURRIED) as connection:
        answers = ask(connection, model.served_as, source, golden)
    seconds = time.monotonic() - started
    asked = golden.asked
    measured = comparison.compare(golden.logits[asked], answers.logits, golden.labels[asked], golden.lengths[asked], source.labels)
    failures = comparison.judge(measured, VARIANTS[model.variant].limits)
    name = f"{TEXT_MODEL} ({model.variant})" if model.name == TEXT_MODEL else model.name
    return ServedCheck(name, model.variant, protocol, failures, answers.wrong, len(golden.texts) / seconds, measured)


def show(checks: list[ServedCheck]) -> None:
    """Print a table of the checks, and under it what was wrong."""
    columns = ("model", "over", "flips", "accuracy", "loss <", "texts/s", "verdict")
    table = console.table("Parity of the live server with the FP32 SavedModel", *columns, left=("model", "over", "verdict"))
    for served in checks:
        measured = served.measured
        table.add_row(
            served.model,
            served.protocol,
            f"{measured.flips}/{measured.rows}",
            f"{measured.accuracy:.2%}",
            f"{measured.accuracy_loss_bound:.2%}",
            f"{served.texts_per_second:.0f}",
            console.verdict(served.passed),
        )
    console.console().print(table)
    for served in checks:
        for wrong in [*map(str, served.failures), *served.wrong_answers[:5]]:
            print(f"{served.model}: {wrong}")


def _ask_texts(connection: Client, model: str, source: Bundle, golden: Golden) -> _Answers:
    """Ask for every golden text; labels and token counts have to be as expected."""
    answers = connection.classify(golden.texts, model=model)
    logits = np.array([answer.logits for answer in answers], np.float32)
    labels = [source.labels[i] for i in logits.argmax(axis=1)]
    lengths = golden.ids.lengths.tolist()
    wrong = [
        f"row {row}: label {answer.label}, {answer.tokens} tokens; expected {label}, {length}"
        for row, (answer, label, length) in enumerate(zip(answers, labels, lengths, strict=True))
        if (answer.label, answer.tokens) != (label, length)
    ]
    return _Answers(logits, wrong)


def _ask_words(connection: Client, model: str, source: Bundle, golden: Golden) -> _Answers:
    """Ask for every golden sentence; also the number of words tagged has to be as expected."""
    answers = connection.tag(golden.texts, model=model)
    expected = np.bincount(golden.text_of[golden.asked], minlength=len(golden.texts)).tolist()
    parts, wrong = [], []
    for row, (answer, words, length) in enumerate(zip(answers, expected, golden.ids.lengths.tolist(), strict=True)):
        logits = answer.logits[np.array([label != "" for label in answer.labels])]
        labels = [source.labels[i] for i in logits.argmax(axis=1)]
        if (len(logits), answer.tokens) != (words, length) or labels != [label for label in answer.labels if label]:
            wrong.append(
                f"row {row}: {len(logits)} words, {answer.tokens} tokens, {answer.labels}; expected {words}, {length}, {labels}"
            )
        parts.append(logits if len(logits) == words else np.full((words, len(source.labels)), np.nan, np.float32))
    return _Answers(np.concatenate(parts), wrong)


def _ask_ids(connection: Client, model: str, source: Bundle, golden: Golden) -> _Answers:
    """Ask for every golden row's ids, in batches padded as a client would pad them."""
    parts = []
    for start in range(0, len(golden.ids), _BATCH):
        feed = golden.ids.take(np.arange(start, min(start + _BATCH, len(golden.ids)))).padded()
        types = feed["input_type_ids"] if source.task == "text_pair" else None
        parts.append(unpadded(connection.logits(model, feed["input_word_ids"], types), feed))
    return _Answers(np.concatenate(parts)[golden.asked], [])
