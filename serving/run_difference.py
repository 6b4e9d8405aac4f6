"""Two runs of one corpus against each other, out of their records: what differs, and whether it is a result.

Accuracy is compared on the same texts, row by row. Speed is not: the runs were measured at other times, perhaps on another
machine, and only what was measured in turns can be compared. What can be carried over is each run's share of its own engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from export import comparison
from serving import speed_section, training_section
from serving.run_view import Facts
from train.errors import ManifestError

_SIGNIFICANT = 1 - comparison.CONFIDENCE  # of McNemar's exact p
_WHERE = ("corpus",)  # hyper-parameters that say where, and not what


@dataclass(frozen=True)
class Line:
    """One fact of both runs."""

    what: str
    sides: tuple[str, ...]  # of A and of B
    says: str = ""  # what follows from it
    css: str = ""  # of that
    differs: bool = False


def check(a: Facts, b: Facts) -> None:
    """Raises ManifestError unless both are of the same corpus, task and labels."""
    for what, of in (("corpora", _corpus), ("tasks", _task), ("labels", _labels)):
        if of(a) != of(b):
            raise ManifestError(
                f"two runs of different {what} cannot be compared",
                expected=f"{of(a)}, as {a['run']} has",
                found=of(b),
                where=b["run"],
                fix=f"make compare A={a['run']} B=RUN, of a run trained on the same corpus",
            )


def _corpus(facts: Facts) -> str:
    return f"sha256 {facts['bundle']['corpus']['sha256']} ({facts['bundle']['corpus']['where']})"


def _task(facts: Facts) -> str:
    return str(facts["bundle"]["task"])


def _labels(facts: Facts) -> str:
    return ", ".join(facts["labels"])


def answers(a: Facts, b: Facts) -> dict[str, Any] | None:
    """Both SavedModels on the same held-out rows: b's answers against a's, as `export.comparison` measures; None of other rows."""
    first, second = a["golden"], b["golden"]
    asked = (first.asked, second.asked)
    if first.texts != second.texts or not np.array_equal(first.labels[asked[0]], second.labels[asked[1]]):
        return None
    return comparison.compare(
        first.logits[asked[0]], second.logits[asked[1]], first.labels[asked[0]], first.lengths[asked[0]], a["labels"]
    )


def verdict(compared: dict[str, Any] | None, several: str) -> tuple[str, str]:
    """Which model is better, in a sentence, and its CSS class."""
    if compared is None:
        return f"Their held-out {several} differ, so that their accuracies cannot be compared row by row.", "wait"
    gained, lost, p = compared["gained"], compared["lost"], compared["mcnemar_p"]
    counts = f"of {compared['rows']:,d} {several} only B has {gained} right, only A {lost}, McNemar p {p:.2g}"
    if p > _SIGNIFICANT:
        return f"No difference in accuracy can be shown: {counts}.", "soft"
    better, css = ("B", "good") if gained > lost else ("A", "bad")
    return f"{better} is more accurate: {counts}.", css


def lines(a: Facts, b: Facts) -> list[Line]:
    """What a person would look at first, of both."""
    return [_accuracy(a, b), *_variants(a, b), *_speed(a, b)]


def _accuracy(a: Facts, b: Facts) -> Line:
    _, several = training_section.nouns(a["bundle"]["task"])
    said, css = verdict(answers(a, b), several)
    values = [f"{one['bundle']['metrics']['test_accuracy']:.2%}" for one in (a, b)]
    return Line("test accuracy, FP32 SavedModel", tuple(values), said, css, css in ("good", "bad"))


def _variants(a: Facts, b: Facts) -> list[Line]:
    """Of every variant that one of them has: flips, and what it may lose."""
    of = [{record["variant"]: record for record in one["parity"]} for one in (a, b)]
    found = []
    for variant in dict.fromkeys([*of[0], *of[1]]):
        records = [one.get(variant) for one in of]
        shown = [_flips(record) for record in records]
        missing = next((name for name, record in zip("AB", records, strict=True) if record is None), None)
        failing = [name for name, record in zip("AB", records, strict=True) if record and not record["passed"]]
        says = f"{missing} has none" if missing else f"{' and '.join(failing)} FAILED" if failing else "both passed"
        css = "wait" if missing else "bad" if failing else "good"
        found.append(Line(f"{variant}: flips, loss below", tuple(shown), says, css, css != "good"))
    return found


def _flips(record: dict[str, Any] | None) -> str:
    return "–" if record is None else f"{record['flips']} of {record['rows']}, {record['accuracy_loss_bound']:.2%}"


def _speed(a: Facts, b: Facts) -> list[Line]:
    records = [one["benchmark"] for one in (a, b)]
    tops, singles = ([of(one) for one in records] for of in (speed_section.best, speed_section.alone))
    engines = [one["variant"] for one in records]
    other_times = "measured at different times: no verdict", "soft"
    found = [
        Line("text_classifier runs on", tuple(engines), differs=engines[0] != engines[1]),
        Line("most texts/s", tuple(speed_section.figure(top["throughput"]) if top else "–" for top in tops), *other_times),
        Line("p99 of one client, ms", tuple(speed_section.figure(one["p99_ms"]) if one else "–" for one in singles), *other_times),
        Line("padding, share of the tokens", tuple(f"{one['padding']['waste']:.1%}" for one in records)),
    ]
    shares = [speed_section.of_engine(record, top) if top else None for record, top in zip(records, tops, strict=True)]
    of_engine = "each against its engine in its own run"
    found.append(
        Line("of what the engine does alone", tuple("–" if one is None else f"{one:.0%}" for one in shares), of_engine, "soft")
    )
    return found


def made_otherwise(a: Facts, b: Facts) -> list[Line]:
    """What is not the same in how the two were made and measured: hyper-parameters, encoder, versions, machine, commit."""
    of = [_made(one) for one in (a, b)]
    names = dict.fromkeys([*of[0], *of[1]])
    found = [Line(name, tuple(one.get(name, "–") for one in of), differs=True) for name in names]
    return [line for line in found if line.sides[0] != line.sides[1]]


def _made(facts: Facts) -> dict[str, str]:
    source, measured = facts["bundle"], facts["benchmark"]
    settings = {name: str(value) for name, value in source["hyper_parameters"].items() if name not in _WHERE}
    versions = source["versions"] | facts["parity"][0]["versions"] | measured["versions"]
    return {
        "encoder": source["encoder"]["made_from"] or source["encoder"]["handle"],
        **settings,
        "machine": f"{measured['machine']['cpu']}, {measured['machine']['cores']} cores",
        "commit": measured["commit"],
        "benchmark": f"{measured['setting']}, {measured['rounds']} rounds",
        **versions,
    }
