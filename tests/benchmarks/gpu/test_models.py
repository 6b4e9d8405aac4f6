"""Which models are measured, and who takes part: written by the export's code, compared by the
gate, or left out with a reason.
"""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.gpu import contenders, models, variants
from benchmarks.gpu.device import Deadline, Device
from benchmarks.models import make
from export.graph import canonical
from export.precision import fp16
from slipway import errors, provenance
from slipway.contract import artifact, bundle, manifest
from slipway.contract.variants import VARIANTS


def refuse(*_: Any, **__: Any) -> Any:
    raise RuntimeError("Memcpy nodes")


def test_ag_news_lengths_are_as_long_as_the_texts() -> None:
    lengths = models.ag_news_lengths(4000)
    assert 50 < lengths.mean() < 55
    assert lengths.max() <= 128
    np.testing.assert_array_equal(lengths, models.ag_news_lengths(4000))


def test_a_bound_run_answers_its_own_batch(tiny: models.GpuModel, device: Device) -> None:
    session = device.open(tiny.files["ort_fp32"])
    feeds = [models.random_rows(tiny.bert, np.array([4, 9]), seed).padded() for seed in (1, 2)]
    runs = [device.bind(session, feed) for feed in feeds]
    for run, feed in zip(runs, feeds, strict=True):
        expected = session.run(None, {node.name: feed[node.name] for node in session.get_inputs()})[0]
        np.testing.assert_array_equal(run.logits(), expected)


def test_answers_outlive_the_run_they_came_from(tiny: models.GpuModel, device: Device) -> None:
    run = device.bind(device.open(tiny.files["ort_fp32"]), models.random_rows(tiny.bert, np.array([4, 9])).padded())
    assert not np.shares_memory(run.logits(), run.logits())


def test_a_run_keeps_the_inputs_that_it_reads(tiny: models.GpuModel, device: Device) -> None:
    """ONNX Runtime's binding does not: it would read a CPU input's freed memory."""
    feed = models.random_rows(tiny.bert, np.array([4, 9])).padded()
    inputs = [weakref.ref(array) for array in feed.values()]
    run = device.bind(device.open(tiny.files["ort_fp32"]), feed)
    del feed
    assert all(array() is not None for array in inputs)
    assert np.isfinite(run.logits()).all()


@pytest.fixture
def run(tiny: models.GpuModel, tmp_path: Path) -> Path:
    """A run's bundle and export, as far as they are measured: the FP16 graph keeps a node in FP32,
    as a repair leaves it.
    """
    canonical_model = canonical.write(tiny.bert)
    graphs = {
        "onnx_fp32": canonical_model,
        "onnx_fp16": fp16.convert(canonical_model, keep=set(fp16.convertible(canonical_model)[-1:])),
    }
    for name, graph in graphs.items():
        directory = tmp_path / "run" / "artifacts" / name
        directory.mkdir(parents=True)
        onnx.save(graph, directory / "model.onnx")
        manifest.seal(directory, artifact.MANIFEST, {"variant": name})
        (directory / artifact.PARITY).write_text("{}")
    source = tmp_path / "run" / "bundle"
    source.mkdir()
    bundle.write_golden(source, tiny.golden)
    bundle.write_probes(source, tiny.probes)
    (source / "labels.txt").write_text("a\nb\nc\nd\n")
    manifest.seal(source, bundle.MANIFEST, {"schema": bundle.SCHEMA, "max_seq_len": 64})
    return tmp_path / "run"


def test_of_a_run_the_graphs_that_were_exported_are_measured(run: Path, device: Device) -> None:
    with models.of_run(run, device) as model:
        shipped = (run / "artifacts" / "onnx_fp16" / "model.onnx").read_bytes()
        assert model.files["onnx_fp16"].read_bytes() == shipped
        assert set(model.files) == {"onnx_fp32", "ort_fp32", "onnx_fp16", "ort_fp16", "ort_fp16_starts"}


def test_a_runs_answers_pass_the_gate_and_its_own_verdicts_stay(run: Path, device: Device) -> None:
    with models.of_run(run, device) as model:
        verdicts = models.parity(model)
    assert [verdict.variant for verdict in verdicts if verdict.passed] == ["ort_fp32", "onnx_fp16", "ort_fp16", "ort_fp16_starts"]
    assert (run / "artifacts" / "onnx_fp16" / artifact.PARITY).read_text() == "{}"


def test_a_run_whose_encoder_is_not_ours_is_refused(run: Path, device: Device) -> None:
    directory = run / "artifacts" / "onnx_fp32"
    graph = onnx.load(directory / "model.onnx")
    graph.producer_name = "another"
    onnx.save(graph, directory / "model.onnx")
    manifest.seal(directory, artifact.MANIFEST, {"variant": "onnx_fp32"})
    (directory / artifact.MANIFEST).write_text(_without_verdict(directory))
    with pytest.raises(errors.ConversionError, match="not recognised"), models.of_run(run, device):
        pass


