"""The artifact: one converted model, what it was made from and how, and the verdict on its answers.

artifacts/<variant>/model.onnx       the model file (or directory) that export.variants names
                    artifact.json    the manifest: made from which hash, by which command, on which machine
                    parity.json      the comparison with the reference; written after, also when it fails
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import comparison
from export.variants import VARIANTS, Variant
from train import manifest
from train.errors import ManifestError, ParityError

MANIFEST = "artifact.json"
PARITY = "parity.json"
EXPORTED = "export.json"  # beside the variants, written when all passed: which variants there are
SKIPPED = "skipped.json"  # beside the variants: variant → reason and the command that would provide what is missing


@dataclass(frozen=True)
class Artifact:
    directory: Path
    variant: Variant
    sha256: str  # of artifact.json, and through it of the model
    facts: dict[str, Any]

    @property
    def model(self) -> Path:
        return self.directory / self.variant.model_file


def load(directory: Path) -> Artifact:
    """The artifact in `directory`, its files checked. Raises ManifestError."""
    facts = manifest.read(directory, MANIFEST, _mend(directory), beside=(PARITY,))
    if facts.get("variant") != directory.name or directory.name not in VARIANTS:  # or it would be judged by another's limits
        raise ManifestError(
            f"{directory} holds something else",
            expected=f"the variant {directory.name}, one of {', '.join(VARIANTS)}",
            found=str(facts.get("variant")),
            where=str(directory / MANIFEST),
            fix=_mend(directory),
        )
    return Artifact(directory, VARIANTS[facts["variant"]], manifest.sha256(directory / MANIFEST), facts)


def verdict(artifact: Artifact, bundle_sha256: str) -> dict[str, Any]:
    """The artifact's parity record, if it passed for exactly this artifact and this bundle.

    The verdict is judged again from the counts, with today's limits. Raises ParityError.
    """
    path = artifact.directory / PARITY
    if not path.is_file():
        raise _refusal(artifact, "a parity verdict", "no parity.json")
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        failures = comparison.judge_artifact(record, artifact.variant)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise _refusal(artifact, "a parity record", f"one that cannot be read: {error!r}") from error
    meant = {"variant": artifact.variant.name, "artifact_sha256": artifact.sha256, "bundle_sha256": bundle_sha256}
    for what, expected in meant.items():
        if record.get(what) != expected:
            raise _refusal(artifact, f"a verdict for {what} {expected[:12]}", f"one for {str(record.get(what))[:12]}")
    if failures:
        raise _refusal(artifact, "parity within the limits", "; ".join(str(failure) for failure in failures))
    return record


def _refusal(artifact: Artifact, expected: str, found: str) -> ParityError:
    return ParityError(
        f"{artifact.variant.name} has not been shown to give the same answers",
        expected=expected,
        found=found,
        where=str(artifact.directory / PARITY),
        fix=_mend(artifact.directory),
    )


def all_passed(run: Path, bundle_sha256: str) -> list[Artifact]:
    """Every artifact of a run, in the table's order. Raises when there is none, or one lacks a passing verdict."""
    directories = [run / "artifacts" / name for name in VARIANTS if (run / "artifacts" / name / MANIFEST).is_file()]
    if not directories:
        raise ManifestError(
            f"{run} has no artifacts",
            expected="at least one converted model",
            found="none",
            where=str(run / "artifacts"),
            fix=f"make export RUN={run}",
        )
    artifacts = [load(directory) for directory in directories]
    for artifact in artifacts:
        verdict(artifact, bundle_sha256)
    return artifacts


def exported(run: Path) -> list[str]:
    """The variants that the run's last complete export made. Raises ManifestError when there was none."""
    path = run / "artifacts" / EXPORTED
    if not path.is_file():
        raise ManifestError(
            f"{run} has no complete export",
            expected=f"{EXPORTED}, written when every variant passed",
            found="no such file",
            where=str(path),
            fix=f"make export RUN={run}",
        )
    return list(json.loads(path.read_text("utf-8"))["variants"])


def skipped(run: Path) -> dict[str, dict[str, str]]:
    """Variant → {"reason", "fix"} of every variant this machine could not make."""
    path = run / "artifacts" / SKIPPED
    found: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _mend(directory: Path) -> str:
    return f"make export RUN={directory.parent.parent}"
