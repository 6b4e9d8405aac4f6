"""ONNX Runtime: the graph of record, its fused form, INT8 and FP16, each one ONNX file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from export.graph import canonical, from_savedmodel, fused
from export.precision import fp16_repair, int8, int8_repair
from export.runtime import onnx_precision
from export.runtime.conversion import REPAIRED_FOR, Conversion, Converted
from export.safety.onnx_file import check_onnx
from export.session import Session, open_onnx
from slipway.contract.artifact import Artifact
from slipway.contract.parity.comparison import Precision
from slipway.errors import ConversionError

RAW = "tf2onnx.onnx"  # kept beside the canonical graph: benchmarks compare with it


def missing() -> str:
    return ""  # the export itself needs it


def convert(conversion: Conversion) -> Converted:
    """Write the model; a repair records what it was made for, so that it can be made again."""
    changed = conversion.changed
    facts = {} if changed is None else {REPAIRED_FOR: changed.tolist()}
    return Converted(_CONVERT[conversion.variant.name](conversion), facts)


@contextmanager
def open(artifact: Artifact) -> Iterator[Session]:
    check_onnx(artifact.model, artifact.facts["files"])
    with open_onnx(artifact.model, providers=artifact.variant.providers) as session:
        yield session


def proof(artifact: Artifact) -> Precision:
    return onnx_precision.proof(artifact.model)


def _onnx_fp32(conversion: Conversion) -> str:
    return from_savedmodel.convert(conversion.origin, conversion.building / RAW, conversion.target)


def _ort_fp32(conversion: Conversion) -> str:
    bert = canonical.read(conversion.origin)
    if bert is None:
        from_savedmodel.optimize(conversion.origin, conversion.target)
        return "optimized by ONNX Runtime: the graph is not the canonical encoder"
    model = fused.write(bert)
    expected = fused.expected_operators(len(bert.layers), bert.gelu)
    kinds = Counter(node.op_type for node in model.graph.node)
    present = {kind: kinds[kind] for kind in expected}
    if present != expected:
        raise ConversionError(
            "the fused graph is not complete",
            expected=str(expected),
            found=str(present),
            where=conversion.variant.name,
            fix=f"report it: {conversion.variant.name} is written by {Path(fused.__file__).name}",
        )
    onnx.save(model, conversion.target)
    return "fused: " + ", ".join(f"{count} {kind}" for kind, count in present.items())


def _ort_int8(conversion: Conversion) -> str:
    if conversion.changed is None:
        return int8.convert(conversion.origin, conversion.target)
    share = conversion.variant.limits.precision_share
    return int8_repair.convert(conversion.origin, conversion.target, conversion.golden, share)


def _onnx_fp16(conversion: Conversion) -> str:
    if conversion.changed is None:
        return fp16_repair.convert(conversion.origin, conversion.target, conversion.golden)
    variant = conversion.variant
    how = fp16_repair.repaired(conversion.origin, conversion.target, conversion.golden, variant, conversion.changed)
    share = onnx_precision.proof(conversion.target).weights.get(variant.precision, 0.0)
    if share < variant.limits.precision_share:
        raise ConversionError(
            "the changed answers come back only with too many nodes in FP32",
            expected=f"{variant.limits.precision_share:.0%} of the multiplications in {variant.precision}",
            found=f"{share:.0%}",
            where=str(conversion.origin),
            fix="more golden rows (--unlabelled FILE), where they are too few to decide; or do without this variant",
        )
    return how


_CONVERT: dict[str, Callable[[Conversion], str]] = {
    "onnx_fp32": _onnx_fp32,
    "ort_fp32": _ort_fp32,
    "ort_int8": _ort_int8,
    "onnx_fp16": _onnx_fp16,
}
