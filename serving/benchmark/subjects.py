"""The models of a benchmark: what a run serves, its other variants, and two baselines.

The baselines have the same text front end and pad every text to the longest sequence. One is
tf2onnx's own graph, converted once into RUN/baseline/; the other is the SavedModel itself.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serving import model_config
from serving.benchmark.record import MeasuredModel
from serving.model_config import Instances
from serving.repository import embedded, engines
from serving.repository.embedded import Share
from serving.server import passing
from slipway import errors, provenance
from slipway.contract import bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.errors import ConversionError, ManifestError
from slipway.lint import models

# "usual" stands in records that were written: the names stay
TF2ONNX, SAVED_MODEL = "usual_tf2onnx", "usual_savedmodel"
BASELINES = {
    TF2ONNX: "tf2onnx's own graph in FP32 on ONNX Runtime, every text padded to the longest sequence",
    SAVED_MODEL: "the SavedModel itself in TensorFlow, every text padded to the longest sequence",
}
_MANIFEST, _GRAPH = "baseline.json", "tf2onnx.onnx"


@dataclass(frozen=True)
class CheckedRun:
    """A run whose every file was checked once."""

    run: Path
    source: Bundle
    golden: Golden
    served: dict[str, Any]  # the manifest of its repository
    artifacts: dict[str, Artifact]  # that passed, by variant
    engines: tuple[str, ...]  # variants that answer texts in the embedded server, the fastest first
    left_out: dict[str, str]  # variant → why it did not pass


def check_run(run: Path) -> CheckedRun:
    """Return the run. Raises ManifestError for what is missing, ParityError where nothing passed,
    or something is served that did not.
    """
    checked = passing.check(run)
    source, golden = checked.source, bundle.load_golden(checked.source)
    passed = {converted.variant.name: converted for converted in checked.passed}
    names = tuple(converted.variant.name for converted in engines.by_speed(checked.passed, source, golden))
    return CheckedRun(run, source, golden, checked.record, passed, names, checked.left_out)


def all_subjects(checked: CheckedRun, cuda: bool) -> list[MeasuredModel]:
    """Return all that can be measured, text_classifier first; `cuda`: the GPU's variants too."""
    main = checked.served[TEXT_MODEL]
    others = [name for name in checked.engines if name != main]
    on_gpu = [name for name in checked.artifacts if cuda and _made_for_gpu(checked, name)]
    ids = sorted(checked.served["models"], key=lambda name: name != f"bert_{main}")
    what = "text in, label out, on {}"
    subjects = [MeasuredModel(TEXT_MODEL, "text", main, False, what.format(main) + ": what `slipway serve` serves")]
    subjects += [MeasuredModel(f"text_{name}", "text", name, False, what.format(name)) for name in others]
    subjects += [
        MeasuredModel(f"text_{name}_cuda", "text", name, False, what.format(name) + " on the GPU", engines.CUDA) for name in on_gpu
    ]
    what = "ids in, logits out: the client tokenizes"
    subjects += [MeasuredModel(name, "ids", name.removeprefix("bert_"), False, what) for name in ids]
    return subjects + [MeasuredModel(name, "text", None, True, what) for name, what in BASELINES.items()]


def _made_for_gpu(checked: CheckedRun, variant: str) -> bool:
    return engines.CUDA in checked.artifacts[variant].variant.providers


def choose_subjects(subjects: list[MeasuredModel], names: list[str], run: Path) -> tuple[list[MeasuredModel], dict[str, str]]:
    """Return text_classifier and those named, or all; and why others are skipped."""
    if unknown := sorted(set(names) - {subject.name for subject in subjects}):
        raise ManifestError(
            "there is no such model to measure",
            expected=", ".join(subject.name for subject in subjects),
            found=", ".join(unknown),
            where=str(run),
            fix=f"{errors.command('build', run)}, or other --subjects",
        )
    wanted = [subject for subject in subjects if subject.name in (TEXT_MODEL, *names) or not names]
    why = {subject.name: why_no_baseline(subject.name) for subject in wanted if subject.baseline}
    skipped = {name: reason for name, reason in why.items() if reason}
    return [subject for subject in wanted if subject.name not in skipped], skipped


