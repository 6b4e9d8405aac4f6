"""benchmarks.gpu.serving on the CPU: a real Triton and a real perf_analyzer, a tiny model of random
weights.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from benchmarks.gpu import models, serving, variants
from benchmarks.gpu.device import Device
from serving import model_config
from serving.load.perf_analyzer import Load, LoadResult
from serving.server import triton
from slipway import errors
from slipway.contract import manifest
from slipway.contract.bundle import Bundle
from slipway.contract.records import TEXT_MODEL

WORDS = [f"word{number}" for number in range(100)]
TEXTS = ["word1 word2 word3", "word4", " ".join(WORDS), "word9 word8"] * 20


def with_vocabulary(model: models.GpuModel) -> models.GpuModel:
    """The model with a tokenizer's files, so that texts can be put to it."""
    directory = model.reference.directory
    (directory / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]) + "\n", "utf-8")
    files = {"vocab.txt": manifest.sha256(directory / "vocab.txt")}
    facts = model.reference.facts | {"task": "single_text", "lower_case": True, "files": files}
    return replace(model, reference=Bundle(directory, model.reference.sha256, facts))


def run(model: models.GpuModel, provider: str, directory: Path) -> dict[str, Any]:
    """The record of the whole command, of this model."""

    @contextmanager
    def given(*_: Any) -> Iterator[models.GpuModel]:
        yield model

    path = directory / "serving.json"
    (directory / "texts.txt").write_text("\n".join([*TEXTS, "", "  "]), "utf-8")
    command = ["serving", "--provider", provider, "--run", "runs/tiny", "--record", str(path)]
    command += ["--texts", str(directory / "texts.txt"), "--concurrency", "4", "--rounds", "1", "--window-ms", "400"]
    with mock.patch.object(models, "of_run", given), mock.patch.object(sys, "argv", command):
        assert serving.main() == 0
    written: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return written


@pytest.fixture(scope="module")
def model(device: Device) -> Iterator[models.GpuModel]:
    with models.random("tiny", device, rows=1) as tiny:
        yield with_vocabulary(tiny)


