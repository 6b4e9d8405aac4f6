"""Convert a bundle into every variant this machine can make, and compare each with the SavedModel.

Reads bundle/, writes artifacts/<variant>/ and artifacts/export.json. Exits 0 when every variant
passed, 11 when some did: the others are left out; when none did, 1, or 12 where none is shown to
be worse and there are only too few rows. With --compare-only it converts nothing and judges what
lies there anew.

    slipway export runs/demo [--variant ort_int8] [--compare-only]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from export.disk_space import stage
from export.parity import gate, table
from export.parity.gate import ParityRecord
from export.runtime.conversion import Conversion
from export.runtimes import REPAIRABLE, RUNTIMES
from export.safety.onnx_file import check_onnx
from slipway import console, errors, provenance
from slipway.contract import artifact, bundle, manifest
from slipway.contract.bundle import Bundle, Reference
from slipway.contract.parity import judgement
from slipway.contract.variants import VARIANTS, Variant
from slipway.errors import ConversionError, ManifestError, ParityError, SlipwayError

_PROVIDE_TENSORRT = "run in nvcr.io/nvidia/tensorflow:25.02-tf2-py3, with pip install nvidia-ml-py, on a machine with an NVIDIA GPU"


def export(arguments: argparse.Namespace) -> int:
    run, compare_only = arguments.run, arguments.compare_only
    artifacts = run / "artifacts"
    source = bundle.load(run / "bundle")
    reference = bundle.load_reference(source)
    _check_classes(reference)
    names = arguments.variant or (_present(run) if compare_only else list(VARIANTS))
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
                    records.append(gate.check(artifact.load(artifacts / variant.name), reference))
                else:
                    records.append(export_variant(variant, reference, artifacts))
            except SlipwayError as error:  # the other variants are made and shown all the same
                failed[variant.name] = error
    table.show(records, skipped, failed)
    with stage("export: writing what was made", artifacts, errors.command("export", run)):
        if not compare_only:  # which makes nothing
            manifest.write_json(artifacts / artifact.SKIPPED, skipped)
        _write_exported(run, source, complete=not failed)
    return _status(records, failed)


def _check_classes(reference: Reference) -> None:
    """Raise ParityError for golden rows of one label: whoever always answers it is right."""
    golden, source = reference.golden, reference.bundle
    present = np.unique(golden.labels[golden.asked])
    if len(present) < 2:
        names = ", ".join(source.labels[number] for number in present) or "none"
        raise ParityError(
            "the golden rows show nothing: they all have one label",
            expected=f"rows of at least two of the labels {', '.join(source.labels)}",
            found=f"{len(golden.texts)} rows, labels: {names}",
            where=str(source.directory / "golden.jsonl"),
            fix=f"with rows of every class: {bundle.made_by(source.directory.parent, source.directory / bundle.MANIFEST)}",
        )


def _status(records: list[ParityRecord], failed: dict[str, SlipwayError]) -> int:
    """Return the exit status: an error's; or 0, SOME_PASSED, 1 or NOT_DECIDED by the verdicts."""
    if failed:
        return next(error.exit_code for error in failed.values())
    verdicts = [record.verdict for record in records]
    if all(verdict == judgement.PASSED for verdict in verdicts):
        return 0
    if judgement.PASSED in verdicts:
        return errors.SOME_PASSED
    return ParityError.exit_code if judgement.WORSE in verdicts else errors.NOT_DECIDED


def _write_exported(run: Path, source: Bundle, complete: bool) -> None:
    """Write export.json: the variants that passed, and why others did not; none: no file.

    After an error it stays as old as it was, so that make exports again instead of going on.
    """
    path = run / "artifacts" / artifact.EXPORTED
    before = path.stat() if path.is_file() else None
    passed, left_out = _verdicts(run / "artifacts", source)
    if not passed:
        path.unlink(missing_ok=True)
    elif complete or before:
        manifest.write_json(path, {"bundle_sha256": source.sha256, "variants": passed, "left_out": left_out})
        if before and not complete:
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
            except ConversionError as error:
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


def _verdicts(artifacts: Path, source: Bundle) -> tuple[list[str], dict[str, str]]:
    """Return the variants that passed for this bundle, and why others that lie there did not; also
    those of earlier exports.
    """
    passed, left_out = [], {}
    for name in [name for name in VARIANTS if (artifacts / name / artifact.MANIFEST).is_file()]:
        try:
            artifact.verdict(artifact.load(artifacts / name), source.sha256)
            passed.append(name)
        except ParityError as error:
            left_out[name] = error.found
        except ManifestError as error:
            left_out[name] = error.summary
    return passed, left_out
