"""Convert a bundle into every variant this machine can make, and compare each with the SavedModel.

Reads bundle/, writes artifacts/<variant>/ and artifacts/export.json. Exits 1 when a variant does not give the same answers.

    python -m export.convert --run runs/demo
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export import (
    artifact,
    canonical_graph,
    engine_plan,
    fp16,
    from_savedmodel,
    fused_graph,
    gate,
    quantize,
    safety,
    table,
    tensorrt_engine,
    tftrt,
)
from export.artifact import Artifact
from export.stage import stage
from export.variants import VARIANTS, Variant
from train import bundle, errors, manifest, provenance, terminal
from train.bundle import Bundle
from train.errors import ConversionError

_Conversion = Callable[[Variant, Bundle, Path, Path], str]  # variant, bundle, artifacts/, directory to write → how it was made
_RAW = "tf2onnx.onnx"  # kept beside the canonical graph: benchmarks compare with it
_MOST_ROWS = 32  # in one run of an engine: what the gate and the server batch
_PROVIDE_TENSORRT = "run in nvcr.io/nvidia/tensorflow:25.02-tf2-py3 on a machine with an NVIDIA GPU"


def main() -> int:
    arguments = _parse()
    source = bundle.load(arguments.run / "bundle")
    artifacts = arguments.run / "artifacts"
    names = arguments.variant or list(VARIANTS)
    records: list[dict[str, Any]] = []
    skipped = {} if not arguments.variant else artifact.skipped(arguments.run)
    for name in names:
        variant = VARIANTS[name]
        if reason := _skip_reason(variant):
            skipped[name] = {"reason": reason, "mend": _PROVIDE_TENSORRT}
            continue
        skipped.pop(name, None)
        records.append(_convert_and_compare(variant, source, artifacts))
    table.show(records, skipped)
    with stage("export: writing what was made", artifacts, f"make export RUN={arguments.run}"):
        manifest.write_json(artifacts / artifact.SKIPPED, skipped)
        if not all(record["passed"] for record in records):
            return 1
        made = [name for name in VARIANTS if (artifacts / name / artifact.MANIFEST).is_file()]
        manifest.write_json(artifacts / artifact.EXPORTED, {"bundle_sha256": source.sha256, "variants": made})
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    parser.add_argument("--variant", choices=list(VARIANTS), action="append", help="only this one; may be repeated")
    return parser.parse_args()


def _skip_reason(variant: Variant) -> str:
    """ "" when this machine can make the variant."""
    if variant.runtime == "onnxruntime":
        return ""
    return tensorrt_engine.missing() if variant.runtime == "tensorrt" else tftrt.missing()


def _convert_and_compare(variant: Variant, source: Bundle, artifacts: Path) -> dict[str, Any]:
    """Once; and when the gate refuses it and it can be repaired, once more."""
    with terminal.activity(variant.name) as say:
        record = _attempt(variant, source, artifacts, say, _CONVERSIONS[variant.name])
        repair = _REPAIRS.get(variant.name)
        if repair and not record["passed"]:
            say("repairing")
            record = _attempt(variant, source, artifacts, say, partial(repair, record))
    return record


def _attempt(
    variant: Variant, source: Bundle, artifacts: Path, say: Callable[[str], None], conversion: _Conversion
) -> dict[str, Any]:
    started = time.monotonic()
    say("converting")
    again = f"make export RUN={artifacts.parent}"
    with stage(f"{variant.name}: converting", artifacts, again):
        how = _convert(variant, source, artifacts, conversion)
    converted = time.monotonic()
    with stage(f"{variant.name}: comparing", artifacts, again):
        record = gate.check(artifact.load(artifacts / variant.name), source, say)
    took = f"compared on {record['rows']} {record['unit']}s ({time.monotonic() - converted:.0f} s)"
    print(f"{variant.name:<14}{how} ({converted - started:.0f} s); {took}", flush=True)
    return record


def _convert(variant: Variant, source: Bundle, artifacts: Path, conversion: _Conversion) -> str:
    """Write artifacts/<variant>/ in one rename; returns how it was made."""
    made_from = source.directory if variant.made_from == "bundle" else artifacts / variant.made_from
    from_sha256 = source.sha256 if variant.made_from == "bundle" else _safe(artifact.load(made_from)).sha256
    with manifest.atomic_directory(artifacts / variant.name) as building:
        how = conversion(variant, source, artifacts, building)
        facts = {
            "schema": 1,
            "variant": variant.name,
            "made_from": {"what": variant.made_from, "sha256": from_sha256},
            "bundle_sha256": source.sha256,
            "how": how,
            **({"fingerprint": tensorrt_engine.fingerprint().facts()} if variant.runtime == "tensorrt" else {}),
            **provenance.record("tensorflow", "tf2onnx", "onnx", "onnxruntime"),
        }
        manifest.seal(building, artifact.MANIFEST, facts)
    return how


def _safe(origin: Artifact) -> Artifact:
    """The artifact, when its file may be loaded. Raises ConversionError."""
    safety.check_onnx(origin.model)
    return origin


def _onnx_fp32(variant: Variant, source: Bundle, _: Path, building: Path) -> str:
    return from_savedmodel.convert(source.saved_model, building / _RAW, building / variant.model_file)


def _ort_fp32(variant: Variant, _: Bundle, artifacts: Path, building: Path) -> str:
    origin = artifacts / variant.made_from / VARIANTS[variant.made_from].model_file
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
            mend=f"report it: {variant.name} is written by export/fused_graph.py",
        )
    onnx.save(model, building / variant.model_file)
    return "fused: " + ", ".join(f"{count} {kind}" for kind, count in found.items())


def _ort_int8(variant: Variant, _: Bundle, artifacts: Path, building: Path) -> str:
    origin = artifacts / variant.made_from / VARIANTS[variant.made_from].model_file
    return quantize.convert(origin, building / variant.model_file)


def _onnx_fp16(variant: Variant, source: Bundle, artifacts: Path, building: Path) -> str:
    origin = artifacts / variant.made_from / VARIANTS[variant.made_from].model_file
    return fp16.convert(origin, building / variant.model_file, bundle.load_golden(source))


def _onnx_fp16_repaired(refused: dict[str, Any], variant: Variant, source: Bundle, artifacts: Path, building: Path) -> str:
    """With the rows whose answers the refused attempt changed as the judge's."""
    origin = artifacts / variant.made_from / VARIANTS[variant.made_from].model_file
    golden = bundle.load_golden(source)
    changed = golden.rows_of(np.array([flip["row"] for flip in refused["flipped_rows"]], np.int64))
    return fp16.repaired(origin, building / variant.model_file, golden, variant, changed)


