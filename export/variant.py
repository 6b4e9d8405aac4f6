"""One variant of a bundle: converted, compared, and made again where a repair could help."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from export.disk_space import stage
from export.parity import gate
from export.parity.gate import ParityRecord
from export.runtime.conversion import Conversion
from export.runtimes import REPAIRABLE, RUNTIMES
from export.safety.onnx_file import check_onnx
from slipway import console, errors, provenance
from slipway.contract import artifact, manifest
from slipway.contract.bundle import Reference
from slipway.contract.parity import judgement
from slipway.contract.variants import Variant
from slipway.errors import ConversionError, StorageError


def export_variant(variant: Variant, reference: Reference, artifacts: Path) -> ParityRecord:
    """Convert and compare; a second time when the gate refuses a variant that can be repaired."""
    changed, again = None, errors.command("export", artifacts.parent)
    source, golden = reference.bundle, reference.golden
    with console.activity(variant.name) as say:
        for attempt in ("converting", "repairing") if variant.name in REPAIRABLE else ("converting",):
            say(attempt)
            started = time.monotonic()
            try:
                with (
                    stage(f"{variant.name}: {attempt}", artifacts, again),
                    manifest.atomic_directory(artifacts / variant.name) as building,
                ):
                    how = _write(Conversion(variant, source, golden, artifacts, building, changed))
            except (ConversionError, StorageError) as error:
                if attempt == "converting":
                    raise
                print(f"{variant.name:<14}cannot be repaired: {error.summary}", flush=True)
                break  # the first attempt lies there, with its verdict
            converted = time.monotonic()
            with stage(f"{variant.name}: comparing", artifacts, again):
                record = gate.check(artifact.load(artifacts / variant.name), reference, say)
            took = f"compared on {record.measured.texts} texts ({time.monotonic() - converted:.0f} s)"
            print(f"{variant.name:<14}{how} ({converted - started:.0f} s); {took}", flush=True)
            if not _repairable(record):
                break
            flips = [flip.row for flip in record.measured.flipped_rows]
            changed = np.unique(golden.text_of[golden.compared][np.array(flips, np.int64)])
    return record


def _repairable(record: ParityRecord) -> bool:
    """Return whether a conversion closer to FP32 could help: not where only rows are missing."""
    return record.verdict == judgement.WORSE or (record.verdict == judgement.UNDECIDED and record.measured.flips > 0)


def _write(conversion: Conversion) -> str:
    """Write the model file and its manifest; return how it was made. Raises ConversionError."""
    variant, origin = conversion.variant, conversion.source.sha256
    if variant.made_from != "bundle":
        made_from = artifact.load(conversion.artifacts / variant.made_from)
        check_onnx(made_from.model, made_from.facts["files"])
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
