"""The runtimes: what one is to the export, and which there are.

A new one, say OpenVINO, is a file export/runtime/openvino.py with these four functions, its line in
RUNTIMES, and its variants' rows in `slipway.contract.variants`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from export.runtime import onnxruntime, tensorrt, tftrt
from export.runtime.conversion import Conversion, Converted
from export.session import Session
from slipway.contract.artifact import Artifact
from slipway.contract.parity.comparison import Precision


class Runtime(Protocol):
    def missing(self) -> str:
        """Return "" when this machine can make and run its variants, else what is not there."""

    def convert(self, conversion: Conversion, /) -> Converted:
        """Write `conversion.target`. Raises ConversionError."""

    def open(self, artifact: Artifact, /) -> AbstractContextManager[Session]:
        """Load the artifact. Raises ConversionError when it is unsafe, or was built elsewhere."""

    def proof(self, artifact: Artifact, /) -> Precision:
        """Read out of the artifact's file what it really computes in."""


RUNTIMES: dict[str, Runtime] = {"onnxruntime": onnxruntime, "tensorrt": tensorrt, "tf-trt": tftrt}
REPAIRABLE = {"ort_int8", "onnx_fp16"}  # converted once more, with the changed answers known, when the gate refuses them
