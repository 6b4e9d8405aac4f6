"""The golden rows run in other ways: twice, alone, in a batch, padded longer, beside the neighbour
that disturbs them most.

An INT8 engine with dynamic activations has one scale for a whole batch, so whoever chooses what
stands beside a text can push its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from slipway.contract.bundle import Golden, Probes
from slipway.contract.parity import comparison
from slipway.contract.parity.comparison import Invariance, Neighbours, margins
from slipway.contract.parity.probabilities import Logits, Numbers
from slipway.contract.ragged import Feed, Ragged, unpadded

Infer = Callable[[Feed], Logits]

# Least and most; between them a 64th of the rows, so that large models are not kept waiting.
_INVARIANCE_ROWS = (16, 64)
_REPEATED_ROWS = 8
_WIDTHS = 128  # at most, that a row is padded to
_BESIDE = 15  # rows that share a batch with one neighbour
_MOST_BESIDE, _MOST_SHARE = 120, 25  # at most so many rows, or one in so many: no limit allows as many flips
_CLEAN = 2  # batches without a flip, after which rows of larger margins are not tried
_TRIED_ON, _TRIED = 4, 16  # rows on which, and neighbours of which, the worst is searched


def repeated(infer: Infer, golden: Golden) -> float:
    """Return max |Δlogit| between two runs of the same rows, in one batch each."""
    rows = golden.ids.take(spread_rows(golden.ids)[-_REPEATED_ROWS:])
    first, second = (_run(infer, rows) for _ in range(2))
    return comparison.largest(second, first)


def invariance(infer: Infer, golden: Golden, longest: int, spread: float) -> Invariance:
    """Run rows of every length alone, among unequal neighbours, and padded to `longest` tokens.

    What is compared are the answers that golden rows ask for: not those of a tagger's other tokens.
    """
    some = golden.take(spread_rows(golden.ids))
    rows, compared = some.ids, some.compared
    every = np.arange(len(rows))
    each = [_run(infer, rows.take(row)) for row in every[:, None]]
    alone = np.concatenate(each)
    mixed = np.random.default_rng(0).permutation(every)
    batched = np.concatenate([_run(infer, rows.take(part)) for part in np.array_split(mixed, 4)])
    order = mixed if len(batched) == len(rows) else rows.tokens_of(mixed)
    ways = {"in a batch": batched[np.argsort(order)], "padded": np.concatenate(_padded(infer, rows, each, longest))}
    return comparison.invariance(alone[compared], {name: logits[compared] for name, logits in ways.items()}, spread)


def _padded(infer: Infer, rows: Ragged, alone: list[Logits], longest: int) -> list[Logits]:
    """Return the answers of rows, sorted by length, padded to `longest`.

    A fault may be of one width. So a short row that is sure of its answer is padded to every width,
    and its answer is the one that differs most from `alone`.
    """
    padded = [_run(infer, rows.take(np.array([row])), longest) for row in range(len(rows))]
    surest = max(range(len(rows) // 4 + 1), key=lambda row: margins(alone[row]).min())
    widths = np.unique(np.linspace(rows.lengths[surest], longest, _WIDTHS).astype(int))
    answers = [_run(infer, rows.take(np.array([surest])), width) for width in widths]
    padded[surest] = max((padded[surest], *answers), key=lambda answer: comparison.largest(answer, alone[surest]))
    return padded


def neighbours(infer: Infer, golden: Golden, probes: Probes, logits: Logits) -> Neighbours:
    """Run rows beside the neighbour that disturbs most, those of the smallest margins first.

    `logits` [rows, labels], tagger [tokens, labels], are this engine's for the golden rows. What is
    compared with are the same rows in the same batches, beside one of themselves. Ends where
    margins are so large that nothing flips any more, or where more than the limits allow could have
    flipped.
    """
    fragile = comparison.by_margin(golden, logits)
    fragile = fragile[: max(_MOST_BESIDE, len(fragile) // _MOST_SHARE)]
    tried = golden.ids.take(fragile[:_TRIED_ON])
    candidates = _candidates(golden, probes)
    own = _beside_itself(infer, tried)
    effects = {name: comparison.largest(_beside(infer, tried, row), own) for name, row in candidates.items()}
    worst = max(effects, key=lambda name: effects[name])
    rows, clean, alone, beside = 0, 0, [], []
    while rows < len(fragile) and clean < _CLEAN:
        part = golden.take(fragile[rows : rows + _BESIDE])
        alone.append(_beside_itself(infer, part.ids)[part.compared])
        beside.append(_beside(infer, part.ids, candidates[worst])[part.compared])
        flipped = (alone[-1].argmax(axis=1) != beside[-1].argmax(axis=1)).any()
        rows, clean = rows + len(part.ids), 0 if flipped else clean + 1
    return comparison.neighbours(worst, np.concatenate(alone), np.concatenate(beside))


def spread_rows(ids: Ragged) -> Numbers:
    """Return the numbers of a few rows, of every length from the shortest to the longest."""
    rows = int(np.clip(len(ids) // 64, *_INVARIANCE_ROWS))
    by_length = np.argsort(ids.lengths, kind="stable")
    chosen: Numbers = by_length[np.linspace(0, len(by_length) - 1, min(rows, len(by_length))).astype(int)]
    return chosen


def _run(infer: Infer, rows: Ragged, length: int | None = None) -> Logits:
    feed = rows.padded(length)
    return unpadded(infer(feed), feed)


def _beside(infer: Infer, rows: Ragged, neighbour: Ragged) -> Logits:
    """Return the logits of rows in one batch with a neighbour, without the neighbour's."""
    both = Ragged.of(
        [*(rows[row] for row in range(len(rows))), neighbour.ids],
        [*(rows.types[rows.offsets[row] : rows.offsets[row + 1]] for row in range(len(rows))), neighbour.types],
    )
    answers = _run(infer, both)
    return answers[: len(rows) if len(answers) == len(both) else len(rows.ids)]


def _beside_itself(infer: Infer, rows: Ragged) -> Logits:
    return _beside(infer, rows, rows.take(np.array([0])))


def _candidates(golden: Golden, probes: Probes) -> dict[str, Ragged]:
    """Return neighbours of unusual activations: odd texts, rare pieces, the extreme golden rows."""
    texts = _some(np.arange(len(probes.texts)), _TRIED // 2)
    pieces = _some(np.arange(len(probes.texts), len(probes.ids)), _TRIED // 2)
    named = {f"the text {_shown(probes.texts[row])}": probes.ids.take(np.array([row])) for row in texts}
    named |= {f"the probe row {row}": probes.ids.take(np.array([row])) for row in pieces}
    lengths = golden.ids.lengths
    for name, row in (("the shortest golden row", lengths.argmin()), ("the longest golden row", lengths.argmax())):
        named[name] = golden.ids.take(np.array([row]))
    return named


def _some(rows: Numbers, count: int) -> list[int]:
    """Return `count` of the rows, evenly spread, or all if there are fewer."""
    return list(dict.fromkeys(rows[np.linspace(0, len(rows) - 1, count).astype(int)].tolist())) if len(rows) else []


def _shown(text: Any) -> str:
    return ascii(text if isinstance(text, str) else text[0])[:40]
