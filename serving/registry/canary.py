"""A canary: a new version beside the served one, tried for its answers and for its latency.

The first version, which is active at once, is tried for its answers alone. Of two versions both are
asked the same questions in turn, p99 against p99. Times of a shared machine are no results, so the
two are compared only with each other: a ratio, and an interval drawn from the pairs (bootstrap). A
version is refused when even the interval's lower end is above the limit; a noisy machine refuses
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import served_parity
from serving.registry import regression
from serving.registry.registry import Compiled, Registry
from serving.registry.regression import Comparison, GoldenSet
from serving.registry.rollout import RunningServer, loaded_canary
from serving.served_parity import AskedModel, ServedCheck
from serving.server import triton
from slipway import errors
from slipway.client.client import Client
from slipway.client.transport import PROTOCOLS
from slipway.contract.bundle import Golden, Reference
from slipway.contract.parity import judgement
from slipway.contract.records import TEXT_MODEL
from slipway.contract.variants import VARIANTS, Variant
from slipway.errors import ParityError, PublishingError

_UNCOUNTED = 5  # first questions to each way: connections are made, buffers grow
_OVER_HTTP = 128  # golden rows of a canary
_FIRST_PAIRS = 100  # all pairs where these do not show that the limit is held
_DRAWS = 2000  # of the bootstrap
_CONFIDENCE = 0.95  # one-sided, at both ends
_AUDITED = ("rows", "flips", "accuracy", "accuracy_loss_bound")  # of a check's figures

Ask = Callable[[int], NDArray[np.float32]]  # number of a golden row → its logits
Seconds = NDArray[np.float64]  # [pairs]


class UndecidedError(ParityError):
    """The golden rows are too few to show whether a served model answers as its reference."""

    exit_code = errors.NOT_DECIDED


@dataclass(frozen=True)
class LatencyComparison:
    """The latency of two versions on the same questions; pairs of numbers are (old, new)."""

    pairs: int
    p99_ms: tuple[float, float]
    median_ms: tuple[float, float]
    ratio: float  # of the p99s, new ÷ old
    interval: tuple[float, float]  # of the ratio
    limit: float  # that the ratio has to hold
    passed: bool
    other_answers: int  # questions that the two answered differently


@dataclass(frozen=True)
class Canary:
    """A version that may be promoted, and what its answers are compared with."""

    registry: Registry
    version: int
    reference: Reference
    variants: dict[str, str]  # model → the variant behind it
    served: list[str]  # the active version's models
    sets: list[GoldenSet]  # the golden rows on which it must not be worse than the served version


@dataclass(frozen=True)
class CanaryResult:
    """One model's parity over each protocol, its latency and answers beside the served version's.

    No `latency`: the served version does not have the model. `compared` is of text_classifier
    alone.
    """

    model: str
    checks: list[ServedCheck]
    latency: LatencyComparison | None
    compared: list[Comparison]

    def to_json(self) -> dict[str, Any]:
        """Return the audit's entry, with counts instead of the wrong answers."""
        compared = [comparison.to_json(len(self.compared)) for comparison in self.compared]
        parity = [audit_entry(check) for check in self.checks]
        latency = asdict(self.latency) if self.latency else None
        return {"model": self.model, "parity": parity, "latency": latency, "compared": compared}


def audit_entry(check: ServedCheck) -> dict[str, Any]:
    """Return what the audit holds of a check: counts instead of the wrong answers."""
    figures = {name: getattr(check.measured, name) for name in _AUDITED}
    wrong = len(check.wrong_answers)
    return {"model": check.model, "protocol": check.protocol, "passed": check.passed, **figures, "wrong_answers": wrong}


def try_alone(compiled: Compiled, reference: Reference) -> list[ServedCheck]:
    """Check all models of a compiled repository over both protocols, on a server of their own.

    Raises ServerError where it does not start.
    """
    with triton.running(compiled.directory) as server:
        return [
            served_parity.check(server.address(protocol), protocol, AskedModel(model, variant, model), reference)
            for model, variant in compiled.origin.variants.items()
            for protocol in PROTOCOLS
        ]


