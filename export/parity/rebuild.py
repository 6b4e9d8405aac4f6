"""A run made again from its bundle, as `slipway check RUN --rebuild` does.

Hashes show that a file is the one that was recorded. A record that was typed over, hash and all,
shows only when what it says is done again: the SavedModel's logits, each conversion, and the gate's
comparison. Reads bundle/ and artifacts/; writes into a temporary directory.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from export.graph import structure
from export.parity import gate
from export.runtime.conversion import REPAIRED_FOR, Conversion
from export.runtimes import RUNTIMES
from export.safety.onnx_file import check_onnx
from export.safety.saved_model import check_saved_model
from slipway import errors, provenance
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Golden, Probes, Reference
from slipway.contract.parity import comparison, probabilities
from slipway.contract.parity.comparison import Measured
from slipway.contract.ragged import infer_rows
from slipway.errors import ConversionError, ManifestError, ParityError, SlipwayError

_BATCH = 32
_SAME = 1e-4  # of the logits' deviation: what another order of additions may change
_TIMED = {"engine_seconds", "cost"}  # of Measured: other each time
_NAMED = {"neighbour"}  # which of equals disturbs most is chance
_NEAR_ONE = {"correlation", "slope"}  # of them it is the distance from 1 that is judged
_SHOWN = 6  # differences, in a message
_LIKE, _LEAST = 0.05, 1e-4  # measurements may differ by this share, or by so little, for other threads
Say = Callable[[str], None]


class NotRebuilt(Exception):
    """Why a variant cannot be made again here, in words: neither shown to be right nor wrong."""


def reference_logits(reference: Reference, say: Say) -> Iterator[SlipwayError]:
    """Compute the reference's logits again; yield what is not as it is stored."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a GPU would multiply in TF32
    from slipway.tensorflow import SavedClassifier

    source = reference.bundle
    check_saved_model(source.saved_model)
    model = SavedClassifier(source.saved_model)
    stored: dict[str, Golden | Probes] = {"golden.npz": reference.golden, "probes.npz": reference.probes}
    for name, rows in stored.items():
        say(f"the SavedModel's answers to {len(rows.ids):,} rows of {name}")
        logits = infer_rows(model.infer, rows.ids, _BATCH)
        allowed = _SAME * probabilities.spread(logits)
        fits = logits.shape == rows.logits.shape
        difference = comparison.largest(rows.logits, logits) if fits else float("inf")
        if not difference <= allowed:
            yield ManifestError(
                f"the reference logits in {name} are not the SavedModel's",
                expected=f"logits {list(logits.shape)} that differ by {allowed:.2g} at most from those computed now",
                found=f"max |Δlogit| {difference:.2g}" if fits else f"logits {list(rows.logits.shape)}",
                where=str(source.directory / name),
                fix=f"make it anew: {bundle.made_by(source.directory.parent, source.directory / bundle.MANIFEST, over=True)}",
            )


@dataclass(frozen=True)
class Rebuild:
    """A run whose variants are made again in `scratch`, each of what was made again before it."""

    run: Path
    reference: Reference
    scratch: Path

    def differences(self, candidate: Artifact, say: Say) -> Iterator[SlipwayError]:
        """Convert and compare again; yield what is not as the artifact and its record have it.

        Raises NotRebuilt, ConversionError as the runtime does, and OSError for want of room.
        """
        variant = candidate.variant
        if variant.runtime != "onnxruntime":
            raise NotRebuilt(f"{variant.runtime} chooses kernels by timing them, so that no two builds are alike")
        check_onnx(candidate.model, candidate.facts["files"])
        say("converting again")
        model = self._model(candidate)
        if not _same(candidate.model, model):
            yield ConversionError(
                f"{variant.name} is not what its conversion writes",
                expected=f"sha256 {manifest.sha256(model)}, or the same graph{_elsewhere(candidate.facts)}",
                found=f"sha256 {manifest.sha256(candidate.model)}, another graph",
                where=str(candidate.model),
                fix=f"convert it again: {errors.command('export', self.run, '--variant', variant.name)}",
            )
        yield from self._measured_otherwise(candidate, say)

    def _model(self, candidate: Artifact) -> Path:
        """Return the artifact's model file, made again. What it is made from comes first."""
        variant, artifacts = candidate.variant, self.scratch / "artifacts"
        changed = candidate.facts.get(REPAIRED_FOR)
        conversion = Conversion(
            variant,
            self.reference.bundle,
            self.reference.golden,
            artifacts,
            artifacts / variant.name,
            None if changed is None else np.array(changed, np.int64),
        )
        if not conversion.target.exists():
            if variant.made_from != "bundle":
                self._model(artifact.load(self.run / "artifacts" / variant.made_from))
            conversion.building.mkdir(parents=True)
            RUNTIMES[variant.runtime].convert(conversion)
        return conversion.target

    def _measured_otherwise(self, candidate: Artifact, say: Say) -> Iterator[ParityError]:
        """Put a copy of the artifact through the gate; yield what its record has otherwise."""
        path, name = candidate.directory / artifact.PARITY, candidate.variant.name
        try:
            recorded: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):  # then there is no verdict, which `artifact.verdict` says
            return
        copy = self.scratch / "compared/artifacts" / name
        for file in candidate.facts["files"].keys() | {artifact.MANIFEST}:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            manifest.link(candidate.directory / file, copy / file)
        checked = gate.check(artifact.load(copy), self.reference, say)
        again_record = json.loads((copy / artifact.PARITY).read_text("utf-8"))
        different = list(other_measurements(recorded, again_record))
        if recorded.get("verdict") != checked.verdict:
            different.insert(0, ("verdict", recorded.get("verdict"), checked.verdict))
        if different:
            again = errors.command("export", self.run, "--compare-only", "--variant", name)
            yield ParityError(
                f"{name} does not answer as its record says",
                expected=", ".join(f"{name} {before}" for name, before, _ in different[:_SHOWN]) + _elsewhere(recorded),
                found=", ".join(f"{name} {now}" for name, _, now in different[:_SHOWN]),
                where=str(path),
                fix=f"compare it again: {again}",
            )


