from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from export.graph import canonical
from export.precision import fp16, fp16_repair
from export.runtime import onnxruntime
from export.runtime.conversion import Conversion
from slipway.contract.bundle import Golden
from slipway.contract.ragged import Ragged
from slipway.contract.variants import VARIANTS
from slipway.errors import ConversionError
from tests.export.graph.test_graphs import tiny_bert


def test_a_repair_that_leaves_most_of_fp16_in_fp32_is_no_fp16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnx_fp32").mkdir()
    (tmp_path / "building").mkdir()
    onnx.save(canonical.write(tiny_bert()), tmp_path / "onnx_fp32/model.onnx")
    rows = Ragged.of([[2, 5, 3], [2, 7, 3]])
    golden = Golden(["", ""], rows, np.array([0, 1]), np.eye(2, dtype=np.float32))
    bundle: Any = SimpleNamespace()
    every = frozenset(fp16.convertible(onnx.load(tmp_path / "onnx_fp32/model.onnx")))
    monkeypatch.setattr(fp16_repair, "smallest_set", lambda *_: every)
    conversion = Conversion(VARIANTS["onnx_fp16"], bundle, golden, tmp_path, tmp_path / "building", np.array([0]))
    with pytest.raises(ConversionError, match="too many nodes in FP32"):
        onnxruntime.convert(conversion)
