"""What the report says of the model and its training, as the template shows it: out of bundle.json and history.json alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from serving.training_plots import Steps
from train.bundle import Golden

_NOUNS = {
    "single_text": ("text", "texts"),
    "text_pair": ("pair of texts", "pairs of texts"),
    "tagging": ("word", "words"),
}  # what is answered
_TITLES = {"single_text": "Text in, label out", "text_pair": "Two texts in, label out", "tagging": "Words in, a label for each out"}
_NAMED_LABELS = 5
_WORST_CLASSES = 10
_MIX_UPS = 10


def nouns(task: str) -> tuple[str, str]:
    """One answer and several, in words."""
    return _NOUNS[task]


def title(task: str, labels: list[str]) -> str:
    more = f" and {len(labels) - _NAMED_LABELS} more" if len(labels) > _NAMED_LABELS else ""
    return f"{_TITLES[task]}: {', '.join(labels[:_NAMED_LABELS])}{more}"


def training(facts: dict[str, Any], history: dict[str, Steps]) -> list[tuple[str, str]]:
    """What was done and what it took; empty of a model that was trained elsewhere. Facts that were not recorded are left out."""
    if not history:
        return []
    metrics = facts["metrics"]
    skipped = sum(line["skipped"] for line in history["steps"])
    rows = [
        ("ranks", "{}", _ranks(metrics)),
        ("epochs", "{:d}", history["steps"][-1].get("epoch")),
        ("steps", "{:,d}", metrics.get("steps")),
        ("steps skipped, their gradients were not finite", "{:d}", skipped or None),
        ("examples, of all epochs together", "{:,d}", metrics.get("examples")),
        ("examples per second, all ranks", "{:,.1f}", metrics.get("examples_per_second")),
        ("tokens per second, without padding", "{:,.0f}", metrics.get("tokens_per_second")),
        ("padding, share of the tokens fed", "{:.1%}", metrics.get("padding_waste")),
        ("largest memory of a rank", "{:.2f} GiB", _gib(metrics.get("peak_memory_bytes"))),
        ("accuracy on the validation rows, at the end", "{:.2%}", metrics.get("validation_accuracy")),
    ]
    return [(name, form.format(value)) for name, form, value in rows if value is not None]


def _ranks(metrics: dict[str, Any]) -> str | None:
    """How many; of an elastic run that lost some also from which step on."""
    changes = metrics.get("world_sizes", [])
    later = [f"{one['ranks']} from step {one['from_step']}" for one in changes[1:]]
    first = changes[0]["ranks"] if changes else metrics.get("world_size")
    return None if first is None else ", ".join([str(first), *later])


def _gib(size: int | None) -> float | None:
    return None if size is None else size / 2**30


def accuracies(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(model, test accuracy, trained on), the published ones after this one; empty where there are none to compare with."""
    metrics, published = facts["metrics"], facts["metrics"].get("published")
    if not published:
        return []
    own = ("this model", f"{metrics['test_accuracy']:.4f}", f"{metrics['train_rows']:,d} rows")
    return [own, *((name, f"{value:.3f}", published["trained_on"]) for name, value in published["test_accuracy"].items())]


def worst_classes(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of many classes those of lowest F1, lowest first; of few all, in their order."""
    classes: dict[str, dict[str, Any]] = metrics.get("per_class", {})
    if len(classes) <= 2 * _WORST_CLASSES:
        return classes
    return dict(sorted(classes.items(), key=lambda one: one[1]["f1"])[:_WORST_CLASSES])


def mix_ups(metrics: dict[str, Any], labels: list[str]) -> list[tuple[str, str, int, float]]:
    """(true label, predicted, how often, share of the true label's): the most frequent wrong answers of many labels."""
    if len(labels) <= _MIX_UPS:
        return []  # the matrix shows them
    matrix = metrics["confusion"]
    found = [
        (labels[i], labels[j], count, count / sum(row))
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(found, key=lambda one: -one[2])[:_MIX_UPS]


def texts(golden: Golden) -> Callable[[int], list[str]]:
    """What a row of a comparison is: the text; a pair's both; of a tagger the words before, the word, the words after."""
    text_of = golden.text_of[golden.asked]

    def parts(row: int) -> list[str]:
        text = golden.texts[text_of[row]]
        if len(golden.labels) == len(golden.texts):
            return [text] if isinstance(text, str) else list(text)
        word = row - int(np.searchsorted(text_of, text_of[row]))
        return [" ".join(text[:word]), text[word], " ".join(text[word + 1 :])]

    return parts
