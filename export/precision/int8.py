"""ort_fp32 → ort_int8: dynamic quantization that does not saturate on CPUs without VNNI.

There, u8 × s8 products are added in pairs into 16 bits (AVX2 vpmaddubsw) and overflow with 8-bit
weights. Unsigned weights avoid that instruction: u8 × u8 is widened before it is added. One scale
and zero point per output channel.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import onnx


def convert(source: Path, target: Path) -> str:
    """Write the quantized graph, embedding tables too: a quarter of the memory. Return how."""
    return quantize(onnx.load(source), target)


def quantize(model: onnx.ModelProto, target: Path, keep: Iterable[str] = ()) -> str:
    """Write the quantized graph, with the nodes named in `keep` as they are; return how."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # brings sympy: 3 s of each command that does without

    logging.getLogger().setLevel(logging.ERROR)  # the quantizer warns once a call that it was not preprocessed
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        # The quantizer writes model-inferred.onnx beside its input and leaves it when it fails: not
        # into an artifact.
        beside, quantized = Path(scratch) / "source.onnx", Path(scratch) / "model.onnx"
        onnx.save(model, beside)
        quantize_dynamic(
            beside,
            quantized,
            weight_type=QuantType.QUInt8,
            per_channel=True,
            # It makes a MatMul of a Gemm, with this ending, before it asks what to leave out.
            nodes_to_exclude=[name for node in keep for name in (node, f"{node}_MatMul")],
            # Without it, types of the fused operators' outputs cannot be inferred.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        quantized.rename(target)
    return "dynamic quantization, u8 weights per channel, u8 activations"
