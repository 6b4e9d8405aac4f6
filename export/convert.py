"""Convert a bundle into every variant this machine can make, and compare each with the SavedModel.

Reads bundle/, writes artifacts/<variant>/ and artifacts/export.json. Exits 1 when a variant does not give the same answers.

    python -m export.convert --run runs/demo
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from export import artifact, conversions, gate, safety, table, tensorrt_engine
from export.artifact import Artifact
from export.conversions import Conversion
from export.stage import stage
from export.variants import VARIANTS, Variant
from train import bundle, errors, manifest, provenance, terminal
from train.bundle import Bundle
from train.errors import ManifestError, ParityError, SlipwayError

_PROVIDE_TENSORRT = "run in nvcr.io/nvidia/tensorflow:25.02-tf2-py3 on a machine with an NVIDIA GPU"


def main() -> int:
    arguments = _parse()
    source = bundle.load(arguments.run / "bundle")
    artifacts = arguments.run / "artifacts"
    names = arguments.variant or list(VARIANTS)
    for name in names:
        gate.check_rows(VARIANTS[name], source, bundle.load_golden(source))
    skipped = {name: why for name, why in artifact.skipped(arguments.run).items() if name not in names}
    records, failed = _convert_all(names, source, artifacts, skipped)
    table.show(records, skipped, failed)
    with stage("export: writing what was made", artifacts, f"make export RUN={arguments.run}"):
        manifest.write_json(artifacts / artifact.SKIPPED, skipped)
        if failed or not all(record["passed"] for record in records):
            return next((error.exit_code for error in failed.values()), 1)
        manifest.write_json(artifacts / artifact.EXPORTED, {"bundle_sha256": source.sha256, "variants": _passed(artifacts, source)})
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    parser.add_argument("--variant", choices=list(VARIANTS), action="append", help="only this one; may be repeated")
    return parser.parse_args()


def _convert_all(
    names: list[str], source: Bundle, artifacts: Path, skipped: dict[str, dict[str, str]]
) -> tuple[list[dict[str, Any]], dict[str, SlipwayError]]:
    """The parity records, and why others failed; adds to `skipped` what cannot be made here."""
    records: list[dict[str, Any]] = []
    failed: dict[str, SlipwayError] = {}
    for variant in map(VARIANTS.__getitem__, names):
        if reason := conversions.missing(variant):
            skipped[variant.name] = {"reason": reason, "fix": _PROVIDE_TENSORRT}
        elif variant.made_from in failed:
            failed[variant.name] = failed[variant.made_from]
        else:
            try:
                records.append(_convert_and_compare(variant, source, artifacts))
            except SlipwayError as error:  # the other variants are made and shown all the same
                failed[variant.name] = error
    return records, failed


def _passed(artifacts: Path, source: Bundle) -> list[str]:
    """Every variant that is there and passed for this bundle, also those of earlier runs with --variant."""
    found = []
    for name in VARIANTS:
        with contextlib.suppress(ManifestError, ParityError):
            artifact.verdict(artifact.load(artifacts / name), source.sha256)
            found.append(name)
    return found


def _convert_and_compare(variant: Variant, source: Bundle, artifacts: Path) -> dict[str, Any]:
    """Once; and when the gate refuses it and it can be repaired, once more."""
    with terminal.activity(variant.name) as say:
        record = _attempt(variant, source, artifacts, say, conversions.CONVERSIONS[variant.name])
        repair = conversions.REPAIRS.get(variant.name)
        if repair and not record["passed"]:
            say("repairing")
            record = _attempt(variant, source, artifacts, say, partial(repair, record))
    return record


def _attempt(
    variant: Variant, source: Bundle, artifacts: Path, say: Callable[[str], None], conversion: Conversion
) -> dict[str, Any]:
    started = time.monotonic()
    say("converting")
    again = f"make export RUN={artifacts.parent}"
    with stage(f"{variant.name}: converting", artifacts, again):
        how = _convert(variant, source, artifacts, conversion)
    converted = time.monotonic()
    with stage(f"{variant.name}: comparing", artifacts, again):
        record = gate.check(artifact.load(artifacts / variant.name), source, say)
    took = f"compared on {record['texts']} texts ({time.monotonic() - converted:.0f} s)"
    print(f"{variant.name:<14}{how} ({converted - started:.0f} s); {took}", flush=True)
    return record


def _convert(variant: Variant, source: Bundle, artifacts: Path, conversion: Conversion) -> str:
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


if __name__ == "__main__":
    errors.run(main)
