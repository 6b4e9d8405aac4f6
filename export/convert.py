"""Convert a bundle into every variant this machine can make, and compare each with the SavedModel.

Reads bundle/, writes artifacts/<variant>/ and artifacts/export.json. Exits 0 when every variant
passed, 11 when some did: the others are left out; when none did, 1, or 12 where none is shown to
be worse and there are only too few rows; 9 where a variant that --variant names cannot be made
here. With --compare-only it converts nothing and judges what lies there anew.

    slipway export runs/demo [--variant ort_int8] [--compare-only]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from export.disk_space import stage
from export.parity import gate, table
from export.parity.gate import ParityRecord
from export.runtimes import RUNTIMES
from export.variant import export_variant
from slipway import errors
from slipway.contract import artifact, bundle, manifest
from slipway.contract.bundle import Bundle, Reference
from slipway.contract.parity import judgement
from slipway.contract.variants import VARIANTS
from slipway.errors import ManifestError, ParityError, SlipwayError, ToolError

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
    absent = [name for name in arguments.variant or () if name in skipped]
    return _status(records, failed) or (ToolError.exit_code if absent else 0)


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
            fix="with rows of every class: "
            + bundle.made_by(source.directory.parent, source.directory / bundle.MANIFEST, over=True),
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
    examined = artifact.examine(run, source.sha256)
    passed = [variant.variant.name for variant in examined.passed]
    if not passed:
        path.unlink(missing_ok=True)
    elif complete or before:
        manifest.write_json(path, {"bundle_sha256": source.sha256, "variants": passed, "left_out": examined.reasons})
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
