"""What the pages say about the model and its training, out of bundle.json and history.json."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from serving.report.benchmark_text import percent
from serving.report.records import LabelScores, Metrics, TrainingRecord
from slipway.contract.bundle import Golden

TASK_NOUNS = {  # what an answer is for, and the plural
    "single_text": ("text", "texts"),
    "text_pair": ("pair of texts", "pairs of texts"),
    "tagging": ("word", "words"),
}
TASK_TITLES = {
    "single_text": "Text in, label out",
    "text_pair": "Two texts in, label out",
    "tagging": "Words in, a label for each out",
}
_NAMED_LABELS = 5
_WORST_CLASSES = 10
_MIX_UPS = 10


def task_title(task: str, labels: list[str]) -> str:
    more = f" and {len(labels) - _NAMED_LABELS} more" if len(labels) > _NAMED_LABELS else ""
    return f"{TASK_TITLES[task]}: {', '.join(labels[:_NAMED_LABELS])}{more}"


def training_facts(metrics: Metrics, training: TrainingRecord) -> list[tuple[str, str]]:
    """Return names and values of how the model was trained; what was not recorded is left out."""
    memory = metrics.peak_memory_bytes
    facts = [
        ("ranks", "{}", _ranks(metrics)),
        ("epochs", "{:d}", training.steps[-1].epoch),
        ("steps", "{:,d}", metrics.steps),
        ("steps skipped because of gradients that were not finite", "{:d}", sum(step.skipped for step in training.steps) or None),
        ("examples, all epochs together", "{:,d}", metrics.examples),
        ("examples per second, all ranks", "{:,.1f}", metrics.examples_per_second),
        ("tokens per second, without padding", "{:,.0f}", metrics.tokens_per_second),
        ("padding, share of the tokens fed", "{}", _percent(metrics.padding_waste, 1)),
        ("largest memory of a rank", "{:.2f} GiB", None if memory is None else memory / 2**30),
        ("accuracy on the validation rows, at the end", "{}", _percent(metrics.validation_accuracy, 2)),
    ]
    return [(name, form.format(value)) for name, form, value in facts if value is not None]


def _percent(share: float | None, digits: int) -> str | None:
    return None if share is None else percent(share, digits)


def _ranks(metrics: Metrics) -> str | None:
    """Return how many ranks there were, and each later number with the step from which it held."""
    if not metrics.world_sizes:
        return None if metrics.world_size is None else str(metrics.world_size)
    first, *later = metrics.world_sizes
    return ", ".join([str(first["ranks"]), *(f"{change['ranks']} from step {change['from_step']}" for change in later)])


def accuracy_table(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Return (model, test accuracy, trained on) of this model and the published ones, if any."""
    published = metrics.published
    if published is None:
        return []
    own = ("this model", percent(metrics.test_accuracy, 2), f"{metrics.train_rows:,d} rows")
    return [own, *((model, percent(accuracy), published.trained_on) for model, accuracy in published.test_accuracy.items())]


def worst_classes(metrics: Metrics) -> dict[str, LabelScores]:
    """Return the labels with the lowest F1 first, or if they are few all in their order."""
    if len(metrics.per_class) <= 2 * _WORST_CLASSES:
        return metrics.per_class
    return dict(sorted(metrics.per_class.items(), key=lambda item: item[1].f1)[:_WORST_CLASSES])


def mix_ups(matrix: list[list[int]], labels: list[str]) -> list[tuple[str, str, int, float]]:
    """Return (true, predicted, count, share) of the most frequent, of many labels."""
    if len(labels) <= _MIX_UPS:
        return []
    wrong = [
        (labels[true], labels[predicted], count, count / sum(row))
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    return sorted(wrong, key=lambda mix_up: -mix_up[2])[:_MIX_UPS]


def text_reader(golden: Golden) -> Callable[[int], list[str]]:
    """Return row, counted from 0 → its text, both texts, or the words before, at and after it."""
    text_of = golden.text_of[golden.compared]

    def parts(row: int) -> list[str]:
        text = golden.texts[text_of[row]]
        if len(golden.labels) == len(golden.texts):
            return [text] if isinstance(text, str) else list(text)
        word = row - int(np.searchsorted(text_of, text_of[row]))
        return [" ".join(text[:word]), text[word], " ".join(text[word + 1 :])]

    return parts