def variants_left_out(checked: CheckedRun, subjects: list[MeasuredModel], no_cuda: str) -> dict[str, str]:
    """Return text_<variant> → why, for the variants that did not pass or answer no text here."""
    served = {subject.variant for subject in subjects if subject.kind == "text"}
    unserved = {
        f"text_{name}": (no_cuda if _made_for_gpu(checked, name) else "") or "only NVIDIA's container runs it"
        for name in checked.artifacts
        if name not in served
    }
    return unserved | {f"text_{name}": why for name, why in checked.left_out.items()}


def why_no_cuda() -> str:
    """Return why nothing is measured on a GPU; "" where it can be."""
    if missing := provenance.missing_gpu():
        return ", ".join(missing)
    if "onnxruntime-gpu" not in provenance.versions("onnxruntime"):
        return "ONNX Runtime was built for the CPU alone; pip install -r requirements/gpu.txt has the other"
    return ""


def why_no_baseline(name: str) -> str:
    """Return why a baseline cannot run here; "" where it can."""
    if importlib.util.find_spec("tensorflow") is None:
        return f"{name} needs TensorFlow, which is not in this environment: make setup"
    return ""


def write_subjects(repository: Path, checked: CheckedRun, subjects: list[MeasuredModel]) -> None:
    """Write a repository of the subjects. Raises ConversionError as write_baseline."""
    share = _share(checked.run)
    repository.mkdir()
    for subject in subjects:
        if subject.baseline:
            write_baseline(repository, subject.name, checked, share)
        elif subject.kind == "text" and subject.name != TEXT_MODEL:
            variant = checked.artifacts[str(subject.variant)]
            embedded.write_text_model(
                repository,
                variant,
                checked.source,
                checked.golden,
                share,
                name=subject.name,
                provider=subject.provider,
            )
        else:
            manifest.link_tree(checked.run / "model_repository" / subject.name, repository / subject.name)
    manifest.seal(repository, REPOSITORY, {TEXT_MODEL: checked.served[TEXT_MODEL], "models": {}})


def _share(run: Path) -> Share:
    """Return the run's text_classifier's processes and threads, which every text subject gets."""
    model = run / "model_repository" / TEXT_MODEL
    config = model_config.read((model / models.CONFIG).read_text("utf-8"))
    settings = json.loads((model / "1" / "settings.json").read_text("utf-8"))
    return Share(config.instance_group[0].count, settings["threads"])


def write_baseline(repository: Path, name: str, checked: CheckedRun, share: Share) -> None:
    """Write a baseline as a model. Raises ConversionError when tf2onnx fails."""
    source = checked.source
    config = replace(embedded.text_config(source), name=name, instances=Instances(count=share.processes))
    version = config.write(repository)
    embedded.copy_modules(version, "text_model.py", "baseline_engine.py")
    embedded.copy_vocabulary(version, source)
    if name == TF2ONNX:
        manifest.link(_tf2onnx_graph(checked.run, source), version / "model.onnx")
    else:
        manifest.link_tree(source.saved_model, version / "saved_model")
    settings = {
        "engine": "baseline",
        "provider": embedded.PROVIDER,
        "threads": share.threads_each,
        "start_up": embedded.start_up_rows(checked.golden),
        **embedded.text_settings(source),
    }
    manifest.write_json(version / "settings.json", settings)


def _tf2onnx_graph(run: Path, source: Bundle) -> Path:
    """Return the ONNX file of this bundle, converted unless it is there."""
    kept = run / "baseline"
    with suppress(ManifestError):  # converted anew
        if kept.exists() and manifest.read(kept, _MANIFEST, fix="")["bundle_sha256"] == source.sha256:
            return kept / _GRAPH
    print("            tf2onnx converts the SavedModel for the baseline, once", flush=True)
    with manifest.atomic_directory(kept) as building, tempfile.TemporaryDirectory(dir=building.parent) as scratch:
        command = [sys.executable, "-m", "export.graph.tf2onnx_process", str(source.saved_model), scratch]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            raise ConversionError(
                "tf2onnx could not convert the SavedModel for the baseline",
                expected="an ONNX file",
                found="\n    ".join(done.stderr.splitlines()[-8:]) or f"exit status {done.returncode}",
                where=str(source.saved_model),
                fix=f"{errors.command('bench', run, '--subjects', TEXT_MODEL)}, or other subjects than {TF2ONNX}",
            )
        (Path(scratch) / _GRAPH).rename(building / _GRAPH)
        manifest.seal(building, _MANIFEST, {"bundle_sha256": source.sha256, "command": command[1:3]})
    return kept / _GRAPH
