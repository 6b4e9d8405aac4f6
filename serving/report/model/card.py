"""The model card: what the records say of a model, its limits among it, and its maker's words."""

from __future__ import annotations

import math

from serving.report.model.training_text import TASK_NOUNS, TASK_TITLES
from serving.report.records import RunRecords
from slipway.contract.parity.bounds import rate_bound, rate_least

_NAMED_LABELS = 20
_FEW_ROWS = 30  # test rows that judge a label: all of them right, 10 % of its answers may be wrong
_EACH_SIDE = 0.975  # a two-sided interval of 95 %


def card_facts(run: RunRecords) -> list[tuple[str, str]]:
    """Return names and values of what is known of the model."""
    source, metrics = run.bundle, run.bundle.metrics
    more = f" and {len(run.labels) - _NAMED_LABELS:,d} more" if len(run.labels) > _NAMED_LABELS else ""
    made_from = f", made from {source.encoder.made_from}" if source.encoder.made_from else ""
    facts = [
        ("task", TASK_TITLES[source.task]),
        ("labels", f"{len(run.labels):,d}: {', '.join(run.labels[:_NAMED_LABELS])}{more}"),
        ("encoder", f"{source.encoder.handle}{made_from}; sha256 {source.encoder.sha256}"),
        ("data", f"{source.corpus.where}; sha256 {source.corpus.sha256}"),
    ]
    if card := source.data_card:
        splits = ", ".join(f"{split} {facts.rows:,d}" for split, facts in card.splits.items())
        facts.append(("rows", f"{splits}; {sum(facts.repeated for facts in card.splits.values()):,d} repeated in their split"))
    if run.training is None:
        facts.append(("trained", "elsewhere"))
    elif metrics.examples:
        facts.append(("trained", f"on {metrics.examples:,d} examples, all epochs together"))
    return facts


def model_limits(run: RunRecords) -> list[str]:
    """Return what the model cannot do, or what is not known of it, a sentence each."""
    limits = [_accuracy(run), *_few_rows(run), *_reading(run), *_neighbours(run)]
    every = "word" if run.bundle.task == "tagging" else "text"
    limits.append(f"Every {every} gets one of its labels, also one that none of them fits.")
    if run.bundle.corpus.generated:
        limits.append("It was trained and tested on made-up texts.")
    return [*filter(None, limits)]


def _accuracy(run: RunRecords) -> str:
    metrics, several = run.bundle.metrics, TASK_NOUNS[run.bundle.task][1]
    rows = metrics.test_rows
    if not rows:
        return ""
    right = round(metrics.test_accuracy * rows)
    low, high = rate_least(right, rows, _EACH_SIDE), rate_bound(right, rows, _EACH_SIDE)
    span = f"between {math.floor(1000 * low) / 10:.1f} and {math.ceil(1000 * high) / 10:.1f}\u00a0%"
    unless = ", were words of a sentence independent" if run.bundle.task == "tagging" else ""
    return (
        f"Of {rows:,d} test {several} it answers {100 * metrics.test_accuracy:.2f}\u00a0% right. Of others that are like them "
        f"it would be {span} (95\u00a0% interval{unless}); of other sources, fields or times nothing was tested."
    )


def _few_rows(run: RunRecords) -> list[str]:
    few = [label for label, scores in run.bundle.metrics.per_class.items() if scores.rows < _FEW_ROWS]
    if not few:
        return []
    more = f" and {len(few) - _NAMED_LABELS:,d} more" if len(few) > _NAMED_LABELS else ""
    several = TASK_NOUNS[run.bundle.task][1]
    return [f"Fewer than {_FEW_ROWS} test {several} are {', '.join(few[:_NAMED_LABELS])}{more}: how well is hardly known."]


def _reading(run: RunRecords) -> list[str]:
    """Return what of a text the model does not see."""
    longest, limits = run.bundle.max_seq_len, []
    if longest:
        cut = int((run.golden.ids.lengths >= longest).sum())
        seen = f"{cut:,d} of {len(run.golden.texts):,d} golden rows are that long" if cut else "no golden row is that long"
        limits.append(f"It reads the first {longest:,d} tokens and nothing of what follows; {seen}.")
    if run.bundle.lower_case:
        limits.append("It does not see whether letters are upper or lower case.")
    return limits


def _neighbours(run: RunRecords) -> list[str]:
    if "parity" in run.missing:
        return []
    return [
        f"{result.variant} may answer otherwise beside other texts in a batch: of the {result.neighbours.rows} answers that are "
        f"closest between two labels, {result.neighbours.flips} did beside {result.neighbours.neighbour}."
        for result in run.parity
        if result.variant not in run.left_out and result.passed and result.neighbours and result.neighbours.flips
    ]


def own_paragraphs(text: str) -> list[str]:
    """Return the paragraphs that blank lines part."""
    return [paragraph for block in text.replace("\r\n", "\n").split("\n\n") if (paragraph := block.strip())]