def _without_verdict(directory: Path) -> str:
    facts = json.loads((directory / artifact.MANIFEST).read_text())
    del facts["files"][artifact.PARITY]
    return json.dumps(facts)


def test_a_variant_with_a_damaged_weight_fails_the_gate(tiny: models.GpuModel, tmp_path: Path) -> None:
    graph = onnx.load(tiny.files["ort_fp16"])
    kernel = next(tensor for tensor in graph.graph.initializer if tensor.name == "logits.kernel")
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel)[:, ::-1], kernel.name))
    onnx.save(graph, tmp_path / "model.onnx")
    (damaged,) = models.parity(replace(tiny, files={"ort_fp16": tmp_path / "model.onnx"}))
    assert not damaged.passed
    assert "upper bound on the flip rate" in {failure.what for failure in damaged.failures}


def test_the_gpus_variants_are_judged_by_the_fp16_limits() -> None:
    assert {variant.limits.flip_rate for variant in variants.LAYOUTS} == {0.005}


def test_a_large_graph_is_converted_to_fp16_once_for_all_variants() -> None:
    with mock.patch.object(fp16, "bert", wraps=fp16.bert) as halved, mock.patch.object(canonical, "write") as canonical_model:
        graphs = models._graphs(make("tiny"))
        written = [graphs[variant]() for variant in (models.REFERENCE, *variants.LAYOUTS)]
    assert len(written) == 4
    assert (halved.call_count, canonical_model.call_count) == (1, 1)


def test_a_graph_that_cannot_be_opened_is_skipped_with_the_runtimes_words(tiny: models.GpuModel, device: Device) -> None:
    refusing = mock.Mock(wraps=device)
    refusing.open = lambda path: refuse() if "ort_fp32" in str(path) else device.open(path)
    skipped: dict[str, str] = {}
    opened = contenders.variants(tiny, refusing, skipped)
    assert [contender.name for contender in opened] == ["onnx_fp16", "ort_fp16", "ort_fp16_starts"]
    assert skipped == {"ort_fp32": "RuntimeError: Memcpy nodes"}


def test_a_graph_that_cannot_be_captured_is_skipped_with_the_runtimes_words(tiny: models.GpuModel) -> None:
    skipped: dict[str, str] = {}
    assert contenders.captured(tiny, mock.Mock(kind="cuda", open=refuse), skipped) == ([], [])
    assert skipped == dict.fromkeys(models.CAPTURED, "RuntimeError: Memcpy nodes")


def test_captured_graphs_take_part_when_their_answers_pass(tiny: models.GpuModel, device: Device) -> None:
    """A GPU's stand-in, whose CUDA graph of the second mask replays an old answer."""

    def opened(path: Path, cuda_graph: bool) -> Any:
        return device.open(path), cuda_graph and "starts" in str(path)

    def bind(given: Any, feed: Any, cuda_graph: bool) -> Any:
        session, stale = given
        return mock.Mock(logits=lambda: device.bind(session, feed).logits() * (-1 if stale else 1))

    skipped: dict[str, str] = {}
    agreeing, verdicts = contenders.captured(tiny, mock.Mock(kind="cuda", open=opened, bind=bind), skipped)
    assert [contender.name for contender in agreeing] == ["ort_fp16 + CUDA graph"]
    assert [verdict.passed for verdict in verdicts] == [True, False]
    assert "answers otherwise" in skipped["ort_fp16_starts + CUDA graph"]


def test_without_pytorch_both_peers_are_skipped(tiny: models.GpuModel, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    skipped: dict[str, str] = {}
    assert contenders.peers(tiny, device, Deadline(1000), skipped) == ([], [])
    assert set(skipped) == {models.PEER, models.COMPILED}


def test_pytorchs_answers_are_ours_and_compiling_waits_for_time(tiny: models.GpuModel, device: Device) -> None:
    pytest.importorskip("torch", reason="no PyTorch: it is no part of Slipway; see requirements/gpu.txt")
    skipped: dict[str, str] = {}
    agreeing, verdicts = contenders.peers(tiny, device, Deadline(5), skipped)
    assert [contender.name for contender in agreeing] == [models.PEER]
    assert verdicts[0].passed
    assert "s are left" in skipped[models.COMPILED]


def test_the_gate_records_the_package_it_ran(tiny: models.GpuModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine where onnxruntime-gpu is all there is."""
    installed = provenance._distributions()
    monkeypatch.setattr(provenance, "_distributions", lambda: {**installed, "onnxruntime": ["onnxruntime-gpu"]})
    monkeypatch.setattr(provenance.importlib.metadata, "version", lambda name: f"{name} 1.2.3")
    built, _ = models.compared(tiny, VARIANTS["ort_fp32"])
    record = json.loads((built.directory / artifact.PARITY).read_text("utf-8"))
    assert record["versions"]["onnxruntime-gpu"] == "onnxruntime-gpu 1.2.3"
