"""The parity gate: an artifact's answers on every golden row, measured, judged and recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from export.parity import diagnosis, other_ways
from export.runtimes import RUNTIMES
from export.session import Session
from slipway import provenance
from slipway.contract import artifact, manifest
from slipway.contract.artifact import Artifact, StartUp
from slipway.contract.bundle import Golden, Probes, Reference
from slipway.contract.parity import comparison, judgement
from slipway.contract.parity.comparison import Measured, ProbeComparison
from slipway.contract.parity.judgement import Failure
from slipway.contract.parity.probabilities import Logits
from slipway.contract.ragged import Feed, Ragged, infer_rows, random_batches, unpadded
from slipway.contract.records import MAX_BATCH
from slipway.errors import SlipwayError

# Timed for the cost model: (rows, tokens as a share of the longest sequence).
_COST_SHAPES = ((1, 1 / 8), (1, 1 / 2), (4, 1 / 8), (4, 1 / 2), (8, 1))
_LEAST_REPEATS, _MOST_REPEATS = 2, 5
_ENOUGH = 0.3  # seconds spent on a shape, after which the least repeats do: large models are timed well by few
_LEAST_PER_TOKEN = 1e-9  # seconds; a cost model that calls tokens free would never cut
_START_UP_ROWS, _START_UP_TEXTS = 3, 5  # of golden rows, and of probe texts: each takes a load's time


@dataclass(frozen=True)
class ParityRecord:
    """The gate's verdict on one artifact, and everything it rests on: what parity.json holds."""

    artifact: Artifact
    bundle_sha256: str
    failures: list[Failure]
    diagnosis: list[str]  # sentences for a person
    measured: Measured
    start_up: list[StartUp]
    seconds: float
    compared_on: str

    @property
    def verdict(self) -> str:
        """Passed, worse, or not decided, as `judgement` names them."""
        return judgement.verdict(self.failures)

    @property
    def passed(self) -> bool:
        return self.verdict == judgement.PASSED

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
            "verdict": self.verdict,
            "failures": [asdict(failure) for failure in self.failures],
            "diagnosis": self.diagnosis,
            "limits": asdict(self.artifact.variant.limits),
            "texts_per_second": self.measured.texts / self.measured.engine_seconds,
            "seconds": self.seconds,
            "compared_on": self.compared_on,
            "as_meant": self.as_meant,
            **self.measured.to_json(),
            "start_up": [asdict(row) for row in self.start_up],
            **provenance.record("onnxruntime", "numpy", "scipy"),
        }


def check(candidate: Artifact, reference: Reference, say: Callable[[str], None] = lambda _: None) -> ParityRecord:
    """Measure, judge and write parity.json; `say` is told how far it is."""
    (candidate.directory / artifact.PARITY).unlink(missing_ok=True)  # an earlier verdict must not outlive a check that dies
    started = time.monotonic()
    with ExitStack() as stack:
        session = _opened(candidate, stack)
        logits, measured = _measure(candidate, session, reference, say)
        failures = judgement.judge_artifact(measured, candidate.variant)
        sentences = _diagnosis(session, logits, measured, candidate, reference) if failures else []
        start_up = _start_up(session, reference) if not measured.engine_error else []
    seconds = time.monotonic() - started
    record = ParityRecord(candidate, reference.bundle.sha256, failures, sentences, measured, start_up, seconds, session.provider)
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


def _measure(candidate: Artifact, session: Session, reference: Reference, say: Callable[[str], None]) -> tuple[Logits, Measured]:
    """Run all golden rows through the engine; return logits like golden.logits and measurements."""
    golden = reference.golden
    logits, seconds, problem = _answers(session, golden, say)
    answers = comparison.compare_golden(golden, logits, reference.bundle.labels)
    # Non-finite rows are counted over tokens without a label too: a tagger's [CLS] may be NaN
    # today, its words tomorrow.
    counted = vars(answers) | {"non_finite_rows": int((~np.isfinite(logits).all(axis=1)).sum())}
    more: dict[str, Any] = {}
    if not problem:
        try:
            more = _more(candidate, session, reference, logits, answers.logit_spread, say)
        except Exception as error:  # each runtime has its own
            problem = f"{type(error).__name__}: {error}"
    return logits, Measured(
        **counted,
        **more,
        texts=len(golden.texts),
        tokens=int(golden.ids.lengths.sum()),
        engine_seconds=seconds,
        engine_error=problem,
    )