def run_canary(
    server: RunningServer, canary: Canary, model: str, pairs: int, limit: float, done: Callable[[int], object]
) -> CanaryResult:
    """Check one model of a version on the server: its answers, and its p99 against `limit`.

    `pairs`: questions to both versions; `limit`: times the served version's p99. `done` is told how
    many questions were asked. Raises as loaded_canary, and ServerError.
    """
    with loaded_canary(server, canary.registry, model, canary.version) as name:
        asked = AskedModel(model, canary.variants[model], served_as=name)
        checks = []
        for protocol in PROTOCOLS:
            checks.append(_check(server.address(protocol), protocol, asked, canary.reference))
            done(checks[-1].measured.rows)
        compared = (
            regression.ask(server.own_address("grpc"), canary.sets, model, (canary.version, name)) if model == TEXT_MODEL else []
        )
        done(sum(2 * rows.total.rows for rows in compared))
        latency = _latency(server, canary, asked, pairs, limit) if model in canary.served else None
        done(2 * latency.pairs if latency else 0)
        return CanaryResult(model, checks, latency, compared)


def questions(canary: Canary, model: str, pairs: int) -> int:
    """Return about how many questions run_canary asks of a model, if none leaves a doubt."""
    rows, variant = len(canary.reference.golden.texts), VARIANTS[canary.variants[model]]
    answers = sum(min(rows, _deciding(protocol, variant)) for protocol in PROTOCOLS)
    compared = sum(2 * len(regression.first_rows(each.golden)) for each in canary.sets) if model == TEXT_MODEL else 0
    return answers + compared + (2 * min(pairs, _FIRST_PAIRS) if model in canary.served else 0)


def _deciding(protocol: str, variant: Variant) -> int:
    """Return how many golden rows are asked at first: over gRPC half as many again as a right model
    usually takes to pass.

    HTTP reaches the same model by another way, of which a fault is none of a few rows.
    """
    return judgement.usual_rows(variant.limits) * 3 // 2 if protocol == "grpc" else _OVER_HTTP


def _check(address: str, protocol: str, asked: AskedModel, reference: Reference) -> ServedCheck:
    """Ask for as many golden rows as decide; for all, where they do not."""
    golden = reference.golden
    first = regression.sample(golden, _deciding(protocol, VARIANTS[asked.variant]))
    check = served_parity.check(address, protocol, asked, replace(reference, golden=regression.take(golden, first)))
    if protocol == "http":
        return replace(check, failures=[failure for failure in check.failures if failure.shown])
    if check.verdict != judgement.UNDECIDED or len(first) == len(golden.ids):
        return check
    return served_parity.check(address, protocol, asked, reference)


def publish_again(run: object, registry: Registry) -> str:
    """Return the commands that convert, compile, check and publish a run again."""
    stages = [errors.command(stage, run) for stage in ("export", "build", "verify")]
    return " && ".join([*stages, registry.command("publish", run)])


def refuse_other_answers(checks: Sequence[ServedCheck], registry: Registry, fix: str) -> None:
    """Raise ParityError for the first model whose answers are not its reference's, or else
    UndecidedError for the first of which the golden rows are too few to say.
    """
    for check in sorted(checks, key=lambda check: check.verdict != judgement.WORSE):
        if check.verdict == judgement.UNDECIDED:
            raise UndecidedError(
                f"too few golden rows to decide on {check.model} over {check.protocol}",
                expected="golden rows that show its parity within the limits of its variant",
                found="; ".join(map(str, check.failures)),
                where=str(registry.repository),
                fix=f"import or train with more golden rows (--unlabelled FILE adds texts without labels); then {fix}",
            )
        if not check.passed:
            raise ParityError(
                f"{check.model} over {check.protocol} does not give its reference's answers",
                expected="parity within the limits of its variant, and every other output to go with it",
                found="; ".join([*map(str, check.failures), *check.wrong_answers][:3]),
                where=str(registry.repository),
                fix=fix,
            )


