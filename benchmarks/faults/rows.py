"""Faults in the golden rows: too few, repeated, of one class, or with labels that show nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults import catalogue, graphs
from benchmarks.faults.catalogue import Fault, sealed_anew
from benchmarks.faults.graphs import FP32, INT8
from slipway.contract import bundle
from slipway.contract.bundle import NOT_ASKED, Golden
from slipway.contract.ragged import Ragged

Rows = NDArray[np.int64]
_FEW = 4


def keep(run: Path, golden: Golden, rows: Rows) -> None:
    """Keep these golden rows alone."""
    write(run, golden.take(rows))


def write(run: Path, golden: Golden) -> None:
    """Write golden rows as new files, and seal the bundle as if it had been made with them."""
    directory = run / "bundle"
    for name in ("golden.jsonl", "golden.npz"):
        (directory / name).unlink()
    bundle.write_golden(directory, golden)
    sealed_anew(directory, bundle.MANIFEST)


def _plant(run: Path, change: Callable[[Golden], Golden]) -> None:
    write(run, change(bundle.load_golden(bundle.load(run / "bundle"))))


def _repeat(golden: Golden) -> Golden:
    return golden.take(np.tile(np.arange(_FEW), 100))


def _first(golden: Golden, rows: int) -> Golden:
    return golden.take(np.arange(rows))


def _of_one_class(golden: Golden) -> Golden:
    return golden.take(np.flatnonzero(golden.labels == golden.labels[0]))


def _without_labels(golden: Golden) -> Golden:
    return replace(golden, labels=np.full_like(golden.labels, NOT_ASKED))


def _few_never_answered(golden: Golden) -> Golden:
    """Leave out the rows that are answered as class 2, and give four others that label."""
    kept = golden.take(np.flatnonzero((golden.logits.argmax(axis=1) != 2) & (golden.labels != 2)))
    labels = kept.labels.copy()
    labels[:_FEW] = 2
    return replace(kept, labels=labels)


def _nan_in_the_reference(golden: Golden) -> Golden:
    logits = golden.logits.copy()
    logits[0] = np.nan
    return replace(golden, logits=logits)


def _ids_of_other_texts(golden: Golden) -> Golden:
    """Give each text the word pieces of the next one."""
    moved = golden.ids.take(np.roll(np.arange(len(golden.ids)), -1))
    return replace(golden, ids=Ragged(moved.ids, moved.types, moved.offsets))


def _judgement(run: Path, variant: str) -> list[str]:
    """Return why a variant did not pass, shown to be worse or not decided."""
    return [*map(str, graphs.judged(run, variant).failures)]


def _unseen(run: Path) -> list[str]:
    """Return the classes that the gate names as those it cannot judge."""
    unseen = graphs.judged(run, FP32).measured.unseen
    return [f"{group.label}: {group.rows} rows have it, {group.answered} are answered so" for group in unseen]


def _exported(run: Path) -> list[str]:
    return catalogue.cli_error("export", run, "--compare-only", "--variant", FP32)


def _of(name: str, change: Callable[[Golden], Golden], caught_by: str, examine: Callable[[Path], list[str]]) -> Fault:
    return Fault(name, "rows", partial(_plant, change=change), examine, caught_by)


_in_fp32, _in_int8 = partial(_judgement, variant=FP32), partial(_judgement, variant=INT8)

FAULTS = (
    _of("four golden rows, each a hundred times", _repeat, "(0 of 4): not decided, about 299 rows would", _in_fp32),
    _of("a hundred golden rows", partial(_first, rows=100), "not decided, about 299 rows would", _in_fp32),
    _of("too few golden rows for INT8", partial(_first, rows=250), "not decided", _in_int8),
    _of("golden rows of one class", _of_one_class, "they all have one label", _exported),
    _of("golden rows without a label", _without_labels, "they all have one label", _exported),
    _of("a class of four rows that is never answered", _few_never_answered, "4 rows have it, 0 are answered so", _unseen),
    _of("a reference that is not finite", _nan_in_the_reference, "logits with NaN or Inf", _in_int8),
    _of("golden texts with the word pieces of others", _ids_of_other_texts, "upper bound on the flip rate", _in_fp32),
)
