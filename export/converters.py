"""The runtimes by their names in `slipway.contract.variants`, and the variants that can be
repaired.
"""

from __future__ import annotations

from export.runtime import onnxruntime, tensorrt, tftrt
from export.runtime.interface import Runtime

RUNTIMES: dict[str, Runtime] = {"onnxruntime": onnxruntime, "tensorrt": tensorrt, "tf-trt": tftrt}
REPAIRABLE = {"onnx_fp16"}  # converted once more, with the changed answers known, when the gate refuses them
