"""The figures of a full benchmark: every model is in them, and no more than a page can hold."""

from __future__ import annotations

import pytest

from serving.benchmark.record import BenchmarkRecord
from serving.report.benchmark_figures import latency_figure, stages_figure
from tests.support.serving import benchmark_records


@pytest.fixture
def full() -> BenchmarkRecord:
    ways = [("http", "network"), ("grpc", "network"), ("grpc", "system_shared_memory")]
    rows = [
        benchmark_records.row(subject, protocol, clients, transport=transport, id=f"{subject}/{protocol}/{transport}/own/{clients}")
        for subject in benchmark_records.SPEEDS
        for protocol, transport in ways
        for clients in (1, 16, 64)
    ]
    return benchmark_records.record(rows=rows, comparisons=[])


def test_the_published_model_has_a_line_for_every_way_and_the_others_for_grpc(full: BenchmarkRecord) -> None:
    names = [line.name for line in latency_figure(full).data]
    others = [f"{subject}, gRPC" for subject in benchmark_records.SPEEDS if subject != "text_classifier"]
    assert names == ["text_classifier, HTTP", "text_classifier, gRPC", "text_classifier, gRPC, shared memory", *others]


def test_every_model_has_a_latency_breakdown_and_the_published_one_at_both_ends(full: BenchmarkRecord) -> None:
    bars = stages_figure(full).data[0].y
    assert {bar.partition("<")[0] for bar in bars} == set(benchmark_records.SPEEDS)
    assert len(bars) == 3 * 2 + 2
