"""What a benchmark serves: the run's own models, text_<variant> for every other variant that passed, and the usual baselines.

A repository beside the run's, of links: nothing of the run is changed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import artifact
from export.artifact import Artifact
from serving import embedded_models, model_config, repository_models, usual_models
from serving.embedded_models import Share
from serving.records import REPOSITORY, TEXT_MODEL
from train import bundle, manifest, provenance
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
    provider: str = embedded_models.PROVIDER

    def facts(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "name"}


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


def subjects(of: Origin, cuda: bool) -> list[Subject]:
    """All that could be measured of a run, text_classifier first; with `cuda` also variants that were made for a GPU, on it."""
    main = of.served[TEXT_MODEL]
    others = [name for name in embedded_models.FASTEST_FIRST if name in of.artifacts and name != main]
    on_gpu = [name for name, one in of.artifacts.items() if cuda and embedded_models.CUDA in one.variant.providers]
    ids = sorted(of.served["models"], key=lambda name: name != f"bert_{main}")
    return [
        Subject(TEXT_MODEL, "text", main, False, f"text in, label out, on {main}: what `make serve` serves"),
        *(Subject(f"text_{name}", "text", name, False, f"text in, label out, on {name}") for name in others),
        *(
            Subject(f"text_{name}_cuda", "text", name, False, f"text in, label out, on {name} on the GPU", embedded_models.CUDA)
            for name in on_gpu
        ),
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
            made = of.artifacts[str(one.variant)]
            embedded_models.write_text_model(repository, made, of.source, share, name=one.name, provider=one.provider)
        else:
            usual_models.link_tree(of.run / "model_repository" / one.name, repository / one.name)
    manifest.seal(repository, REPOSITORY, {TEXT_MODEL: of.served[TEXT_MODEL], "models": {}})


def _share(run: Path) -> Share:
    """Processes and threads of the run's text_classifier: every subject of texts gets as much of the machine."""
    model = run / "model_repository" / TEXT_MODEL
    config = model_config.read((model / repository_models.CONFIG).read_text("utf-8"))
    settings = json.loads((model / "1" / "settings.json").read_text("utf-8"))
    return Share(config.instance_group[0].count, settings["threads"])


def no_cuda() -> str:
    """Why nothing is measured on a GPU; "" where it can be."""
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA GPU: nvidia-smi is not there"
    if "onnxruntime-gpu" not in provenance.versions("onnxruntime"):
        return "ONNX Runtime was built for the CPU alone; pip install -r benchmarks/gpu/requirements.txt has the other"
    return ""


def left_out(of: Origin, found: list[Subject], no_cuda: str) -> dict[str, str]:
    """Of the variants that passed those that answer no text here → why."""
    served = {one.variant for one in found if one.kind == "text"}
    others = {name: one for name, one in of.artifacts.items() if name not in served}
    why = {name: no_cuda if embedded_models.CUDA in one.variant.providers else "" for name, one in others.items()}
    return {f"text_{name}": said or "only NVIDIA's container runs it" for name, said in why.items()}


def chosen(found: list[Subject], names: list[str], run: Path) -> tuple[list[Subject], dict[str, str]]:
    """Those of these names and text_classifier, or all; and why some cannot be measured. Raises ManifestError for another name."""
    if strange := sorted(set(names) - {one.name for one in found}):
        raise ManifestError(
            "there is no such model to measure",
            expected=", ".join(one.name for one in found),
            found=", ".join(strange),
            where=str(run),
            fix=f"make repository RUN={run}, or other --subjects",
        )
    wanted = [one for one in found if one.name in (TEXT_MODEL, *names) or not names]
    skipped = {one.name: usual_models.why_not(one.name) for one in wanted if one.baseline}
    skipped = {name: why for name, why in skipped.items() if why}
    return [one for one in wanted if one.name not in skipped], skipped
