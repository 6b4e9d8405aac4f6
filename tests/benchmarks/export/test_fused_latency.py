from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import harness, models
from benchmarks.export import fused_latency, pytorch_peer
from benchmarks.export.fused_latency import FusedLatency
from export.graph import canonical, fused
from slipway import errors


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A tiny fused graph, and the canonical one of the same weights for a peer."""
    bert = models.make("tiny")
    paths = {"ours": tmp_path / "fused.onnx", "canonical": tmp_path / "canonical.onnx"}
    onnx.save(fused.write(bert), paths["ours"])
    onnx.save(canonical.write(bert), paths["canonical"])
    return paths


def test_every_shape_gets_a_ratio_with_an_interval_around_it(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_latency, "_BUDGET", 0.0)
    rows = fused_latency.measure(files, ((1, 4), (2, 8)), rounds=9, threads=1)
    assert [(row.batch, row.tokens, row.rounds) for row in rows] == [(1, 4, 12), (2, 8, 12)]  # two a load
    for row in rows:
        assert row.interval[0] <= row.ratio <= row.interval[1]


def test_a_peer_of_other_weights_is_refused(files: dict[str, Path]) -> None:
    onnx.save(canonical.write(models.make("tiny", seed=1)), files["canonical"])
    with pytest.raises(errors.ParityError, match="answer differently"):
        fused_latency.measure(files, ((1, 4),), rounds=1, threads=1)


def test_the_verdict_is_about_the_strongest_peer() -> None:
    ours, weak, strong = ([np.full(9, seconds)] * 4 for seconds in (0.010, 0.020, 0.008))
    row = fused_latency._row((1, 16), {"ours": ours, "weak": weak, "strong": strong})
    assert (row.strongest_peer, row.ratio, row.verdict) == ("strong", 1.25, "slower")


def test_loads_that_differ_leave_it_open_however_many_rounds_agree() -> None:
    loads, even = [np.full(500, seconds) for seconds in (0.97, 1.03, 0.98, 1.02)], [np.ones(500)] * 4
    assert fused_latency._row((1, 16), {"ours": loads, "even": even}).verdict == "no significant difference"


def test_missing_peers_name_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(errors.ToolError, match="pytorch_peer"):
        fused_latency._peers(tmp_path)


def test_a_random_bert_is_the_same_for_the_same_seed() -> None:
    first, same, other = (models.make("tiny", seed) for seed in (0, 0, 1))
    assert np.array_equal(first.classifier.kernel, same.classifier.kernel)
    assert not np.array_equal(first.classifier.kernel, other.classifier.kernel)


def test_the_peers_kernels_are_out_by_in() -> None:
    named = pytorch_peer.state_dict(models.make("tiny"))
    assert named["bert.encoder.layer.1.intermediate.dense.weight"].shape == (64, 32)
    assert len(named) == 3 + 2 + 2 + 2 + 2 * 16  # tables, first LayerNorm, pooler, classifier, 16 arrays a layer


@pytest.fixture
def record() -> FusedLatency:
    return harness.read(FusedLatency, harness.RECORDS / "fused_latency.json")


def test_the_record_has_every_shape_and_only_whole_peers(record: FusedLatency) -> None:
    assert [(row.batch, row.tokens) for row in record.rows] == list(fused_latency.SHAPES)
    assert all(row.rounds >= 30 for row in record.rows)
    for operators in record.operators.values():
        assert operators.get("Attention", 0) + operators.get("MultiHeadAttention", 0) == 6
        assert (operators["EmbedLayerNormalization"], operators["SkipLayerNormalization"], operators["BiasGelu"]) == (1, 12, 6)


def test_the_record_shows_no_shape_where_the_peer_is_faster(record: FusedLatency) -> None:
    assert not [row for row in record.rows if row.verdict == "slower"]