def _more(
    candidate: Artifact, session: Session, reference: Reference, logits: Logits, spread: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure what the golden rows' answers do not show, by the names of Measured's fields."""
    golden, longest = reference.golden, reference.bundle.max_seq_len
    say("probe rows")
    probed = _probes(session, reference.probes)
    say("repetition, invariance, neighbours, cost, precision")
    compared, sizes = golden.compared, np.zeros(len(golden.ids), np.int64)
    for batch in random_batches(golden.ids.lengths, MAX_BATCH):
        sizes[batch] = len(batch)
    return {
        "by_batch": comparison.by_batch(golden.logits[compared], logits[compared], sizes[golden.text_of][compared]),
        "probes": probed,
        "repeat": other_ways.repeated(session.infer, golden),
        "invariance": other_ways.invariance(session.infer, golden, longest, spread),
        "neighbours": other_ways.neighbours(session.infer, golden, reference.probes, logits),
        "cost": fit_cost_model(session.infer, longest),
        "precision": RUNTIMES[candidate.variant.runtime].proof(candidate),
    }


def _probes(session: Session, probes: Probes) -> ProbeComparison:
    """Run the probe rows in batches of every size up to the largest."""
    sizes = random_batches(probes.ids.lengths, MAX_BATCH)
    return comparison.compare_probes(probes.logits, infer_rows(session.infer, probes.ids, sizes))


def _answers(session: Session, golden: Golden, say: Callable[[str], None]) -> tuple[Logits, float, str]:
    """Return logits, the seconds they took, and "" or why there are none.

    Then they are NaN, as a verdict is written either way. Batches are of random sizes: a fault may
    be of one size.
    """
    rows_done = 0

    def done(rows: int) -> None:
        nonlocal rows_done
        rows_done += rows
        say(f"compared {rows_done:,} of {len(golden.ids):,} rows")

    started = time.monotonic()
    try:
        logits = infer_rows(session.infer, golden.ids, random_batches(golden.ids.lengths, MAX_BATCH), done)
        fits = logits.shape == golden.logits.shape
        problem = "" if fits else f"logits of shape {logits.shape}, expected {golden.logits.shape}"
    except Exception as error:  # each runtime has its own
        problem = f"{type(error).__name__}: {error}"
    return logits if not problem else np.full_like(golden.logits, np.nan), time.monotonic() - started, problem


def _start_up(session: Session, reference: Reference) -> list[StartUp]:
    """Run a few rows alone: of every length, texts of other scripts, and a row of word pieces."""
    golden, probes = reference.golden, reference.probes
    by_length = np.argsort(golden.ids.lengths, kind="stable")
    of_golden = by_length[np.linspace(0, len(by_length) - 1, _START_UP_ROWS).astype(int)]
    of_probes = np.linspace(0, len(probes.texts) - 1, min(_START_UP_TEXTS, len(probes.texts))).astype(int)
    rows = [(golden.texts[row], golden.ids.take(np.array([row]))) for row in dict.fromkeys(of_golden.tolist())]
    rows += [(probes.texts[row], probes.ids.take(np.array([row]))) for row in dict.fromkeys(of_probes.tolist())]
    rows.append((None, probes.ids.take(np.array([len(probes.ids) - 1]))))
    return [_answered(session, text, row) for text, row in rows]


def _answered(session: Session, text: Any, row: Ragged) -> StartUp:
    feed = row.padded()
    logits = unpadded(session.infer(feed), feed)
    # JSON has no NaN; a version whose rows are not finite never passed.
    return StartUp(text, row.ids.tolist(), row.types.tolist(), np.nan_to_num(logits.astype(float)).tolist())


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


def _diagnosis(session: Session, logits: Logits, measured: Measured, candidate: Artifact, reference: Reference) -> list[str]:
    golden, limits, compared = reference.golden, candidate.variant.limits, reference.golden.compared
    if random := diagnosis.random(measured.repeat or 0.0, judgement.MOST_REPEAT * measured.logit_spread):
        return random
    answers = golden.logits[compared], logits[compared], golden.lengths[compared]
    sentences = diagnosis.explain(*answers, reference.bundle.labels, limits.flip_rate)
    if measured.invariance:
        sentences += diagnosis.dependence(measured.invariance, limits.invariance)
    some = golden.take(other_ways.spread_rows(golden.ids))
    return sentences + diagnosis.swapped_inputs(session.infer, some.ids.padded(), some.logits)