def refuse_failed(results: list[CanaryResult], active: int, registry: Registry) -> None:
    """Raise ParityError for the first model with other answers, PublishingError for the slowest.

    The slowest of those beyond the limit: a busy machine can put another model a little above it,
    too, and that would be the wrong one to name.
    """
    fix = f"version {active} stays; publish a run that holds both: {publish_again('RUN', registry)}"
    refuse_other_answers([check for result in results for check in result.checks], registry, fix)
    slow = [(result.latency, result.model) for result in results if result.latency and not result.latency.passed]
    if slow:
        latency, slowest = max(slow, key=lambda pair: pair[0].interval[0])
        raise PublishingError(
            f"{slowest} is slower than version {active}",
            expected=f"p99 at most {latency.limit:g} times that of version {active}",
            found=f"{latency.ratio:.2f} times, at least {latency.interval[0]:.2f} (95 %, {latency.pairs} pairs)",
            where=str(registry.repository),
            fix=fix,
        )


def _latency(server: RunningServer, canary: Canary, asked: AskedModel, pairs: int, limit: float) -> LatencyComparison:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(f"{protocol}://{server.own_address(protocol)}")) for protocol in PROTOCOLS]
        old_ways, new_ways = (
            [_ask(connected, asked.name, name, canary) for connected in clients] for name in (asked.name, asked.served_as)
        )
        rows, first = len(canary.reference.golden.texts), min(pairs, _FIRST_PAIRS)
        old, new, others = measure_pairs(old_ways, new_ways, rows, first)
        compared = compare_latency(old, new, others, limit)
        if first == pairs or compared.interval[1] <= limit:
            return compared
        more = measure_pairs(old_ways, new_ways, rows, pairs - first, first)
    return compare_latency(np.append(old, more[0]), np.append(new, more[1]), others + more[2], limit)


def _ask(connected: Client, model: str, served_as: str, canary: Canary) -> Ask:
    golden, task = canary.reference.golden, canary.reference.bundle.task
    if model != TEXT_MODEL:
        return partial(_logits_of_ids, connected, served_as, golden, task == "text_pair")
    ask_text: Callable[..., Any] = connected.tag if task == "tagging" else connected.classify
    return lambda row: np.asarray(ask_text([golden.texts[row]], model=served_as)[0].logits, np.float32)


def _logits_of_ids(connected: Client, served_as: str, golden: Golden, pairs: bool, row: int) -> NDArray[np.float32]:
    feed = golden.ids.take(np.array([row])).padded()
    return connected.logits(served_as, feed["input_word_ids"], feed["input_type_ids"] if pairs else None)


def measure_pairs(old: list[Ask], new: list[Ask], rows: int, pairs: int, first_row: int = 0) -> tuple[Seconds, Seconds, int]:
    """Return the seconds of each question to the old and the new version, and the other answers.

    `old` and `new` have one way to ask for each protocol; they take turns, and so do the versions
    in being asked first. The questions are the golden rows from `first_row` on.
    """
    seconds = np.zeros((2, pairs))
    other_answers = 0
    for number in range(-_UNCOUNTED * len(old), pairs):
        way, row = number % len(old), (first_row + number) % rows
        asks = (old[way], new[way])
        answers = [np.empty(0, np.float32)] * 2
        for version in (0, 1) if number // len(old) % 2 else (1, 0):
            started = time.perf_counter()
            answers[version] = asks[version](row)
            if number >= 0:
                seconds[version, number] = time.perf_counter() - started
        other_answers += number >= 0 and not np.array_equal(answers[0].argmax(axis=-1), answers[1].argmax(axis=-1))
    return seconds[0], seconds[1], other_answers


def compare_latency(old: Seconds, new: Seconds, other_answers: int, limit: float) -> LatencyComparison:
    """Compare the p99s; passed: the new one is not for certain above `limit` times the old one."""
    drawn = np.random.default_rng(0).integers(len(old), size=(_DRAWS, len(old)))
    low, high = np.quantile(_p99(new[drawn]) / _p99(old[drawn]), [1 - _CONFIDENCE, _CONFIDENCE])
    return LatencyComparison(
        pairs=len(old),
        p99_ms=(_milliseconds(_p99(old)), _milliseconds(_p99(new))),
        median_ms=(_milliseconds(np.median(old)), _milliseconds(np.median(new))),
        ratio=float(_p99(new) / _p99(old)),
        interval=(float(low), float(high)),
        limit=limit,
        passed=bool(low <= limit),
        other_answers=other_answers,
    )


def _p99(seconds: Seconds) -> Any:
    return np.quantile(seconds, 0.99, axis=-1)


def _milliseconds(seconds: Any) -> float:
    return round(1000 * float(seconds), 3)
