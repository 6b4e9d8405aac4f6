"""The plots of a full benchmark: every model is in them, and no more than a page can hold."""

from __future__ import annotations

from typing import Any

import pytest

from serving import cost_plots, load_plots
from tests.serving import reported


@pytest.fixture
def full() -> dict[str, Any]:
    ways = [("http", "network"), ("grpc", "network"), ("grpc", "system_shared_memory")]
    rows = [
        reported.row(subject, protocol, clients, transport=transport, id=f"{subject}/{protocol}/{transport}/own/{clients}")
        for subject in reported.SPEEDS
        for protocol, transport in ways
        for clients in (1, 16, 64)
    ]
    return reported.benchmark(rows=rows, comparisons=[])


def test_of_the_published_model_every_way_is_a_line_and_of_the_others_grpc(full: dict[str, Any]) -> None:
    names = [line.name for line in load_plots.latency(full).data]
    others = [f"{subject}, gRPC" for subject in reported.SPEEDS if subject != "text_classifier"]
    assert names == ["text_classifier, HTTP", "text_classifier, gRPC", "text_classifier, gRPC, shared memory", *others]


def test_where_the_time_goes_is_told_of_every_model_once_and_of_the_published_one_at_both_ends(full: dict[str, Any]) -> None:
    bars = cost_plots.stages(full).data[0].y
    assert {bar.partition("<")[0] for bar in bars} == set(reported.SPEEDS)
    assert len(bars) == 3 * 2 + 2
