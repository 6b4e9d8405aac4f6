from __future__ import annotations

from dataclasses import asdict

import pytest

from serving.load import latency_breakdown

# Sums over 10 requests, in s and tokens.
COUNTED = {
    "requests": 10.0,
    "total": 1.0,
    "queue": 0.2,
    "tokenizing": 0.05,
    "engine": 0.5,
    "model": 0.6,
    "tokens": 900.0,
    "padding": 100.0,
}


def test_the_stages_of_a_request_add_up_to_its_latency() -> None:
    breakdown = latency_breakdown.mean([COUNTED, COUNTED], latency_ms=110, client_ms=3)
    assert breakdown is not None
    assert asdict(breakdown) == pytest.approx(
        {
            "client_ms": 3,
            "network_ms": 7,
            "queue_ms": 20,
            "tokenizing_ms": 5,
            "engine_ms": 45,
            "padding_ms": 5,
            "postprocessing_ms": 5,
            "other_ms": 20,
        }
    )
    assert sum(asdict(breakdown).values()) == pytest.approx(110)


def test_a_model_that_does_not_tell_has_no_latency_breakdown() -> None:
    silent = {name: COUNTED[name] for name in ("requests", "total", "queue")}
    assert latency_breakdown.mean([silent], latency_ms=110, client_ms=3) is None
    assert latency_breakdown.waste([silent]) is None


def test_an_ids_model_tokenizes_nothing() -> None:
    counted = {name: value for name, value in COUNTED.items() if name != "tokenizing"}
    breakdown = latency_breakdown.mean([counted], latency_ms=110, client_ms=3)
    assert breakdown is not None
    assert (breakdown.tokenizing_ms, breakdown.postprocessing_ms) == pytest.approx((0, 10))
