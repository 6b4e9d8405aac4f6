"""How each variant is made: a function each, the name in `export.variants` → the function in CONVERSIONS.

A conversion gets the variant, the bundle, artifacts/ and the directory to write the model file to; it returns how it was made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export import canonical_graph, engine_plan, fp16, from_savedmodel, fused_graph, quantize, tensorrt_engine, tftrt
from export.variants import VARIANTS, Variant
from train import bundle
from train.bundle import Bundle
from train.errors import ConversionError

Conversion = Callable[[Variant, Bundle, Path, Path], str]
RAW = "tf2onnx.onnx"  # kept beside the canonical graph: benchmarks compare with it
_MOST_ROWS = 32  # in one run of an engine: what the gate and the server batch


def missing(variant: Variant) -> str:
    """ "" when this machine can make the variant, else what is not there."""
    if variant.runtime == "onnxruntime":
        return ""
    return tensorrt_engine.missing() if variant.runtime == "tensorrt" else tftrt.missing()


def _origin(variant: Variant, artifacts: Path) -> Path:
    """The model file it is made from."""
    return artifacts / variant.made_from / VARIANTS[variant.made_from].model_file


def _onnx_fp32(variant: Variant, source: Bundle, _: Path, building: Path) -> str:
    return from_savedmodel.convert(source.saved_model, building / RAW, building / variant.model_file)


def _ort_fp32(variant: Variant, _: Bundle, artifacts: Path, building: Path) -> str:
    origin = _origin(variant, artifacts)
    bert = canonical_graph.read(origin)
    if bert is None:
        from_savedmodel.optimize(origin, building / variant.model_file)
        return "optimized by ONNX Runtime: the graph is not the canonical encoder"
    model = fused_graph.write(bert)
    expected = fused_graph.expected_operators(len(bert.layers), bert.gelu)
    found = {kind: sum(node.op_type == kind for node in model.graph.node) for kind in expected}
    if found != expected:
        raise ConversionError(
            "the fused graph is not complete",
            expected=str(expected),
            found=str(found),
            where=variant.name,
            fix=f"report it: {variant.name} is written by export/fused_graph.py",
        )
    onnx.save(model, building / variant.model_file)
    return "fused: " + ", ".join(f"{count} {kind}" for kind, count in found.items())


def _ort_int8(variant: Variant, _: Bundle, artifacts: Path, building: Path) -> str:
    origin = _origin(variant, artifacts)
    return quantize.convert(origin, building / variant.model_file)


def _onnx_fp16(variant: Variant, source: Bundle, artifacts: Path, building: Path) -> str:
    origin = _origin(variant, artifacts)
    return fp16.convert(origin, building / variant.model_file, bundle.load_golden(source))


def _onnx_fp16_repaired(refused: dict[str, Any], variant: Variant, source: Bundle, artifacts: Path, building: Path) -> str:
    """With the rows whose answers the refused attempt changed as the judge's."""
    origin = _origin(variant, artifacts)
    golden = bundle.load_golden(source)
    flips = np.array([flip["row"] for flip in refused["flipped_rows"]], np.int64)
    changed = np.unique(golden.text_of[golden.asked][flips])
    return fp16.repaired(origin, building / variant.model_file, golden, variant, changed)


def _tensorrt(variant: Variant, source: Bundle, artifacts: Path, building: Path) -> str:
    origin = _origin(variant, artifacts)
    cache = engine_plan.timing_cache(artifacts, tensorrt_engine.fingerprint())
    return tensorrt_engine.convert(origin, building / variant.model_file, _profiles(source), cache)


def _tftrt(variant: Variant, source: Bundle, _: Path, building: Path) -> str:
    return tftrt.convert(source.saved_model, building / variant.model_file, variant.precision, _profiles(source))


def _profiles(source: Bundle) -> list[engine_plan.Profile]:
    lengths = bundle.load_golden(source).ids.lengths
    return engine_plan.plan_profiles(lengths, source.max_seq_len, max_batch=_MOST_ROWS)


CONVERSIONS: dict[str, Conversion] = {
    "onnx_fp32": _onnx_fp32,
    "ort_fp32": _ort_fp32,
    "ort_int8": _ort_int8,
    "onnx_fp16": _onnx_fp16,
    "tensorrt_fp16": _tensorrt,
    "tensorrt_fp32": _tensorrt,
    "tftrt_fp32": _tftrt,
    "tftrt_fp16": _tftrt,
}
REPAIRS: dict[str, Callable[[dict[str, Any], Variant, Bundle, Path, Path], str]] = {"onnx_fp16": _onnx_fp16_repaired}
