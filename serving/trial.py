"""A published version on trial: its golden rows through HTTP and gRPC beside the version that is served, and p99 against p99."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import client, live_server, paired_latency, replay
from serving.client import Client
from serving.live_server import Live
from serving.paired_latency import Ask
from serving.publication import Place
from serving.records import TEXT_MODEL
from serving.replay import Model
from train.bundle import Bundle, Golden
from train.errors import ParityError, PublishingError

Trial = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    place: Place
    version: int
    source: Bundle
    golden: Golden
    variants: dict[str, str]  # model → the variant behind it


def run(live: Live, candidate: Candidate, model: str, pairs: int, limit: float) -> Trial:
    """One model's checks (as replay.check) and latency (as paired_latency.compare, which says what `limit` is).

    Raises as live_server.beside, and ServerError.
    """
    golden = candidate.golden
    with live_server.beside(live, candidate.place, model, candidate.version) as name:
        new = Model(model, candidate.variants[model], served_as=name)
        checks = [replay.check(live.address(protocol), protocol, new, candidate.source, golden) for protocol in client.PROTOCOLS]
        return {"model": model, "checks": checks, "latency": _latency(live, candidate, new, pairs, limit)}


def _latency(live: Live, candidate: Candidate, new: Model, pairs: int, limit: float) -> dict[str, Any]:
    with ExitStack() as stack:
        connections = [stack.enter_context(client.connect(live.address(one), one)) for one in client.PROTOCOLS]
        old_ways = [_ask(one, new.name, new.name, candidate) for one in connections]
        new_ways = [_ask(one, new.name, new.served_as, candidate) for one in connections]
        old_seconds, new_seconds, others = paired_latency.measure(old_ways, new_ways, len(candidate.golden.texts), pairs)
    return {**paired_latency.compare(old_seconds, new_seconds, limit), "other_answers": others}


def _ask(connection: Client, model: str, served_as: str, candidate: Candidate) -> Ask:
    golden, task = candidate.golden, candidate.source.task
    if model != TEXT_MODEL:
        return partial(_logits_of_ids, connection, served_as, golden, task == "text_pair")
    of_text: Callable[..., Any] = connection.tag if task == "tagging" else connection.classify
    return lambda row: np.asarray(of_text([golden.texts[row]], model=served_as)[0].logits, np.float32)


def _logits_of_ids(connection: Client, served_as: str, golden: Golden, pairs: bool, row: int) -> NDArray[np.float32]:
    feed = golden.ids.take(np.array([row])).padded()
    return connection.logits(served_as, feed["input_word_ids"], feed["input_type_ids"] if pairs else None)


def summary(trials: list[Trial]) -> list[dict[str, Any]]:
    """What the audit keeps of them."""
    kept = ("protocol", "passed", "rows", "flips", "accuracy", "accuracy_loss_bound")
    return [
        {
            "model": one["model"],
            "parity": [
                {**{name: check[name] for name in kept}, "wrong_answers": len(check["wrong_answers"])} for check in one["checks"]
            ],
            "latency": one["latency"],
        }
        for one in trials
    ]


def refuse(trials: list[Trial], active: int, where: str) -> None:
    """Raises ParityError for the first model whose answers are not its reference's, PublishingError for the slowest if too slow.

    The slowest: a busy machine can put another model a little above it, too, and that would be the wrong one to name.
    """
    kept = f"version {active} stays; publish a run that holds both: make export repository verify publish RUN=runs/<name>"
    for one in trials:
        for check in one["checks"]:
            if not check["passed"]:
                raise ParityError(
                    f"{check['model']} over {check['protocol']} does not give its reference's answers",
                    expected="parity within the limits of its variant, and every label and token count as expected",
                    found="; ".join([*map(_said, check["failures"]), *check["wrong_answers"]][:3]),
                    where=where,
                    fix=kept,
                )
    late = [one for one in trials if not one["latency"]["passed"]]
    if late:
        worst = max(late, key=lambda one: one["latency"]["interval"][0])
        latency = worst["latency"]
        raise PublishingError(
            f"{worst['model']} is slower than version {active}",
            expected=f"p99 at most {latency['limit']:g} times that of version {active}",
            found=f"{latency['ratio']:.2f} times, at least {latency['interval'][0]:.2f} (95 %, {latency['pairs']} pairs)",
            where=where,
            fix=kept,
        )


def _said(failure: dict[str, Any]) -> str:
    return f"{failure['what']} is {failure['would_pass']:.4g}, limit {failure['limit']:.4g}"
