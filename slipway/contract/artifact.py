"""The artifact: one converted model, what it was made from and how, and the verdict on its answers.

artifacts/<variant>/model.onnx      the model file (or directory) of the variant's row
                    artifact.json   the manifest: made from which hash, by which command, where
                    parity.json     the comparison with the reference, written also when it fails
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway import errors
from slipway.contract import manifest
from slipway.contract.parity import judgement
from slipway.contract.parity.comparison import Measured
from slipway.contract.records import from_json
from slipway.contract.variants import VARIANTS, Variant
from slipway.errors import ManifestError, ParityError

MANIFEST = "artifact.json"
PARITY = "parity.json"
EXPORTED = "export.json"  # beside the variants, written when some passed: which, and why others did not
SKIPPED = "skipped.json"  # beside the variants: variant → reason and the command that would provide what is missing

# Of start-up answers, in deviations of all logits. With 1 to 8 threads FP32 and INT8 gave the same
# bits; a wrong file is off by far more.
_TOLERANCE, _LEAST_TOLERANCE = 1e-3, 1e-4


@dataclass(frozen=True)
class StartUp:
    """A row that a served version answers before it is ready, with this artifact's own logits."""

    text: Any  # as golden texts are; None: a row of word pieces
    ids: list[int]
    types: list[int]
    logits: list[list[float]]  # [1, labels]; tagger: [tokens, labels]


@dataclass(frozen=True)
class Artifact:
    directory: Path
    variant: Variant
    sha256: str  # of artifact.json, and through it of the model
    facts: dict[str, Any]  # artifact.json as it is

    @property
    def model(self) -> Path:
        return self.directory / self.variant.model_file


@dataclass(frozen=True)
class Verdicts:
    """A run's artifacts in the table's order, by whether they may be served."""

    passed: list[Artifact]
    left_out: dict[str, str]  # variant → why, in a line
    changed: dict[str, ManifestError]  # variant → what is not as it was sealed

    @property
    def reasons(self) -> dict[str, str]:
        """Variant → why it may not be served, in a line."""
        return self.left_out | {name: error.summary for name, error in self.changed.items()}


def load(directory: Path) -> Artifact:
    """Return the artifact in `directory`, its files checked. Raises ManifestError."""
    fix = _export_command(directory)
    facts = manifest.read(directory, MANIFEST, fix, beside=(PARITY,))
    # Under another variant's name it would be judged by that one's limits.
    if facts.get("variant") != directory.name or directory.name not in VARIANTS:
        raise ManifestError(
            f"{directory} holds something else",
            expected=f"the variant {directory.name}, one of {', '.join(VARIANTS)}",
            found=str(facts.get("variant")),
            where=str(directory / MANIFEST),
            fix=fix,
        )
    return Artifact(directory, VARIANTS[facts["variant"]], manifest.sha256(directory / MANIFEST), facts)


def verdict(artifact: Artifact, bundle_sha256: str) -> dict[str, Any]:
    """Return parity.json, if the artifact passed: exactly this artifact, for exactly this bundle.

    The verdict is judged again from the counts, with today's limits. Raises ParityError.
    """
    path = artifact.directory / PARITY
    if not path.is_file():
        raise _refusal(artifact, "a parity verdict", "no parity.json")
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        failures = judgement.judge_artifact(from_json(Measured, record), artifact.variant)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise _refusal(artifact, "a parity record", f"one that cannot be read: {error!r}") from error
    subject = {"variant": artifact.variant.name, "artifact_sha256": artifact.sha256, "bundle_sha256": bundle_sha256}
    for name, expected in subject.items():
        if record.get(name) != expected:
            raise _refusal(artifact, f"a verdict for {name} {expected[:12]}", f"one for {str(record.get(name))[:12]}")
    if failures:
        raise _refusal(artifact, "parity within the limits", judgement.reason(failures))
    if problem := _start_up_problem(record):
        raise _refusal(artifact, "the answers that a served version is compared with at every load", problem)
    if worse := _worse_origin(artifact):
        raise _refusal(artifact, "an origin that is not worse", f"made from {worse}, which is shown to be worse")
    return record


