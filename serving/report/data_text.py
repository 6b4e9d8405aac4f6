"""What the page says about the rows that the model was trained and tested on, out of their card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from serving.report.records import DataCard, RunRecords
from slipway.contract import labelling

_ALL_LABELS = 20  # up to which all of them are shown at once
_END_LABELS = 8  # of more: so many of the largest, and of the smallest
_NAMED_LABELS = 10
_NAMED_RULES = 5
LabelRows = list[tuple[str, list[int]]]  # label; its rows in each split, then of the golden rows


def missing_card(run: RunRecords) -> str:
    """Return why the run has no card of its data."""
    if run.training is None:
        return "No card of the data was kept: the model was trained elsewhere."
    return "No card of the data was kept: the model was trained by a version of Slipway that made none."


def label_rows(run: RunRecords, card: DataCard) -> LabelRows:
    """Return the rows of every label, tagger: the words, the label with the most first."""
    golden = np.bincount(run.golden.labels[run.golden.asked], minlength=len(run.labels))
    splits = card.splits.values()
    counts = [
        (label, [*(split.labels.get(label, 0) for split in splits), int(golden[number])]) for number, label in enumerate(run.labels)
    ]
    return sorted(counts, key=lambda row: -row[1][0])


def ends(rows: LabelRows) -> tuple[LabelRows, LabelRows]:
    """Return the largest and the smallest of many labels; of few all, and none."""
    return (rows, []) if len(rows) <= _ALL_LABELS else (rows[:_END_LABELS], rows[-_END_LABELS:])


def leak_warning(run: RunRecords, card: DataCard) -> str:
    """Return that rows by which the model is judged were kept in training, "" if none were."""
    if not card.leaks or card.left_out.leaked:
        return ""
    is_asked = card.leak_policy == "keep" or not run.bundle.metrics.published
    why = "as --leaks keep asked" if is_asked else "so that accuracies can be compared with published ones"
    return f"{_leaked_rows(card.leaks)}. They were kept, {why}: accuracy on them is too good."


def data_warnings(run: RunRecords, card: DataCard) -> list[str]:
    """Return what may make the figures wrong, one or two sentences each."""
    warnings = [*filter(None, [leak_warning(run, card)]), *(f"Noted before training: {note}." for note in card.notes)]
    if card.two_labels:
        come = "text comes" if card.two_labels == 1 else "texts come"
        warnings.append(f"{card.two_labels:,d} {come} with more than one label, such as {card.of_two_labels}.")
    tested = list(card.splits["test"].labels)
    if len(tested) == 1:
        warnings.append(f"The test rows are all of {tested[0]!r}: a model that always gives this answer would pass.")
    elif names := card.without_test_rows:
        warnings.append(f"No test row has {_named(names)}: how well they are told apart was not tested.")
    if names := [label for label in run.labels if not card.splits["train"].labels.get(label)]:
        warnings.append(f"No training row has {_named(names)}.")
    if card.unread_words:
        words = "word has" if card.unread_words == 1 else "words have"
        warnings.append(f"{card.unread_words:,d} {words} no character that is read: such words' tags are not learned.")
    alike = labelling.look_alikes(run.labels)
    more = [f"{len(alike) - _NAMED_LABELS} more labels look like another."] if len(alike) > _NAMED_LABELS else []
    return [*warnings, *(f"{sentence[0].upper()}{sentence[1:]}." for sentence in alike[:_NAMED_LABELS]), *more]


def data_facts(run: RunRecords, card: DataCard) -> list[str]:
    """Return what else is known of the rows, a sentence each."""
    facts = [f"The first training row is {card.first_row}."]
    if not card.leaks:
        asked = f", and --leaks {card.leak_policy} changed nothing" if card.leak_policy in ("remove", "keep") else ""
        facts.append(f"No text is in two splits{asked}.")
    elif removed := card.left_out.leaked:
        was = "row of such a text was" if removed == 1 else "rows of such texts were"
        facts.append(f"{_leaked_rows(card.leaks)}. {removed:,d} {was} removed from training and validation (--leaks remove).")
    if not card.two_labels:
        facts.append("No text comes with more than one label.")
    return [*facts, *_left_out(card), *_unlabelled(run)]


def _leaked_rows(leaks: Mapping[str, int]) -> str:
    rows = " and ".join(_counted(count, f"{split} row") for split, count in leaks.items())
    return f"In the files, {rows} {'has' if sum(leaks.values()) == 1 else 'have'} a text that the model is trained or chosen with"


def _left_out(card: DataCard) -> list[str]:
    """Return what was not read of the files, a sentence for each reason."""
    left_out, sentences = card.left_out, []
    if bad := sum(left_out.bad.values()):
        rules = [f"{rule} ({count:,d})" for rule, count in [*left_out.bad.items()][:_NAMED_RULES]]
        more = [f"{len(left_out.bad) - _NAMED_RULES} more rules"] if len(left_out.bad) > _NAMED_RULES else []
        sentences.append(f"{_counted(bad, 'row')} left out, for breaking a rule: {'; '.join([*rules, *more])}.")
    if left_out.without_label:
        sentences.append(f"{_counted(left_out.without_label, 'row')} left out, for having no label (--missing-label).")
    return sentences or ["No row was left out for an empty text, another broken rule, or a missing label."]


def _unlabelled(run: RunRecords) -> list[str]:
    """Return what the golden rows are that are no test rows."""
    if not run.bundle.unlabelled:
        return []
    further = int((~run.golden.asked).sum())
    return [f"Of the golden rows, {further:,d} are further texts without a label: {run.bundle.unlabelled.where}."]


def _named(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _NAMED_LABELS:,d} more" if len(labels) > _NAMED_LABELS else ""
    return f"the label{'' if len(labels) == 1 else 's'} {', '.join(labels[:_NAMED_LABELS])}{more}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,d} {noun}{'' if count == 1 else 's'}"
