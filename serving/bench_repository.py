"""What a benchmark serves: the run's own models, text_<variant> for every other variant that passed, and the usual baselines.

A repository beside the run's, of links: nothing of the run is changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import artifact
from export.artifact import Artifact
from serving import embedded_models, model_config, repository_models, usual_models
from serving.embedded_models import Share
from serving.records import REPOSITORY, TEXT_MODEL
from train import bundle, manifest
from train.bundle import Bundle
from train.errors import ManifestError

REFERENCE = usual_models.SAVED_MODEL  # what all variants were compared with


@dataclass(frozen=True)
class Subject:
    """A model that is measured."""

    name: str
    kind: str  # text, ids
    variant: str | None  # None: no variant of ours
    baseline: bool
    what: str

    def facts(self) -> dict[str, Any]:
        return {"kind": self.kind, "variant": self.variant, "baseline": self.baseline, "what": self.what}


@dataclass(frozen=True)
class Origin:
    """A run whose every file was checked once."""

    run: Path
    source: Bundle
    served: dict[str, Any]  # the manifest of its repository
    artifacts: dict[str, Artifact]  # that passed, by variant


def origin(run: Path) -> Origin:
    """Raises ManifestError or ParityError for what is missing, changed, or without a passing verdict."""
    source = bundle.load(run / "bundle")
    served = manifest.read(run / "model_repository", REPOSITORY, f"make repository RUN={run}")
    return Origin(run, source, served, {one.variant.name: one for one in artifact.all_passed(run, source.sha256)})


def subjects(of: Origin) -> list[Subject]:
    """All that could be measured of a run, text_classifier first."""
    main = of.served[TEXT_MODEL]
    others = [name for name in embedded_models.FASTEST_FIRST if name in of.artifacts and name != main]
    ids = sorted(of.served["models"], key=lambda name: name != f"bert_{main}")
    return [
        Subject(TEXT_MODEL, "text", main, False, f"text in, label out, on {main}: what `make serve` serves"),
        *(Subject(f"text_{name}", "text", name, False, f"text in, label out, on {name}") for name in others),
        *(Subject(name, "ids", name.removeprefix("bert_"), False, "ids in, logits out: the client tokenizes") for name in ids),
        *(Subject(name, "text", None, True, what) for name, what in usual_models.WHAT.items()),
    ]


def write(repository: Path, of: Origin, wanted: list[Subject]) -> None:
    """A repository of the subjects. Raises ConversionError as usual_models."""
    share = _share(of.run)
    repository.mkdir()
    for one in wanted:
        if one.baseline:
            usual_models.write(repository, one.name, of.run, of.source, share)
        elif one.kind == "text" and one.name != TEXT_MODEL:
            embedded_models.write_text_model(repository, of.artifacts[str(one.variant)], of.source, share, name=one.name)
        else:
            usual_models.link_tree(of.run / "model_repository" / one.name, repository / one.name)
    manifest.seal(repository, REPOSITORY, {TEXT_MODEL: of.served[TEXT_MODEL], "models": {}})


def _share(run: Path) -> Share:
    """Processes and threads of the run's text_classifier: every subject of texts gets as much of the machine."""
    model = run / "model_repository" / TEXT_MODEL
    config = model_config.read((model / repository_models.CONFIG).read_text("utf-8"))
    settings = json.loads((model / "1" / "settings.json").read_text("utf-8"))
    return Share(config.instance_group[0].count, settings["threads"])


def chosen(found: list[Subject], names: list[str], run: Path) -> tuple[list[Subject], dict[str, str]]:
    """Those of these names, or all; and of the others that cannot be measured here, why. Raises ManifestError for a name of none."""
    if strange := sorted(set(names) - {one.name for one in found}):
        raise ManifestError(
            "there is no such model to measure",
            expected=", ".join(one.name for one in found),
            found=", ".join(strange),
            where=str(run),
            mend=f"make repository RUN={run}, or other --subjects",
        )
    wanted = [one for one in found if one.name in names or not names]
    skipped = {one.name: usual_models.why_not(one.name) for one in wanted if one.baseline}
    skipped = {name: why for name, why in skipped.items() if why}
    return [one for one in wanted if one.name not in skipped], skipped
