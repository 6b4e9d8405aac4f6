"""Acceptance of the embedded Triton with its text path on CUDA: `make test-gpu`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu import models
from benchmarks.gpu.device import Device
from benchmarks.gpu.models import PACKED
from slipway import tools

pytestmark = pytest.mark.gpu
NEEDED = (tools.TRITON_SERVER, tools.TRITON_BACKENDS, tools.PERF_ANALYZER, tools.PERF_ANALYZER_LIBRARIES)


def test_texts_are_served_unpadded_and_answered_as_by_the_engine_alone(device: Device, tmp_path: Path) -> None:
    missing = [str(path) for path in NEEDED if not path.exists()]
    if missing:
        pytest.skip(f"the embedded Triton: no {', '.join(missing)}; `make setup`, then requirements/gpu.txt")
    for module in ("tritonclient", "tokenizers"):
        pytest.importorskip(module, reason=f"the embedded Triton: no module {module}; requirements/gpu.txt has it")
    from tests.benchmarks.gpu.test_serving import run, with_vocabulary  # here, or without those no GPU test would be collected

    with models.random("tiny", device, rows=models.ROWS) as model:
        record = run(with_vocabulary(model), "cuda", tmp_path)
    assert record["variant"] == PACKED
    assert record["device"]["provider"] == device.provider
    assert [row["status"] for row in record["rows"]] == ["ok", "ok"]
    assert set(record["limit"]["shares"]) == {"tokenizing", "padding", "transfer", "engine"}
