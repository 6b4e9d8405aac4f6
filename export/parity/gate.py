"""The parity gate: an artifact's answers on every golden row, measured, judged and recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from export.parity import diagnosis
from export.runtimes import RUNTIMES
from export.session import Session
from slipway import errors, provenance
from slipway.contract import artifact, comparison, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.comparison import Failure, Invariance, Logits, Measured, Numbers
from slipway.contract.ragged import Feed, Ragged, infer_rows, unpadded
from slipway.contract.variants import Variant
from slipway.errors import ParityError, SlipwayError

_BATCH = 32
# Least and most; between them a 64th of the rows, so that large models are not kept waiting.
_INVARIANCE_ROWS = (16, 64)
# Timed for the cost model: (rows, tokens as a share of the longest sequence).
_COST_SHAPES = ((1, 1 / 8), (1, 1 / 2), (4, 1 / 8), (4, 1 / 2), (8, 1))
_LEAST_REPEATS, _MOST_REPEATS = 2, 5
_ENOUGH = 0.3  # seconds spent on a shape, after which the least repeats do: large models are timed well by few
_LEAST_PER_TOKEN = 1e-9  # seconds; a cost model that calls tokens free would never cut


@dataclass(frozen=True)
class ParityRecord:
    """The gate's verdict on one artifact, and everything it rests on: what parity.json holds."""

    artifact: Artifact
    bundle_sha256: str
    failures: list[Failure]
    diagnosis: list[str]  # sentences for a person
    measured: Measured
    seconds: float
    compared_on: str

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def as_meant(self) -> bool:
        """Whether it was compared on a processor that the variant is meant for."""
        variant = self.artifact.variant
        return variant.runtime != "onnxruntime" or self.compared_on in variant.providers

    def to_json(self) -> dict[str, Any]:
        return {
            "variant": self.artifact.variant.name,
            "artifact_sha256": self.artifact.sha256,
            "bundle_sha256": self.bundle_sha256,
            "passed": self.passed,
            "failures": [asdict(failure) for failure in self.failures],
            "diagnosis": self.diagnosis,
            "limits": asdict(self.artifact.variant.limits),
            "texts_per_second": self.measured.texts / self.measured.engine_seconds,
            "seconds": self.seconds,
            "compared_on": self.compared_on,
            "as_meant": self.as_meant,
            **self.measured.to_json(),
            **provenance.record("onnxruntime", "numpy", "scipy"),
        }


def check(candidate: Artifact, reference: Bundle, golden: Golden, say: Callable[[str], None] = lambda _: None) -> ParityRecord:
    """Measure, judge and write parity.json; `say` is told how far it is.

    Raises ParityError when there are too few rows.
    """
    check_rows(candidate.variant, reference, golden)
    (candidate.directory / artifact.PARITY).unlink(missing_ok=True)  # an earlier verdict must not outlive a check that dies
    started = time.monotonic()
    with ExitStack() as stack:
        session = _opened(candidate, stack)
        logits, measured = _measure(candidate, session, golden, reference, say)
        failures = comparison.judge_artifact(measured, candidate.variant)
        sentences = _diagnosis(session, golden, logits, measured, candidate, reference) if failures else []
    seconds = time.monotonic() - started
    record = ParityRecord(candidate, reference.sha256, failures, sentences, measured, seconds, session.provider)
    manifest.write_json(candidate.directory / artifact.PARITY, record.to_json())
    return record


class _Unopened:
    """Stands in for an engine that could not be loaded: a verdict is written all the same."""

    provider = "nothing: it could not be loaded"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def infer(self, _: Feed) -> Logits:
        raise self._error


def _opened(candidate: Artifact, stack: ExitStack) -> Session:
    try:
        return stack.enter_context(RUNTIMES[candidate.variant.runtime].open(candidate))
    except SlipwayError:  # says what is wrong with the machine or the file, and what to do about it
        raise
    except Exception as error:  # each runtime has its own
        return _Unopened(error)


def check_rows(variant: Variant, reference: Bundle, golden: Golden) -> None:
    """Raise ParityError when there are too few golden rows for the variant ever to pass."""
    least, rows = comparison.least_rows(variant.limits), len(golden.ids)
    if rows < least:
        again = errors.command("train", reference.directory.parent, "--golden-rows", 2000)
        raise ParityError(
            f"too few golden rows to show anything about {variant.name}",
            expected=f"{least} rows: with fewer, even answers that are all equal do not hold its limits at 95 %",
            found=f"{rows} rows",
            where=str(reference.directory / "golden.npz"),
            fix=f"make a bundle with more golden rows: {again}, or import it with a longer --golden file",
        )