@pytest.fixture(scope="module")
def record(model: models.GpuModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(model, "cpu", tmp_path_factory.mktemp("gpu"))


def test_what_was_served_stands_beside_the_engines_limit(record: dict[str, Any]) -> None:
    assert [(row["protocol"], row["concurrency"], row["status"]) for row in record["rows"]] == [
        ("http", 4, "ok"),
        ("grpc", 4, "ok"),
    ]
    assert all(row["throughput"] > 0 and row["errors"] == 0 for row in record["rows"])
    assert record["limit"]["texts_per_second"] > record["limit"]["texts_per_second_with_all_parts"] > 0
    assert record["variant"] == "ort_fp16"  # on a CPU; the unpadded one has no kernel there


def test_every_part_of_a_text_is_shown_apart(record: dict[str, Any]) -> None:
    assert list(record["limit"]["shares"]) == ["tokenizing", "padding", "transfer", "engine"]
    assert sum(record["limit"]["shares"].values()) == pytest.approx(1)


def test_the_server_answers_as_the_engine_in_this_process(record: dict[str, Any]) -> None:
    assert record["served_difference"] < 1e-3
    assert record["texts"] == len(TEXTS)  # blank lines are no texts


def test_the_limits_logits_are_in_the_order_of_the_texts(model: models.GpuModel, device: Device) -> None:
    _, logits = serving.engine_alone(model, variants.FUSED, device, TEXTS[:8], batch=3)
    _, alone = serving.engine_alone(model, variants.FUSED, device, TEXTS[2:3], batch=3)
    np.testing.assert_allclose(logits[2], alone[0], atol=1e-4)
    np.testing.assert_allclose(logits[6], alone[0], atol=1e-4)


def test_the_repository_says_provider_batch_and_that_padding_is_free(model: models.GpuModel, tmp_path: Path) -> None:
    gpu = mock.Mock(provider="CUDAExecutionProvider")
    packed = replace(model, files={"packed_fp16": model.files["ort_fp16"]})  # any file: it is not loaded here
    with mock.patch.object(models, "compared", _passing):
        repository = serving._repository(tmp_path / "repository", packed, variants.PACKED, gpu, max_batch=256)
    version = repository / TEXT_MODEL / "1"
    settings = json.loads((version / "settings.json").read_text("utf-8"))
    assert settings["provider"] == "CUDAExecutionProvider"
    assert settings["cost"] == {"fixed": 0.001, "per_token": 0.0}
    assert model_config.read((version.parent / "config.pbtxt").read_text("utf-8")).max_batch_size == 256


def _passing(model: models.GpuModel, variant: Any) -> Any:
    """A comparison that passed, its record beside the model file as the gate leaves it."""
    built, verdict = models_compared(replace(model, files={"ort_fp16": model.files[variant.name]}), variants.FUSED)
    path = built.directory / "parity.json"
    record = json.loads(path.read_text("utf-8")) | {"variant": variant.name, "cost": {"fixed": 0.001, "per_token": 1e-4}}
    manifest.write_json(path, record)
    return replace(built, variant=variant), verdict


models_compared = models.compared


def test_a_variant_that_fails_the_gate_is_not_served(model: models.GpuModel) -> None:
    refused = mock.Mock(passed=False, failures=["flips"], compared_on="CUDA")
    with (
        mock.patch.object(models, "compared", return_value=(None, refused)),
        pytest.raises(errors.ParityError, match=r"not served(.|\n)*flips"),
    ):
        serving._passed(model, variants.PACKED)


def test_a_server_that_answers_otherwise_is_no_result() -> None:
    connection = mock.MagicMock()
    connection.__enter__.return_value.classify.return_value = [mock.Mock(logits=(1.0, -1.0))]
    with mock.patch("slipway.client.client.Client", return_value=connection):
        assert serving._difference("address", ["text"], np.array([[1.0, -1.0]])) == 0
        with pytest.raises(errors.ParityError, match="answers differ"):
            serving._difference("address", ["text"], np.array([[-1.0, 1.0]]))


def test_a_failed_load_is_a_row_that_says_so() -> None:
    load = Load(TEXT_MODEL, "grpc", "address", 8, 100)
    good, bad = LoadResult("run", np.array([1.0, 3.0]), 10.0, 0, ""), LoadResult("run", np.zeros(0), 0.0, 0, "exit status 99")
    assert serving._row(load, [good, good]).p50_ms == 2.0
    failed = serving._row(load, [good, bad])
    assert (failed.status, failed.failures) == ("FAILED", ["exit status 99"])


def test_every_load_is_measured_in_every_round(capsys: Any) -> None:
    loads: list[tuple[str, int]] = []
    arguments = mock.Mock(concurrency=[1, 8], rounds=2, window_ms=100)
    server = mock.Mock(spec=triton.Server, http="h", grpc="g")
    with mock.patch("serving.load.perf_analyzer.run", lambda load, _: loads.append((load.protocol, load.concurrency))):
        serving._sweep(server, Path("texts.json"), arguments)
    once = [("http", 1), ("http", 8), ("grpc", 1), ("grpc", 8)]
    assert loads == once * 2
    assert "round 2 of 2" in capsys.readouterr().out


def test_without_a_client_or_a_tokenizer_the_gpu_tests_are_collected_all_the_same() -> None:
    """Of requirements/gpu.txt those two are for serving alone; TensorFlow is no part of it."""
    files = sorted(path.stem for path in (Path(__file__).parents[2] / "gpu").glob("test_*.py"))
    lines = ["import importlib, sys", "sys.modules |= dict.fromkeys(('tritonclient', 'tokenizers', 'tensorflow'))"]
    lines += [f"importlib.import_module('tests.gpu.{name}')" for name in files]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=Path(__file__).parents[3], capture_output=True, check=False)
    assert len(files) >= 4
    assert done.returncode == 0, done.stderr.decode()


def test_a_trial_on_a_cpu_never_takes_the_records_place(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["serving", "--provider", "cpu", "--run", "runs/tiny"])
    with pytest.raises(SystemExit):
        serving.main()
    assert "--record" in capsys.readouterr().err
