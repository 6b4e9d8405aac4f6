"""A canary: a published version beside the served one, before clients are switched to it.

Its golden rows go through HTTP and gRPC, and its p99 is compared with the served version's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.comparison import Failure
from serving import client, replay
from serving.client import Client
from serving.live_server import RunningServer, loaded_canary
from serving.paired_latency import Ask, LatencyComparison, compare_latency, measure_pairs
from serving.publication import Registry
from serving.records import TEXT_MODEL
from serving.replay import AskedModel, Check
from train import errors
from train.bundle import Bundle, Golden
from train.errors import ParityError, PublishingError


@dataclass(frozen=True)
class Canary:
    """A version that may be promoted, and what its answers are compared with."""

    registry: Registry
    version: int
    source: Bundle
    golden: Golden
    variants: dict[str, str]  # model → the variant behind it


@dataclass(frozen=True)
class CanaryResult:
    """One model's parity over each protocol, and its latency beside the served version's."""

    model: str
    checks: list[Check]
    latency: LatencyComparison

    def to_json(self) -> dict[str, Any]:
        """Return the audit's entry, with counts instead of the wrong answers."""
        kept = ("protocol", "passed", "rows", "flips", "accuracy", "accuracy_loss_bound")
        parity = [{**{name: check[name] for name in kept}, "wrong_answers": len(check["wrong_answers"])} for check in self.checks]
        return {"model": self.model, "parity": parity, "latency": asdict(self.latency)}


def run_canary(server: RunningServer, canary: Canary, model: str, pairs: int, limit: float) -> CanaryResult:
    """Check one model of a version on the server: its answers, and its p99 against `limit`.

    `pairs`: questions to both versions; `limit`: times the served version's p99. Raises as
    loaded_canary, and ServerError.
    """
    with loaded_canary(server, canary.registry, model, canary.version) as name:
        candidate = AskedModel(model, canary.variants[model], served_as=name)
        checks = [
            replay.check(server.address(protocol), protocol, candidate, canary.source, canary.golden)
            for protocol in client.PROTOCOLS
        ]
        return CanaryResult(model, checks, _latency(server, canary, candidate, pairs, limit))


def _latency(server: RunningServer, canary: Canary, candidate: AskedModel, pairs: int, limit: float) -> LatencyComparison:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(f"{protocol}://{server.address(protocol)}")) for protocol in client.PROTOCOLS]
        old_ways = [_ask(connected, candidate.name, candidate.name, canary) for connected in clients]
        new_ways = [_ask(connected, candidate.name, candidate.served_as, canary) for connected in clients]
        old, new, other_answers = measure_pairs(old_ways, new_ways, len(canary.golden.texts), pairs)
    return compare_latency(old, new, other_answers, limit)


def _ask(connected: Client, model: str, served_as: str, canary: Canary) -> Ask:
    golden, task = canary.golden, canary.source.task
    if model != TEXT_MODEL:
        return partial(_logits_of_ids, connected, served_as, golden, task == "text_pair")
    ask_text: Callable[..., Any] = connected.tag if task == "tagging" else connected.classify
    return lambda row: np.asarray(ask_text([golden.texts[row]], model=served_as)[0].logits, np.float32)


def _logits_of_ids(connected: Client, served_as: str, golden: Golden, pairs: bool, row: int) -> NDArray[np.float32]:
    feed = golden.ids.take(np.array([row])).padded()
    return connected.logits(served_as, feed["input_word_ids"], feed["input_type_ids"] if pairs else None)


def refuse_failed(results: list[CanaryResult], active: int, where: str) -> None:
    """Raise ParityError for the first model with other answers, PublishingError for the slowest.

    The slowest of those beyond the limit: a busy machine can put another model a little above it,
    too, and that would be the wrong one to name.
    """
    stages = " && ".join(errors.command(stage, "RUN") for stage in ("export", "build", "verify", "publish"))
    fix = f"version {active} stays; publish a run that holds both: {stages}"
    for check in (check for result in results for check in result.checks):
        if not check["passed"]:
            failures = [str(Failure(**failure)) for failure in check["failures"]]
            raise ParityError(
                f"{check['model']} over {check['protocol']} does not give its reference's answers",
                expected="parity within the limits of its variant, and every label and token count as expected",
                found="; ".join([*failures, *check["wrong_answers"]][:3]),
                where=where,
                fix=fix,
            )
    slow = [result for result in results if not result.latency.passed]
    if slow:
        slowest = max(slow, key=lambda result: result.latency.interval[0])
        latency = slowest.latency
        raise PublishingError(
            f"{slowest.model} is slower than version {active}",
            expected=f"p99 at most {latency.limit:g} times that of version {active}",
            found=f"{latency.ratio:.2f} times, at least {latency.interval[0]:.2f} (95 %, {latency.pairs} pairs)",
            where=where,
            fix=fix,
        )
