"""Whether a new version answers worse than the one it is to replace.

Both are asked for the same golden rows, and their labels are compared by name with the true ones,
row by row. Parity says that a version answers as its own SavedModel, and nothing of whether that
one is any good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from serving.options import MOST_CHANGED
from serving.registry.registry import Registry
from slipway.client.client import Client
from slipway.client.transport import Options
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.parity import bounds
from slipway.contract.ragged import Numbers
from slipway.errors import PublishingError

_UNHURRIED = Options(deadline=3600)  # all golden rows are one call
_FIRST, _FIRST_SHARE = 1000, 0.25  # of the golden rows, the larger is asked first; all where those leave a doubt
_FIRST_OF_CLASS = 30  # rows of each class among them, or all that there are
_DOUBT = 0.8  # confidence of a loss in a class of the first rows that is looked into
_STEP = 1000  # a share that is proposed is a multiple of 1/1000, rounded up
Labels = list[list[str]]  # a list for each text: its label; tagger: one a word, "" where there is none


@dataclass(frozen=True)
class GoldenSet:
    """The golden rows of one of the two versions."""

    version: int
    source: Bundle
    golden: Golden


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the right answers of one class, or of all."""

    group: str  # the class, or "all"
    rows: int
    lost: int  # right before, wrong now
    gained: int  # wrong before, right now


@dataclass(frozen=True)
class Comparison:
    """The answers of two versions to the golden rows of one of them."""

    rows_of: int  # the version whose golden rows they are
    answers: int
    changed: int  # answers, right or wrong, that are not the same
    total: Change  # of the answers that have a true label
    by_class: list[Change]

    @property
    def changed_share(self) -> float:
        return self.changed / max(self.answers, 1)

    def worst(self, sets: int) -> tuple[float, Change]:
        """Return the largest lower bound on a loss of accuracy, and what it was lost in.

        Of the 5 % chance to refuse an equal version each of the promotion's `sets` of golden rows
        has its part. All rows have half of that, and the classes share the other half (Bonferroni):
        among many classes some lose a few answers by chance.
        """
        chance = (1 - bounds.CONFIDENCE) / sets / 2
        chances = [(self.total, chance), *((change, chance / len(self.by_class)) for change in self.by_class)]
        least = [(bounds.loss_least(change.lost, change.gained, change.rows, 1 - part), change) for change, part in chances]
        return max(least, key=lambda pair: pair[0])

    def to_json(self, sets: int) -> dict[str, Any]:
        """Return the audit's entry, of one of the promotion's `sets`."""
        return {**asdict(self), "least_loss": self.worst(sets)[0]}


@dataclass(frozen=True)
class Accepted:
    """What a person puts up with in a new version, and why."""

    loss: float  # of accuracy, a share of the rows
    changes: float  # of answers, a share of them
    reason: str


def ask(address: str, sets: Sequence[GoldenSet], active: str, candidate: tuple[int, str]) -> list[Comparison]:
    """Ask both versions on a gRPC server for every set of golden rows, and compare their answers.

    The first rows are enough where nothing in them points at a loss. Of 3,000 simulated versions
    that lost 3 of 100 answers in 4 classes and gained 2, so many were not refused, and in brackets,
    if all rows had been asked at once: of 4,000 rows 31 % (29 %), of 7,600 6 % (5 %), of 10,000 2 %
    (1 %). With a loss of 2.75 and a gain of 2.25 on 50,000 rows 0.4 % (0.1 %). Of versions that
    lose and gain 2, four in ten need no more than the first rows.
    `active` is the name of the one model, `candidate` the version and the name of the other. Raises
    ServerError, and PublishingError as true_labels.
    """
    comparisons = []
    with Client(f"grpc://{address}", _UNHURRIED) as connection:
        for rows in sets:
            truth: Labels = []
            old: Labels = []
            new: Labels = []
            for part in parts(rows):
                answers = [_labels(connection, model, part) for model in (active, candidate[1])]
                truth += true_labels(part, answers[rows.version == candidate[0]])
                old, new = old + answers[0], new + answers[1]
                compared = compare(rows.version, truth, old, new)
                if is_clear(compared):
                    break
            comparisons.append(compared)
    return comparisons


def first_rows(golden: Golden) -> Numbers:
    """Return the numbers of the rows that are asked at first.

    Rows of every class, of a tagger sentences with every label, because a rare one would be lost
    unseen; the others are drawn.
    """
    rows, asked = len(golden.ids), golden.asked
    drawn = np.random.default_rng(0).permutation(rows)
    chosen = np.zeros(rows, np.bool_)
    for label in np.unique(golden.labels[asked]):
        having = np.zeros(rows, np.bool_)
        having[golden.text_of[asked & (golden.labels == label)]] = True
        chosen[drawn[having[drawn]][:_FIRST_OF_CLASS]] = True
    wanted = max(_FIRST, math.ceil(_FIRST_SHARE * rows))
    chosen[drawn[~chosen[drawn]][: max(wanted - int(chosen.sum()), 0)]] = True
    first: Numbers = np.flatnonzero(chosen)
    return first


def parts(rows: GoldenSet) -> list[GoldenSet]:
    """Return the rows that are asked at first, and all others if there are any."""
    first = first_rows(rows.golden)
    others = np.setdiff1d(np.arange(len(rows.golden.ids)), first)
    return [replace(rows, golden=take(rows.golden, numbers)) for numbers in (first, others) if len(numbers)]


