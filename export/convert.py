"""Convert a bundle into every variant this machine can make, and compare each with the SavedModel.

Reads bundle/, writes artifacts/<variant>/ and artifacts/export.json. Exits 1 when a variant does
not give the same answers. With --compare-only it converts nothing and judges what lies there anew.

    slipway export runs/demo [--variant ort_int8] [--compare-only]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path

import numpy as np

from export import safety
from export.disk_space import stage
from export.parity import gate, table
from export.parity.gate import ParityRecord
from export.runtime.conversion import Conversion
from export.runtimes import REPAIRABLE, RUNTIMES
from slipway import console, errors, provenance
from slipway.contract import artifact, bundle, manifest
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.variants import VARIANTS, Variant
from slipway.errors import ManifestError, ParityError, SlipwayError

_PROVIDE_TENSORRT = "run in nvcr.io/nvidia/tensorflow:25.02-tf2-py3, with pip install nvidia-ml-py, on a machine with an NVIDIA GPU"


def export(arguments: argparse.Namespace) -> int:
    run, compare_only = arguments.run, arguments.compare_only
    artifacts = run / "artifacts"
    source = bundle.load(run / "bundle")
    golden = bundle.load_golden(source)
    names = arguments.variant or (_present(run) if compare_only else list(VARIANTS))
    for name in names:
        gate.check_rows(VARIANTS[name], source, golden)
    skipped = {name: why for name, why in artifact.skipped(run).items() if name not in names}
    records: list[ParityRecord] = []
    failed: dict[str, SlipwayError] = {}
    for variant in map(VARIANTS.__getitem__, names):
        if reason := RUNTIMES[variant.runtime].missing():
            skipped[variant.name] = {"reason": reason, "fix": _PROVIDE_TENSORRT}
        elif variant.made_from in failed and not compare_only:
            failed[variant.name] = failed[variant.made_from]
        else:
            try:
                if compare_only:
                    records.append(gate.check(artifact.load(artifacts / variant.name), source, golden))
                else:
                    records.append(export_variant(variant, source, golden, artifacts))
            except SlipwayError as error:  # the other variants are made and shown all the same
                failed[variant.name] = error
    table.show(records, skipped, failed)
    passed = not failed and all(record.passed for record in records)
    with stage("export: writing what was made", artifacts, errors.command("export", run)):
        if not compare_only:  # which makes nothing
            manifest.write_json(artifacts / artifact.SKIPPED, skipped)
        if passed or (artifacts / artifact.EXPORTED).is_file():  # then it must not name what no longer passes
            _write_exported(artifacts, source, passed)
    return 0 if passed else next((error.exit_code for error in failed.values()), 1)


def _write_exported(artifacts: Path, source: Bundle, passed: bool) -> None:
    """Write export.json: the variants that passed. After a failure it stays as old as it was, so
    that make exports again instead of going on.
    """
    path = artifacts / artifact.EXPORTED
    before = path.stat() if path.is_file() and not passed else None
    manifest.write_json(path, {"bundle_sha256": source.sha256, "variants": _passed(artifacts, source)})
    if before:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _present(run: Path) -> list[str]:
    """Return the variants that lie in the run's artifacts. Raises ManifestError without one."""
    names = [name for name in VARIANTS if (run / "artifacts" / name).is_dir()]
    if not names:
        raise ManifestError(
            f"{run} has nothing to compare",
            expected="at least one converted model",
            found="none",
            where=str(run / "artifacts"),
            fix=errors.command("export", run),
        )
    return names


def export_variant(variant: Variant, source: Bundle, golden: Golden, artifacts: Path) -> ParityRecord:
    """Convert and compare; a second time when the gate refuses a variant that can be repaired."""
    changed, again = None, errors.command("export", artifacts.parent)
    with console.activity(variant.name) as say:
        for attempt in ("converting", "repairing") if variant.name in REPAIRABLE else ("converting",):
            say(attempt)
            started = time.monotonic()
            with (
                stage(f"{variant.name}: {attempt}", artifacts, again),
                manifest.atomic_directory(artifacts / variant.name) as building,
            ):
                how = _write(Conversion(variant, source, golden, artifacts, building, changed))
            converted = time.monotonic()
            with stage(f"{variant.name}: comparing", artifacts, again):
                record = gate.check(artifact.load(artifacts / variant.name), source, golden, say)
            took = f"compared on {record.measured.texts} texts ({time.monotonic() - converted:.0f} s)"
            print(f"{variant.name:<14}{how} ({converted - started:.0f} s); {took}", flush=True)
            if record.passed:
                break
            flips = [flip.row for flip in record.measured.flipped_rows]
            changed = np.unique(golden.text_of[golden.asked][np.array(flips, np.int64)])
    return record


def _write(conversion: Conversion) -> str:
    """Write the model file and its manifest; return how it was made. Raises ConversionError."""
    variant, origin = conversion.variant, conversion.source.sha256
    if variant.made_from != "bundle":
        made_from = artifact.load(conversion.artifacts / variant.made_from)
        safety.check_onnx(made_from.model)
        origin = made_from.sha256
    converted = RUNTIMES[variant.runtime].convert(conversion)
    facts = {
        "schema": 1,
        "variant": variant.name,
        "made_from": {"what": variant.made_from, "sha256": origin},
        "bundle_sha256": conversion.source.sha256,
        "how": converted.how,
        **converted.facts,
        **provenance.record("tensorflow", "tf2onnx", "onnx", "onnxruntime"),
    }
    manifest.seal(conversion.building, artifact.MANIFEST, facts)
    return converted.how


def _passed(artifacts: Path, source: Bundle) -> list[str]:
    """Return every variant that passed for this bundle, also those that earlier exports made."""
    names = []
    for name in VARIANTS:
        with contextlib.suppress(ManifestError, ParityError):
            artifact.verdict(artifact.load(artifacts / name), source.sha256)
            names.append(name)
    return names
