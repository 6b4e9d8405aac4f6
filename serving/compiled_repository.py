"""A run's own compiled repository, and the proof that exactly what lies in it gave the reference's answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import artifact
from export.artifact import Artifact
from serving import model_config, repository_models
from serving.records import REPOSITORY, TEXT_MODEL
from serving.repository_models import CONFIG
from train import bundle, manifest
from train.bundle import Bundle
from train.errors import ManifestError, ParityError


@dataclass(frozen=True)
class Compiled:
    directory: Path
    variants: dict[str, str]  # model → the variant behind it
    facts: dict[str, Any]  # where it came from, as a published version records it

    @property
    def models(self) -> list[str]:
        return list(self.variants)

    def config(self, model: str) -> Any:
        """Its ModelConfig."""
        return model_config.read((self.directory / model / CONFIG).read_text("utf-8"))


def proven(run: Path) -> Compiled:
    """The run's compiled repository.

    Raises ManifestError when files are missing or changed; ParityError when a model in it is not the very file that passed, or was
    compiled with other words or labels than the bundle's.
    """
    source = bundle.load(run / "bundle")
    directory = run / "model_repository"
    record = manifest.read(directory, REPOSITORY, _mend(run))
    passed = {one.sha256: one for one in artifact.all_passed(run, source.sha256)}
    if record.get("bundle_sha256") != source.sha256:
        raise _refusal(
            run, f"compiled from the bundle {source.sha256[:12]}", f"from {str(record.get('bundle_sha256'))[:12]}", REPOSITORY
        )
    variants = {model: _proven(run, model, source, passed, record["files"]) for model in repository_models.read(directory)}
    if TEXT_MODEL not in variants:
        raise _refusal(run, f"a model {TEXT_MODEL}", ", ".join(variants) or "none", REPOSITORY)
    facts = {
        "run": str(run.resolve()),
        "bundle_sha256": source.sha256,
        "repository_sha256": manifest.sha256(directory / REPOSITORY),
        "artifacts": {one.variant.name: one.sha256 for one in passed.values() if one.variant.name in variants.values()},
        "variants": variants,
        "labels": source.labels,
    }
    return Compiled(directory, variants, facts)


def _proven(run: Path, model: str, source: Bundle, passed: dict[str, Artifact], files: dict[str, str]) -> str:
    """The variant behind a model, whose file, words and labels are those that were compared."""
    settings = json.loads((run / "model_repository" / model / "1" / "settings.json").read_text("utf-8"))
    one = passed.get(settings["artifact_sha256"])
    if one is None:
        raise _refusal(run, "an artifact that passed parity", f"one of {settings['artifact_sha256'][:12]}, which did not", model)
    meant = {
        one.variant.model_file: one.facts["files"][one.variant.model_file],
        "vocab.txt": source.vocabulary_sha256,
        "labels.txt": source.facts["files"]["labels.txt"],
    }
    for name, expected in meant.items():
        if (found := files.get(f"{model}/1/{name}")) != expected:
            raise _refusal(run, f"{name} of sha256 {expected[:12]}, which was compared", str(found)[:12], f"{model}/1/{name}")
    return one.variant.name


def _refusal(run: Path, expected: str, found: str, at: str) -> ParityError:
    return ParityError(
        f"what {run} has compiled has not been shown to give the same answers",
        expected=expected,
        found=found,
        where=str(run / "model_repository" / at),
        fix=_mend(run),
    )


def _mend(run: Path) -> str:
    return f"make repository RUN={run}"


def golden_source(facts: dict[str, Any]) -> Bundle:
    """The bundle that a published version came from. Raises ManifestError when it is gone, or is another one by now."""
    directory = Path(facts["run"]) / "bundle"
    source = bundle.load(directory)
    if source.sha256 != facts["bundle_sha256"]:
        raise ManifestError(
            "the version's run has been trained again",
            expected=f"the bundle {facts['bundle_sha256'][:12]}, whose golden rows it was compared on",
            found=f"the bundle {source.sha256[:12]}",
            where=str(directory),
            fix=f"make repository publish RUN={facts['run']}",
        )
    return source