def start_up_tolerance(record: dict[str, Any]) -> float:
    """Return the |Δlogit| allowed where the start-up rows of a parity record are answered again."""
    return float(max(_TOLERANCE * record["logit_spread"], _LEAST_TOLERANCE))


def _start_up_problem(record: dict[str, Any]) -> str:
    """Return why the rows that a served version answers when it is loaded prove nothing, or ""."""
    try:
        rows = from_json(list[StartUp], record["start_up"])
        logits = [logit for row in rows for answer in row.logits for logit in answer]
        if not rows:
            return "none"
        if not all(row.ids and row.logits and all(row.logits) for row in rows):
            return "a row without ids or logits"
        return "" if all(map(math.isfinite, logits)) and any(logits) else "logits that say nothing"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"none that can be read: {error!r}"


def _worse_origin(artifact: Artifact) -> str:
    """Return the variant among an artifact's origins that is shown to be worse, or "".

    Wider limits would let its fault through: INT8 is made from FP32, and forgives more.
    """
    name = artifact.variant.made_from
    while name in VARIANTS:
        path = artifact.directory.parent / name / PARITY
        if path.is_file():
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
                measured = from_json(Measured, json.loads(path.read_text("utf-8")))
                if judgement.verdict(judgement.judge_artifact(measured, VARIANTS[name])) == judgement.WORSE:
                    return name
        name = VARIANTS[name].made_from
    return ""


def _refusal(artifact: Artifact, expected: str, found: str) -> ParityError:
    again = _export_command(artifact.directory, "--variant", artifact.variant.name)
    return ParityError(
        f"{artifact.variant.name} has not been shown to give the same answers",
        expected=expected,
        found=found,
        where=str(artifact.directory / PARITY),
        fix=f"do without it: the variants that passed are built and served; or convert it anew: {again}",
    )


def examine(run: Path, bundle_sha256: str) -> Verdicts:
    """Look at every artifact of a run, and at its verdict for that bundle."""
    verdicts = Verdicts([], {}, {})
    for directory in _directories(run):
        try:
            artifact = load(directory)
            verdict(artifact, bundle_sha256)
            verdicts.passed.append(artifact)
        except ParityError as error:
            verdicts.left_out[directory.name] = error.found
        except ManifestError as error:
            verdicts.changed[directory.name] = error
    return verdicts


def verdicts(run: Path, bundle_sha256: str) -> Verdicts:
    """Return what of a run's artifacts may be served; at least one passed.

    Raises ManifestError when there is no artifact or one was changed, ParityError when none passed.
    """
    examined = examine(run, bundle_sha256)
    for error in examined.changed.values():
        raise error
    if examined.passed:
        return examined
    if not examined.left_out:
        raise ManifestError(
            f"{run} has no artifacts",
            expected="at least one converted model",
            found="none",
            where=str(run / "artifacts"),
            fix=errors.command("export", run),
        )
    raise ParityError(
        f"no variant of {run} has been shown to give the same answers",
        expected="at least one that passed the gate",
        found="; ".join(f"{name}: {why}" for name, why in examined.left_out.items()),
        where=str(run / "artifacts"),
        fix=f"{errors.command('export', run)}, which says for each what would make it pass",
    )


def _directories(run: Path) -> list[Path]:
    return [run / "artifacts" / name for name in VARIANTS if (run / "artifacts" / name / MANIFEST).is_file()]


def exported(run: Path) -> list[str]:
    """Return the variants of the run's last complete export. Raises ManifestError without one."""
    path = run / "artifacts" / EXPORTED
    if not path.is_file():
        raise ManifestError(
            f"{run} has no complete export",
            expected=f"{EXPORTED}, written when a variant passed",
            found="no such file",
            where=str(path),
            fix=errors.command("export", run),
        )
    return list(manifest.read_json(path, errors.command("export", run), "variants")["variants"])


def skipped(run: Path) -> dict[str, dict[str, str]]:
    """Return variant → {"reason", "fix"} of every variant this machine could not make."""
    path = run / "artifacts" / SKIPPED
    return dict(manifest.read_json(path, errors.command("export", run))) if path.is_file() else {}


def _export_command(directory: Path, *options: str) -> str:
    return errors.command("export", directory.parent.parent, *options)
