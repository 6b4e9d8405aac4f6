"""The figures of a full benchmark: every model is in them, and no more than a page can hold."""

from __future__ import annotations

import pytest

from serving.benchmark_record import BenchmarkRecord
from serving.cost_plots import stages_figure
from serving.load_plots import latency_figure
from tests.serving import reported


@pytest.fixture
def full() -> BenchmarkRecord:
    ways = [("http", "network"), ("grpc", "network"), ("grpc", "system_shared_memory")]
    rows = [
        reported.row(subject, protocol, clients, transport=transport, id=f"{subject}/{protocol}/{transport}/own/{clients}")
        for subject in reported.SPEEDS
        for protocol, transport in ways
        for clients in (1, 16, 64)
    ]
    return reported.record(rows=rows, comparisons=[])


def test_the_published_model_has_a_line_for_every_way_and_the_others_for_grpc(full: BenchmarkRecord) -> None:
    names = [line.name for line in latency_figure(full).data]
    others = [f"{subject}, gRPC" for subject in reported.SPEEDS if subject != "text_classifier"]
    assert names == ["text_classifier, HTTP", "text_classifier, gRPC", "text_classifier, gRPC, shared memory", *others]


def test_every_model_has_a_latency_breakdown_and_the_published_one_at_both_ends(full: BenchmarkRecord) -> None:
    bars = stages_figure(full).data[0].y
    assert {bar.partition("<")[0] for bar in bars} == set(reported.SPEEDS)
    assert len(bars) == 3 * 2 + 2
