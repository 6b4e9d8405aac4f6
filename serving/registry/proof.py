"""A run's compiled repository, and the proof that its very files gave the reference's answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import model_config
from slipway import errors
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.errors import ManifestError, ParityError
from slipway.lint.models import CONFIG, listed, read_models


@dataclass(frozen=True)
class Origin:
    """The run, bundle and artifacts that a repository was compiled from."""

    run: str
    bundle_sha256: str
    repository_sha256: str
    artifacts: dict[str, str]  # variant → sha256 of its artifact.json
    variants: dict[str, str]  # model → the variant behind it
    labels: list[str]


@dataclass(frozen=True)
class Compiled:
    """A compiled repository that may be published."""

    directory: Path
    origin: Origin

    @property
    def models(self) -> list[str]:
        return list(self.origin.variants)

    def config(self, model: str) -> Any:
        """Return the model's ModelConfig."""
        return model_config.read((self.directory / model / CONFIG).read_text("utf-8"))


def proven(run: Path) -> Compiled:
    """Return the run's compiled repository, if all its models have passed parity.

    Raises ManifestError when files are missing or changed; ParityError when a model is not the very
    file that passed, or was compiled with a vocabulary or labels that are not the bundle's.
    """
    source = bundle.load(run / "bundle")
    directory = run / "model_repository"
    record = manifest.read(directory, REPOSITORY, errors.command("build", run))
    passed = {converted.sha256: converted for converted in artifact.all_passed(run, source.sha256)}
    compiled_from = str(record.get("bundle_sha256"))
    if compiled_from != source.sha256:
        raise _unproven(run, f"compiled from the bundle {source.sha256[:12]}", f"from {compiled_from[:12]}", REPOSITORY)
    variants = {model: _proven_variant(run, model, source, passed, record["files"]) for model in read_models(directory)}
    if TEXT_MODEL not in variants:
        raise _unproven(run, f"a model {TEXT_MODEL}", listed(variants), REPOSITORY)
    origin = Origin(
        run=str(run.resolve()),
        bundle_sha256=source.sha256,
        repository_sha256=manifest.sha256(directory / REPOSITORY),
        artifacts={model.variant.name: sha256 for sha256, model in passed.items() if model.variant.name in variants.values()},
        variants=variants,
        labels=list(source.labels),
    )
    return Compiled(directory, origin)


def _proven_variant(run: Path, model: str, source: Bundle, passed: dict[str, Artifact], files: dict[str, str]) -> str:
    """Return a model's variant if its files, path → sha256 in `files`, are the compared ones."""
    settings = json.loads((run / "model_repository" / model / "1" / "settings.json").read_text("utf-8"))
    sha256 = settings["artifact_sha256"]
    converted = passed.get(sha256)
    if converted is None:
        raise _unproven(run, "an artifact that passed parity", f"the artifact {sha256[:12]}, which did not", model)
    variant = converted.variant
    compared = {
        variant.model_file: converted.facts["files"][variant.model_file],
        "vocab.txt": source.vocabulary_sha256,
        "labels.txt": source.facts["files"]["labels.txt"],
    }
    for name, expected in compared.items():
        path = f"{model}/1/{name}"
        if files.get(path) != expected:
            raise _unproven(run, f"{name} of sha256 {expected[:12]}, which was compared", str(files.get(path))[:12], path)
    return variant.name


def _unproven(run: Path, expected: str, found: str, at: str) -> ParityError:
    return ParityError(
        f"the compiled repository of {run} has not been shown to give the same answers",
        expected=expected,
        found=found,
        where=str(run / "model_repository" / at),
        fix=errors.command("build", run),
    )


def golden_source(origin: Origin, publish: str) -> Bundle:
    """Return a version's bundle. A ManifestError names `publish`, which publishes its run again."""
    directory = Path(origin.run) / "bundle"
    source = bundle.load(directory)
    if source.sha256 != origin.bundle_sha256:
        raise ManifestError(
            "the version's run has been trained again",
            expected=f"the bundle {origin.bundle_sha256[:12]}, whose golden rows it was compared on",
            found=f"the bundle {source.sha256[:12]}",
            where=str(directory),
            fix=f"{errors.command('export', origin.run)} && {errors.command('build', origin.run)} && {publish}",
        )
    return source