def is_clear(compared: Comparison) -> bool:
    """Return whether nothing points at a loss: more rows would only say so again."""
    classes = [bounds.loss_least(change.lost, change.gained, change.rows, _DOUBT) for change in compared.by_class]
    return (
        compared.total.lost <= compared.total.gained
        and max(classes, default=0.0) <= 0
        and compared.changed_share <= MOST_CHANGED * _DOUBT
    )


def sample(golden: Golden, rows: int) -> Numbers:
    """Return the numbers of `rows` golden rows, drawn once for all, or of all."""
    drawn: Numbers = np.sort(np.random.default_rng(0).permutation(len(golden.ids))[:rows])
    return drawn


def take(golden: Golden, rows: Numbers) -> Golden:
    """Return these golden rows alone."""
    places = rows if golden.per_row else golden.ids.tokens_of(rows)
    return Golden([golden.texts[row] for row in rows], golden.ids.take(rows), golden.labels[places], golden.logits[places])


def _labels(connection: Client, model: str, rows: GoldenSet) -> Labels:
    if rows.source.task == "tagging":
        return [list(answer.labels) for answer in connection.tag(rows.golden.texts, model=model)]
    return [[answer.label] for answer in connection.classify(rows.golden.texts, model=model)]


def true_labels(rows: GoldenSet, own: Labels) -> Labels:
    """Return the true labels in the places of the `own` version's answers; "": there is none.

    A tagger's golden labels belong to the first word pieces of words; the version that the rows are
    of answers exactly these words. Raises PublishingError if it does not.
    """
    asked, names = rows.golden.asked, rows.source.labels
    numbers = np.bincount(rows.golden.text_of[asked], minlength=len(own))
    of_rows = np.split(rows.golden.labels[asked], np.cumsum(numbers)[:-1])
    truth: Labels = []
    for row, (labels, answers) in enumerate(zip(of_rows, own, strict=True)):
        places = [place for place, answer in enumerate(answers) if answer]
        if len(labels) not in (0, len(places)):
            raise PublishingError(
                f"version {rows.version} does not answer its own golden rows as when it was published",
                expected=f"{len(labels)} labels for row {row}",
                found=f"{len(places)}",
                where=str(rows.source.directory / "golden.jsonl"),
                fix="the server's log says more; a server that is started anew reads what is published",
            )
        true = dict(zip(places, labels, strict=False))
        truth.append([names[true[place]] if place in true else "" for place in range(len(answers))])
    return truth


def compare(rows_of: int, truth: Labels, old: Labels, new: Labels) -> Comparison:
    """Compare the answers of two versions with the true labels, "" where there is none."""
    true, before, after = (np.array([label for row in labels for label in row], object) for labels in (truth, old, new))
    answered = (before != "") | (after != "")
    lost = (true != "") & (before == true) & (after != true)
    gained = (true != "") & (before != true) & (after == true)

    def change(group: str, rows: Any) -> Change:
        return Change(group, int(rows.sum()), int(lost[rows].sum()), int(gained[rows].sum()))

    return Comparison(
        rows_of=rows_of,
        answers=int(answered.sum()),
        changed=int((before != after)[answered].sum()),
        total=change("all", true != ""),
        by_class=[change(name, true == name) for name in sorted({*true} - {""})],
    )


def refuse_worse(
    comparisons: Sequence[Comparison], accepted: Accepted, active: int, registry: Registry, promote: Sequence[object]
) -> None:
    """Raise PublishingError for a loss, or for changed answers, beyond what is accepted.

    `promote` are the words of the command; the fix is the same one that accepts what was found.
    """
    sets = len(comparisons)
    worst, most = max(comparisons, key=lambda rows: rows.worst(sets)[0]), max(comparisons, key=lambda rows: rows.changed_share)
    least, change = worst.worst(sets)
    others = most.changed_share
    if least <= accepted.loss and others <= accepted.changes:
        return
    loss, changes = max(least, accepted.loss), max(others, accepted.changes)
    taken = {"--accept-loss": loss} if loss > 0 else {}
    taken |= {"--accept-changes": changes} if changes > MOST_CHANGED else {}
    given = [word for option, share in taken.items() for word in (option, math.ceil(share * _STEP) / _STEP)]
    accepting = registry.command(*promote, *given, "--reason", accepted.reason or "WHY")
    stays = f"version {active} stays. To take it all the same: {accepting}"
    if least > accepted.loss:
        where = "" if change is worst.total else f" of the class {change.group}"
        raise PublishingError(
            f"the new version answers worse than version {active}",
            expected=f"a loss of accuracy of {accepted.loss:.1%} or less, or one that may be chance, on the golden rows of either",
            found=f"on version {worst.rows_of}'s {change.rows} rows{where} {change.lost} right answers lost and "
            f"{change.gained} gained: a loss of at least {least:.1%}",
            where=str(registry.repository),
            fix=stays,
        )
    raise PublishingError(
        f"the new version gives other answers than version {active}",
        expected=f"at most {accepted.changes:.0%} of the answers changed",
        found=f"{most.changed} of {most.answers} on version {most.rows_of}'s golden rows, {others:.1%}",
        where=str(registry.repository),
        fix=stays,
    )
