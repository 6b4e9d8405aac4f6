"""What the acceptance suite runs on: a small model, converted once per precision. Tests skip with
the exact thing missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.gpu import models
from benchmarks.gpu.device import Device
from export.graph import canonical
from export.graph.bert import Array, Bert, Dense, Layer, Norm
from export.parity import gate
from export.precision import fp16
from export.runtime import tensorrt as tensorrt_runtime
from export.runtime import tensorrt_profiles, tftrt
from export.runtime.tensorrt_profiles import Profile
from export.session import open_onnx
from slipway.contract import bundle
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle
from slipway.contract.ragged import Feed, Logits, Ragged
from slipway.contract.variants import VARIANTS
from slipway.errors import ToolError

HIDDEN, TOKENS, BATCH = 256, 64, 32  # tokens: the model's positions; the largest batch: the gate's
ROWS = 400  # compared by the gate, which asks for 299
PRECISIONS = ("fp32", "fp16")


def bert() -> Bert:
    """Two layers of random weights, in sizes that TensorRT has matrix kernels for: heads of 64."""
    random = np.random.default_rng(0)

    def array(*shape: int) -> Array:
        return random.normal(0, 0.5, shape).astype(np.float32)

    def dense(inputs: int, outputs: int) -> Dense:
        return Dense(array(inputs, outputs) / np.float32(np.sqrt(inputs)), array(outputs))

    def norm() -> Norm:
        return Norm(np.float32(1) + array(HIDDEN), array(HIDDEN))

    def layer() -> Layer:
        query, key, value, output = (dense(HIDDEN, HIDDEN) for _ in range(4))
        return Layer(query, key, value, output, norm(), dense(HIDDEN, 4 * HIDDEN), dense(4 * HIDDEN, HIDDEN), norm())

    return Bert(
        word_embeddings=array(100, HIDDEN),
        position_embeddings=array(TOKENS, HIDDEN),
        type_embeddings=array(2, HIDDEN),
        embeddings_norm=norm(),
        layers=(layer(), layer()),
        pooler=dense(HIDDEN, HIDDEN),
        classifier=dense(HIDDEN, 3),
        heads=HIDDEN // 64,
        epsilon=1e-12,
        gelu="exact",
    )


@pytest.fixture(scope="session")
def device() -> Device:
    try:
        return Device("cuda")
    except ToolError as error:
        pytest.skip(f"ONNX Runtime on CUDA: {error.found}")


@pytest.fixture(scope="session")
def tensorrt() -> None:
    if missing := tensorrt_runtime.missing():
        pytest.skip(f"TensorRT: {missing}")


@pytest.fixture(scope="session")
def tensorflow_tensorrt() -> None:
    if missing := tftrt.missing():
        pytest.skip(f"TF-TRT: {missing}")


@pytest.fixture(scope="session")
def profiles() -> list[Profile]:
    """One range for short texts and one for long ones, so that switching between profiles is
    tested.
    """
    return tensorrt_profiles.plan_profiles(np.array([4] * 60 + [60] * 40), TOKENS, BATCH)


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/small/artifacts, with the graphs that engines are built from: onnx_fp32.onnx,
    onnx_fp16.onnx.
    """
    directory = tmp_path_factory.mktemp("runs") / "small" / "artifacts"
    directory.mkdir(parents=True)
    model = canonical.write(bert())
    onnx.save(model, directory / "onnx_fp32.onnx")
    onnx.save(fp16.convert(model), directory / "onnx_fp16.onnx")
    return directory


@pytest.fixture(scope="session")
def golden(artifacts: Path) -> Bundle:
    """Random texts of every length, with the FP32 graph's answers on the CPU."""
    ids = models.random_rows(bert(), np.random.default_rng(0).integers(1, TOKENS + 1, ROWS))
    (artifacts.parent / "bundle").mkdir()
    with open_onnx(artifacts / "onnx_fp32.onnx", threads=1) as session:
        return models.reference(session.infer, ids, TOKENS, artifacts.parent / "bundle").bundle


def judged(directory: Path, variant: str, golden: Bundle, **facts: Any) -> tuple[bool, str]:
    """The gate's verdict on the model in `directory`, labelled as this variant, and what it found;
    `facts`: of its manifest.
    """
    candidate = Artifact(directory, VARIANTS[variant], "not sealed", {"files": {}, **facts})
    reference = bundle.load_reference(golden)
    record = gate.check(candidate, reference)
    return record.passed, "; ".join(failure.what for failure in record.failures)


@pytest.fixture(scope="session")
def engines(tensorrt: None, artifacts: Path, profiles: list[Profile]) -> dict[str, Path]:
    """Precision → its engine, built on this machine."""
    result = {}
    cache = tensorrt_profiles.timing_cache(artifacts, tensorrt_runtime.fingerprint())
    for precision in PRECISIONS:
        result[precision] = artifacts / f"tensorrt_{precision}" / "model.plan"
        result[precision].parent.mkdir()
        tensorrt_runtime.build(artifacts / f"onnx_{precision}.onnx", result[precision], profiles, cache)
    return result


def feed(*lengths: int) -> Feed:
    """Texts of these lengths in one padded batch."""
    return Ragged.of([np.arange(1, length + 1, dtype=np.int32) for length in lengths]).padded()


def reference(artifacts: Path, batch: Feed) -> Logits:
    """ONNX Runtime's answers, on the CPU, from the FP32 graph."""
    with open_onnx(artifacts / "onnx_fp32.onnx", threads=1) as session:
        return session.infer(batch)