def _measure(
    candidate: Artifact, session: Session, golden: Golden, reference: Bundle, say: Callable[[str], None]
) -> tuple[Logits, Measured]:
    """Run all golden rows through the engine; return logits like golden.logits and measurements."""
    logits, seconds, problem = _answers(session, golden, say)
    asked = golden.asked
    compared = comparison.compare(
        golden.logits[asked], logits[asked], golden.labels[asked], golden.lengths[asked], reference.labels
    )
    invariance = cost = precision = None
    if not problem:
        say("invariance, cost, precision")
        try:
            invariance = _invariance(session, golden.ids, reference.max_seq_len)
            cost = fit_cost_model(session.infer, reference.max_seq_len)
            precision = RUNTIMES[candidate.variant.runtime].proof(candidate)
        except Exception as error:  # each runtime has its own
            problem = f"{type(error).__name__}: {error}"
    # Non-finite rows are counted over tokens without a label too: a tagger's [CLS] may be NaN
    # today, its words tomorrow.
    counted = vars(compared) | {"non_finite_rows": int((~np.isfinite(logits).all(axis=1)).sum())}
    return logits, Measured(
        **counted,
        texts=len(golden.texts),
        invariance=invariance,
        cost=cost,
        precision=precision,
        engine_seconds=seconds,
        engine_error=problem,
    )


def _answers(session: Session, golden: Golden, say: Callable[[str], None]) -> tuple[Logits, float, str]:
    """Return logits, the seconds they took, and "" or why there are none.

    Then they are NaN, as a verdict is written either way.
    """
    rows_done = 0

    def done(rows: int) -> None:
        nonlocal rows_done
        rows_done += rows
        say(f"compared {rows_done:,} of {len(golden.ids):,} rows")

    started = time.monotonic()
    try:
        logits = infer_rows(session.infer, golden.ids, _BATCH, done)
        fits = logits.shape == golden.logits.shape
        problem = "" if fits else f"logits of shape {logits.shape}, expected {golden.logits.shape}"
    except Exception as error:  # each runtime has its own
        problem = f"{type(error).__name__}: {error}"
    return logits if not problem else np.full_like(golden.logits, np.nan), time.monotonic() - started, problem


def _invariance(session: Session, ids: Ragged, longest: int) -> Invariance:
    """Run rows of every length alone, among unequal neighbours, and padded to `longest` tokens."""
    rows = ids.take(_spread(ids))

    def run(numbers: Numbers, length: int | None = None) -> Logits:
        feed = rows.take(numbers).padded(length)
        return unpadded(session.infer(feed), feed)

    every = np.arange(len(rows))
    alone = np.concatenate([run(row) for row in every[:, None]])
    mixed = np.random.default_rng(0).permutation(every)
    batched = np.concatenate([run(part) for part in np.array_split(mixed, 4)])
    order = mixed if len(batched) == len(rows) else rows.tokens_of(mixed)
    padded = np.concatenate([run(row, longest) for row in every[:, None]])
    return comparison.invariance(alone, {"in a batch": batched[np.argsort(order)], "padded": padded})


def fit_cost_model(infer: Callable[[Feed], object], max_seq_len: int) -> dict[str, float]:
    """Time a few shapes, the best of some repeats each; fit by least squares of relative errors."""
    shapes = [(rows, max(1, round(share * max_seq_len))) for rows, share in _COST_SHAPES]
    seconds = np.array([_fastest(infer, rows, tokens) for rows, tokens in shapes])
    padded = np.array([rows * tokens for rows, tokens in shapes], float)
    # Divided by the time itself, so that a single short text weighs as much as a full batch.
    design = np.stack([np.ones_like(padded), padded], axis=1) / seconds[:, None]
    fixed, per_token = np.linalg.lstsq(design, np.ones_like(padded), rcond=None)[0]
    return {"fixed": max(float(fixed), 0.0), "per_token": max(float(per_token), _LEAST_PER_TOKEN)}


def _fastest(infer: Callable[[Feed], object], rows: int, tokens: int) -> float:
    feed = Ragged.of([[5] * tokens] * rows).padded()
    infer(feed)  # the first run of a shape allocates
    times: list[float] = []
    while len(times) < _LEAST_REPEATS or (len(times) < _MOST_REPEATS and sum(times) < _ENOUGH):
        started = time.perf_counter()
        infer(feed)
        times.append(time.perf_counter() - started)
    return min(times)


def _diagnosis(
    session: Session, golden: Golden, logits: Logits, measured: Measured, candidate: Artifact, reference: Bundle
) -> list[str]:
    limits, asked = candidate.variant.limits, golden.asked
    answers = golden.logits[asked], logits[asked], golden.lengths[asked]
    sentences = diagnosis.explain(*answers, reference.labels, limits.flip_rate)
    if measured.invariance:
        sentences += diagnosis.dependence(measured.invariance, limits.invariance)
    some = golden.take(_spread(golden.ids))
    return sentences + diagnosis.swapped_inputs(session.infer, some.ids.padded(), some.logits)


def _spread(ids: Ragged) -> Numbers:
    """Return the numbers of a few rows, of every length from the shortest to the longest."""
    rows = int(np.clip(len(ids) // 64, *_INVARIANCE_ROWS))
    by_length = np.argsort(ids.lengths, kind="stable")
    chosen: Numbers = by_length[np.linspace(0, len(by_length) - 1, min(rows, len(by_length))).astype(int)]
    return chosen