def other_measurements(recorded: dict[str, Any], measured: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name and both values of what two parity records measured otherwise."""
    for name in [field.name for field in fields(Measured) if field.name not in _TIMED]:
        yield from _other_values(name, recorded.get(name), measured[name])
    before, now = recorded.get("start_up"), measured["start_up"]
    if not isinstance(before, list) or not all(isinstance(row, dict) for row in before):
        yield "start_up", "none that can be read", f"{len(now)} rows"
        return
    if any([row.get(key) for row in before] != [row[key] for row in now] for key in ("text", "ids", "types")):
        yield "start_up", f"of {len(before)} rows", f"of {len(now)} others"
        return
    allowed = artifact.start_up_tolerance(measured)
    for number, (old, new) in enumerate(zip(before, now, strict=True)):
        if not _near(old.get("logits"), new["logits"], allowed):
            yield f"logits of start-up row {number}", old.get("logits"), new["logits"]


def _near(recorded: Any, measured: list[list[float]], allowed: float) -> bool:
    """Return whether logits are like `measured` [rows, labels]; what is none is not."""
    try:
        left, right = np.array(recorded, float), np.array(measured, float)
    except (TypeError, ValueError):
        return False
    return left.shape == right.shape and bool(np.abs(left - right).max() <= allowed)


def _other_values(name: str, recorded: Any, measured: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs: counts exactly, measurements by more than other threads explain."""
    if isinstance(measured, dict) and isinstance(recorded, dict):
        for key in sorted((recorded.keys() | measured.keys()) - _NAMED):
            yield from _other_values(f"{name}.{key}", recorded.get(key), measured.get(key))
    elif isinstance(measured, list) and isinstance(recorded, list) and len(measured) == len(recorded):
        for number, (old, new) in enumerate(zip(recorded, measured, strict=True)):
            yield from _other_values(f"{name}[{number}]", old, new)
    elif isinstance(measured, float) and isinstance(recorded, int | float):
        centre = 1.0 if name.rpartition(".")[2] in _NEAR_ONE else 0.0
        if not math.isclose(recorded - centre, measured - centre, rel_tol=_LIKE, abs_tol=_LEAST**2 if centre else _LEAST):
            yield name, recorded, measured
    elif recorded != measured:
        yield name, recorded, measured


def _same(left: Path, right: Path) -> bool:
    try:
        return manifest.sha256(left) == manifest.sha256(right) or structure.same(left, right)
    except KeyError:  # a node reads what nothing makes
        return False


def _elsewhere(record: dict[str, Any]) -> str:
    """Return where a record's versions and CPU differ from those here, in parentheses, or ""."""
    here = provenance.record("tensorflow", "tf2onnx", "onnx", "onnxruntime", "numpy", "scipy")
    pairs = {name: (version, here["versions"].get(name, "none")) for name, version in record.get("versions", {}).items()}
    pairs["CPU with"] = (" ".join(record.get("machine", {}).get("cpu_flags", [])), " ".join(here["machine"]["cpu_flags"]))
    different = [f"{name} {there}, here {now}" for name, (there, now) in pairs.items() if there != now]
    return f" (recorded with {'; '.join(different)})" if different else ""