def _tensorrt(variant: Variant, source: Bundle, artifacts: Path, building: Path) -> str:
    origin = artifacts / variant.made_from / VARIANTS[variant.made_from].model_file
    cache = engine_plan.timing_cache(artifacts, tensorrt_engine.fingerprint())
    return tensorrt_engine.convert(origin, building / variant.model_file, _profiles(source), cache)


def _tftrt(variant: Variant, source: Bundle, _: Path, building: Path) -> str:
    return tftrt.convert(source.saved_model, building / variant.model_file, variant.precision, _profiles(source))


def _profiles(source: Bundle) -> list[engine_plan.Profile]:
    lengths = bundle.load_golden(source).ids.lengths
    return engine_plan.plan_profiles(lengths, source.max_seq_len, max_batch=_MOST_ROWS)


_CONVERSIONS: dict[str, _Conversion] = {
    "onnx_fp32": _onnx_fp32,
    "ort_fp32": _ort_fp32,
    "ort_int8": _ort_int8,
    "onnx_fp16": _onnx_fp16,
    "tensorrt_fp16": _tensorrt,
    "tensorrt_fp32": _tensorrt,
    "tftrt_fp32": _tftrt,
    "tftrt_fp16": _tftrt,
}
_REPAIRS: dict[str, Callable[[dict[str, Any], Variant, Bundle, Path, Path], str]] = {"onnx_fp16": _onnx_fp16_repaired}


if __name__ == "__main__":
    errors.run(main)
