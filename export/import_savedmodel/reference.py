"""The SavedModel's own answers to the golden rows and the probe rows, which variants must keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from export.import_savedmodel.golden_rows import GoldenRows
from slipway.contract import labelling
from slipway.contract.bundle import Golden, Probes
from slipway.contract.parity.probes import ProbeRows
from slipway.contract.ragged import Feed, Logits, Ragged, infer_rows
from slipway.contract.tokenizer import Tokenizer
from slipway.errors import ConversionError

_BATCH = 32
_TWICE = 32  # rows that are run twice
_ROUNDING = 1e-4  # of the logits' standard deviation: threads may add in another order
Infer = Callable[[Feed], Logits]


class Reference:
    """A loaded SavedModel, which answers rows of the bundle."""

    def __init__(self, infer: Infer, source: Path, again: str, say: Callable[[str], None]) -> None:
        from slipway.tensorflow import tf

        self._infer, self._wrong_ids = infer, tf.errors.InvalidArgumentError
        self.source, self.again, self._say = source, again, say

    @classmethod
    def of(cls, written: Path, source: Path, again: str, say: Callable[[str], None]) -> Reference:
        """Load what was written of the SavedModel `source`."""
        from slipway.tensorflow import SavedClassifier

        return cls(SavedClassifier(written).infer, source, again, say)

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
    if not difference <= _ROUNDING * first.std():  # so that NaN is a difference
        raise ConversionError(
            "the SavedModel answers differently each time: dropout or another random operation in its serving signature",
            expected="the same logits for the same rows",
            found=f"logits that differ by up to {difference:.3g} between two runs",
            where=str(source),
            fix=f"save it for inference (training=False), then {again}",
        )


def check_answers(infer: Infer, ids: Ragged, task: str, source: Path, again: str) -> None:
    """Raise ConversionError for answers of another task than the rows', or that are no numbers."""
    feed = ids.take(np.arange(min(_TWICE, len(ids)))).padded()
    answers = infer(feed)
    shape = list(feed["input_word_ids"].shape[: 2 if task == "tagging" else 1])
    if list(answers.shape[:-1]) != shape or not np.isfinite(answers).all():
        raise ConversionError(
            "the SavedModel's answers do not fit the rows",
            expected=f"numbers [{', '.join(map(str, [*shape, 'labels']))}] for rows of {task}",
            found=f"the shape {list(answers.shape)}" if list(answers.shape[:-1]) != shape else "NaN or infinite ones",
            where=str(source),
            fix=f"{again}, with the --golden rows of this model's task",
        )


def answer_golden(reference: Reference, rows: GoldenRows, tokenizer: Tokenizer, labels: list[str]) -> Golden:
    """Add the reference's logits to the rows. Raises ConversionError."""
    encoded = labelling.encode(rows.examples, rows.task, tokenizer)
    ids, tagging = encoded.rows, rows.task == "tagging"
    check_repeatable(reference.infer, ids, reference.source, reference.again)
    logits = reference.logits(ids, "golden rows")
    if not np.isfinite(logits).all():
        raise ConversionError(
            "the SavedModel answers rows with NaN or infinite numbers",
            expected="finite logits for every golden row",
            found=f"{int((~np.isfinite(logits)).any(axis=-1).sum())} of {len(logits)} answers are not",
            where=str(reference.source),
            fix=f"look at the model's weights: no conversion can be compared with these answers; then {reference.again}",
        )
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


def answer_probes(reference: Reference, rows: ProbeRows) -> Probes:
    """Add the reference's logits to the probe rows. Raises ConversionError."""
    return Probes(rows.texts, rows.ids, reference.logits(rows.ids, "probe rows"))
