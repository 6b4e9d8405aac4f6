"""A peer: PyTriton with its dynamic batcher of up to 64 texts, and ONNX Runtime.

    .tools/peers/bin/python -m benchmarks.peers.serve_pytriton \\
        --bundle runs/agnews/bundle --onnx runs/agnews/artifacts/ort_fp32/model.onnx --port 9100
"""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
from pytriton.decorators import batch  # type: ignore[import-not-found, unused-ignore]
from pytriton.model_config import ModelConfig, Tensor  # type: ignore[import-not-found, unused-ignore]
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found, unused-ignore]

from benchmarks.peers import classifier

MODEL = "classifier"
_MAX_BATCH = 64  # the larger of the two sizes tried for text_classifier
_LOOPBACK = "127.0.0.1"


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or its Triton, memory and directory would be left behind
    arguments = classifier.parser(__doc__.split("\n")[0]).parse_args()
    classify = classifier.load(arguments.bundle, "onnxruntime", arguments.onnx)

    @batch  # type: ignore[untyped-decorator, unused-ignore]
    def infer(text: Any) -> dict[str, Any]:
        """Answer `text`, bytes [batch, 1]."""
        classified = classify([encoded.decode() for encoded in text[:, 0]])
        return {
            "label": np.array([[label.encode()] for label in classified.labels]),
            "probability": classified.probabilities[:, None],
            "logits": classified.logits,
        }

    server = TritonConfig(http_address=_LOOPBACK, http_port=arguments.port, allow_grpc=False, allow_metrics=False)
    outputs = [
        Tensor(name=name, dtype=dtype, shape=shape)
        for name, dtype, shape in (("label", bytes, (1,)), ("probability", np.float32, (1,)), ("logits", np.float32, (-1,)))
    ]
    with Triton(config=server) as triton:
        triton.bind(
            MODEL, infer, [Tensor(name="text", dtype=bytes, shape=(1,))], outputs, config=ModelConfig(max_batch_size=_MAX_BATCH)
        )
        triton.serve()


if __name__ == "__main__":
    main()
