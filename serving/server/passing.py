"""Whether a run's compiled repository is of artifacts that still pass, before anything serves it.

Its manifest says that the files are those that were compiled. A verdict can become worse later: by
`slipway export RUN --compare-only` with other golden rows or limits, or by a conversion anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serving.repository.compiler import BuildSettings
from slipway import errors
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle
from slipway.contract.records import REPOSITORIES, REPOSITORY, TEXT_MODEL, from_json
from slipway.errors import ParityError


@dataclass(frozen=True)
class PassingRun:
    """A run, its repository's manifest, and the artifacts that pass today."""

    source: Bundle
    record: dict[str, Any]
    passed: list[Artifact]
    left_out: dict[str, str]  # variant → why, in a line


def check(run: Path, target: str = "embedded") -> PassingRun:
    """Return the run, if each model that is compiled for the target is of an artifact that passes,
    and of this bundle.

    Its files are held against the manifest, which is quicker than to compile them again, as
    publishing does. Raises ManifestError for missing or changed files, ParityError for a verdict
    that is another by now.
    """
    directory = run / REPOSITORIES[target]
    record = manifest.read(directory, REPOSITORY, _next_step(run, target))
    source = bundle.load(run / "bundle")
    verdicts = artifact.examine(run, source.sha256)  # what is not served may be damaged or gone
    by_name = {f"bert_{converted.variant.name}": converted.sha256 for converted in verdicts.passed}
    settings = built_with(run, record, target)
    names = [f"bert_{record.get(TEXT_MODEL)}", *record.get("models", {})]
    failed = [name.removeprefix("bert_") for name in names if name not in by_name or by_name[name] != record["models"].get(name)]
    if failed or record.get("bundle_sha256") != source.sha256:
        found = [f"{name}: {verdicts.reasons.get(name, 'converted again since')}" for name in dict.fromkeys(failed)]
        wanted = settings.engine if f"bert_{settings.engine}" in by_name else ""
        models = f"models of the artifacts that passed: {', '.join(by_name)}"
        raise unproven(
            run, models, "; ".join(found) or "a repository of another bundle", REPOSITORY, replace(settings, engine=wanted)
        )
    return PassingRun(source, record, verdicts.passed, verdicts.reasons)


def unproven(run: Path, expected: str, found: str, name: str, settings: BuildSettings) -> ParityError:
    """Return the error for a compiled repository that is not what passed; `name` is the file."""
    return ParityError(
        f"the compiled repository of {run} has not been shown to give the same answers",
        expected=expected,
        found=found,
        where=str(run / REPOSITORIES[settings.target] / name),
        fix=settings.command(run),
    )


def _next_step(run: Path, target: str) -> str:
    """Return the first command that a run without a repository lacks."""
    if not (run / "bundle").is_dir():
        return errors.command("train", run, "--corpus", "FILE")
    if not (run / "artifacts").is_dir():
        return errors.command("export", run)
    return errors.command("build", run, *(["--target", target] if target != "embedded" else []))


def built_with(run: Path, record: dict[str, Any], target: str = "embedded") -> BuildSettings:
    """Return what a repository says it was built with. Raises ParityError if that is nothing."""
    try:
        return replace(from_json(BuildSettings, record["built_with"]), target=target)
    except (KeyError, TypeError) as error:
        raise ParityError(
            f"the compiled repository of {run} does not say how it was built",
            expected=f"'built_with' in {REPOSITORY}, to build it again and compare",
            found=repr(error),
            where=str(run / REPOSITORIES[target] / REPOSITORY),
            fix=errors.command("build", run),
        ) from error
