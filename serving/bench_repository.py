"""The subjects of a benchmark, and the repository that serves them.

They are the run's own models, text_<variant> for every other variant that passed, and the
baselines. The repository lies beside the run's and is made of links: nothing of the run changes.
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
from serving.benchmark_record import MeasuredModel
from serving.embedded_models import Share
from serving.records import REPOSITORY, TEXT_MODEL
from train import bundle, errors, manifest, provenance
from train.bundle import Bundle
from train.errors import ManifestError


@dataclass(frozen=True)
class CheckedRun:
    """A run whose every file was checked once."""

    run: Path
    source: Bundle
    served: dict[str, Any]  # the manifest of its repository
    artifacts: dict[str, Artifact]  # that passed, by variant


def check_run(run: Path) -> CheckedRun:
    """Return the run. Raises ManifestError or ParityError for what is missing or did not pass."""
    source = bundle.load(run / "bundle")
    served = manifest.read(run / "model_repository", REPOSITORY, errors.command("build", run))
    passed = {variant.variant.name: variant for variant in artifact.all_passed(run, source.sha256)}
    return CheckedRun(run, source, served, passed)


def all_subjects(checked: CheckedRun, cuda: bool) -> list[MeasuredModel]:
    """Return all that can be measured of a run, text_classifier first.

    With `cuda` also variants that were made for a GPU, on it.
    """
    main = checked.served[TEXT_MODEL]
    others = [name for name in embedded_models.FASTEST_FIRST if name in checked.artifacts and name != main]
    on_gpu = [name for name in checked.artifacts if cuda and _made_for_gpu(checked, name)]
    ids = sorted(checked.served["models"], key=lambda name: name != f"bert_{main}")
    what = "text in, label out, on {}"
    subjects = [MeasuredModel(TEXT_MODEL, "text", main, False, what.format(main) + ": what `slipway serve` serves")]
    subjects += [MeasuredModel(f"text_{name}", "text", name, False, what.format(name)) for name in others]
    subjects += [
        MeasuredModel(f"text_{name}_cuda", "text", name, False, what.format(name) + " on the GPU", embedded_models.CUDA)
        for name in on_gpu
    ]
    what = "ids in, logits out: the client tokenizes"
    subjects += [MeasuredModel(name, "ids", name.removeprefix("bert_"), False, what) for name in ids]
    return subjects + [MeasuredModel(name, "text", None, True, what) for name, what in usual_models.BASELINES.items()]


def _made_for_gpu(checked: CheckedRun, variant: str) -> bool:
    return embedded_models.CUDA in checked.artifacts[variant].variant.providers


def write_subjects(repository: Path, checked: CheckedRun, subjects: list[MeasuredModel]) -> None:
    """Write a repository of the subjects. Raises ConversionError as write_baseline."""
    share = _share(checked.run)
    repository.mkdir()
    for subject in subjects:
        if subject.baseline:
            usual_models.write_baseline(repository, subject.name, checked.run, checked.source, share)
        elif subject.kind == "text" and subject.name != TEXT_MODEL:
            variant = checked.artifacts[str(subject.variant)]
            embedded_models.write_text_model(
                repository, variant, checked.source, share, name=subject.name, provider=subject.provider
            )
        else:
            usual_models.link_tree(checked.run / "model_repository" / subject.name, repository / subject.name)
    manifest.seal(repository, REPOSITORY, {TEXT_MODEL: checked.served[TEXT_MODEL], "models": {}})


def _share(run: Path) -> Share:
    """Return the run's text_classifier's processes and threads, which every text subject gets."""
    model = run / "model_repository" / TEXT_MODEL
    config = model_config.read((model / repository_models.CONFIG).read_text("utf-8"))
    settings = json.loads((model / "1" / "settings.json").read_text("utf-8"))
    return Share(config.instance_group[0].count, settings["threads"])


def why_no_cuda() -> str:
    """Return why nothing is measured on a GPU; "" where it can be."""
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA GPU: nvidia-smi is not there"
    if "onnxruntime-gpu" not in provenance.versions("onnxruntime"):
        return "ONNX Runtime was built for the CPU alone; pip install -r benchmarks/gpu/requirements.txt has the other"
    return ""


def variants_left_out(checked: CheckedRun, subjects: list[MeasuredModel], no_cuda: str) -> dict[str, str]:
    """Return text_<variant> → why, for the variants that passed and answer no text here."""
    served = {subject.variant for subject in subjects if subject.kind == "text"}
    return {
        f"text_{name}": (no_cuda if _made_for_gpu(checked, name) else "") or "only NVIDIA's container runs it"
        for name in checked.artifacts
        if name not in served
    }


def choose_subjects(subjects: list[MeasuredModel], names: list[str], run: Path) -> tuple[list[MeasuredModel], dict[str, str]]:
    """Return text_classifier and the subjects of these names, or all; and why others are skipped.

    Raises ManifestError for a name that no subject has.
    """
    if unknown := sorted(set(names) - {subject.name for subject in subjects}):
        raise ManifestError(
            "there is no such model to measure",
            expected=", ".join(subject.name for subject in subjects),
            found=", ".join(unknown),
            where=str(run),
            fix=f"{errors.command('build', run)}, or other --subjects",
        )
    wanted = [subject for subject in subjects if subject.name in (TEXT_MODEL, *names) or not names]
    why = {subject.name: usual_models.why_no_baseline(subject.name) for subject in wanted if subject.baseline}
    skipped = {name: reason for name, reason in why.items() if reason}
    return [subject for subject in wanted if subject.name not in skipped], skipped
