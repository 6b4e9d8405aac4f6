"""The parity gate: an artifact's answers on every golden row, measured, judged, and written down as parity.json."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np

from export import artifact, comparison, cost_model, diagnosis, runner
from export.artifact import Artifact
from export.runner import Session
from export.variants import Variant
from train import bundle, manifest, provenance
from train.bundle import Bundle, Golden
from train.errors import ParityError, SlipwayError
from train.ragged import Feed, Ragged, infer_rows, unpadded

_BATCH = 32
_INVARIANCE_ROWS = (16, 64)  # least, most; between them a 64th of the rows, so that large models are not kept waiting


def check(candidate: Artifact, reference: Bundle, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure, judge, write parity.json, and return what it holds; `say` is told how far it is.

    Raises ParityError when there are too few rows.
    """
    golden = bundle.load_golden(reference)
    check_rows(candidate.variant, reference, golden)
    (candidate.directory / artifact.PARITY).unlink(missing_ok=True)  # an earlier verdict must not outlive a check that dies
    started = time.monotonic()
    with ExitStack() as stack:
        session = _opened(candidate, stack)
        logits, measured = _measure(candidate, session, golden, reference, say)
        failures = comparison.judge_artifact(measured, candidate.variant)
        looks_like = _diagnosis(session, golden, logits, measured, candidate, reference) if failures else []
    record = {
        "variant": candidate.variant.name,
        "artifact_sha256": candidate.sha256,
        "bundle_sha256": reference.sha256,
        "passed": not failures,
        "failures": failures,
        "diagnosis": looks_like,
        "limits": asdict(candidate.variant.limits),
        "texts_per_second": len(golden.texts) / measured["engine_seconds"],
        "seconds": time.monotonic() - started,
        "compared_on": session.provider,
        "as_meant": candidate.variant.runtime != "onnxruntime" or session.provider in candidate.variant.providers,
        **measured,
        **provenance.record("onnxruntime", "numpy", "scipy"),
    }
    manifest.write_json(candidate.directory / artifact.PARITY, record)
    return record


class _Unopened:
    """Stands in for an engine that could not be loaded: a verdict is written all the same."""

    provider = "nothing: it could not be loaded"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def infer(self, _: Feed) -> comparison.Logits:
        raise self._error


def _opened(candidate: Artifact, stack: ExitStack) -> Session:
    try:
        return stack.enter_context(runner.open_artifact(candidate))
    except SlipwayError:  # says what is wrong with the machine or the file, and what to do about it
        raise
    except Exception as error:  # each runtime has its own
        return _Unopened(error)


def check_rows(variant: Variant, reference: Bundle, golden: Golden) -> None:
    """Raises ParityError when there are too few golden rows for the variant to pass, whatever it answers."""
    least, found = comparison.least_rows(variant.limits), len(golden.ids)
    if found < least:
        raise ParityError(
            f"too few golden rows to show anything about {variant.name}",
            expected=f"{least} rows: with fewer, even answers that are all equal do not hold its limits at 95 %",
            found=f"{found} rows",
            where=str(reference.directory / "golden.npz"),
            fix="make a bundle with more golden rows: make train GOLDEN_ROWS=2000, or a longer GOLDEN file",
        )


def _measure(
    candidate: Artifact, session: Session, golden: Golden, reference: Bundle, say: Callable[[str], None]
) -> tuple[comparison.Logits, dict[str, Any]]:
    """All golden rows through the engine: logits like golden.logits, and what is measured of them."""
    logits, seconds, problem = _answers(session, golden, say)
    asked = golden.asked
    measured = comparison.compare(
        golden.logits[asked], logits[asked], golden.labels[asked], golden.lengths[asked], reference.labels
    )
    # Also of tokens that have no label: a tagger's [CLS] may be NaN and its words not, today.
    measured |= {"non_finite_rows": int((~np.isfinite(logits).all(axis=1)).sum()), "texts": len(golden.texts)}
    more: dict[str, Any] = {}
    if not problem:
        say("invariance, cost, precision")
        try:
            more["invariance"] = _invariance(session, golden.ids, reference.max_seq_len)
            more["cost"] = cost_model.fit(session.infer, reference.max_seq_len)
            more["precision"] = runner.prove(candidate)
        except Exception as error:  # each runtime has its own
            problem = f"{type(error).__name__}: {error}"
    return logits, measured | more | {"engine_seconds": seconds, "engine_error": problem}


def _answers(session: Session, golden: Golden, say: Callable[[str], None]) -> tuple[comparison.Logits, float, str]:
    """Logits, the seconds it took, and "" or why there are none: then NaN, as a verdict is written either way."""
    rows_done = 0

    def done(rows: int) -> None:
        nonlocal rows_done
        rows_done += rows
        say(f"compared {rows_done:,} of {len(golden.ids):,} rows")

    started = time.monotonic()
    try:
        logits = infer_rows(session.infer, golden.ids, _BATCH, done)
        problem = "" if logits.shape == golden.logits.shape else f"logits of shape {logits.shape}, expected {golden.logits.shape}"
    except Exception as error:  # each runtime has its own
        problem = f"{type(error).__name__}: {error}"
    return logits if not problem else np.full_like(golden.logits, np.nan), time.monotonic() - started, problem


def _invariance(session: Session, ids: Ragged, longest: int) -> dict[str, Any]:
    """Rows of every length, each alone, in batches of unequal neighbours, and padded to `longest` tokens."""
    rows = ids.take(_spread(ids))

    def run(numbers: comparison.Numbers, length: int | None = None) -> comparison.Logits:
        feed = rows.take(numbers).padded(length)
        return unpadded(session.infer(feed), feed)

    every = np.arange(len(rows))
    alone = np.concatenate([run(one) for one in every[:, None]])
    mixed = np.random.default_rng(0).permutation(every)
    batched = np.concatenate([run(part) for part in np.array_split(mixed, 4)])
    order = mixed if len(batched) == len(rows) else rows.tokens_of(mixed)
    padded = np.concatenate([run(one, longest) for one in every[:, None]])
    return comparison.invariance(alone, {"in a batch": batched[np.argsort(order)], "padded": padded})


def _diagnosis(
    session: Session, golden: Golden, logits: comparison.Logits, measured: dict[str, Any], candidate: Artifact, reference: Bundle
) -> list[str]:
    limits, asked = candidate.variant.limits, golden.asked
    said = diagnosis.explain(golden.logits[asked], logits[asked], golden.lengths[asked], reference.labels, limits.flip_rate)
    if "invariance" in measured:
        said += diagnosis.dependence(measured["invariance"], limits.invariance)
    some = golden.take(_spread(golden.ids))
    return said + diagnosis.swapped_inputs(session.infer, some.ids.padded(), some.logits)


def _spread(ids: Ragged) -> comparison.Numbers:
    """Numbers of a few rows, of every length from the shortest to the longest."""
    rows = int(np.clip(len(ids) // 64, *_INVARIANCE_ROWS))
    by_length = np.argsort(ids.lengths, kind="stable")
    chosen: comparison.Numbers = by_length[np.linspace(0, len(by_length) - 1, min(rows, len(by_length))).astype(int)]
    return chosen
