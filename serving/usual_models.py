"""Two baselines behind the same text front end, both padded to the longest sequence.

tf2onnx's own graph is made by `python -m export.tensorflow_graph` once, into RUN/baseline/, for
that takes TensorFlow and half a minute. The other is the SavedModel itself.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from serving import embedded_models
from serving.embedded_models import Share
from serving.model_config import Instances
from serving.records import TEXT_MODEL
from train import errors, manifest
from train.bundle import Bundle
from train.errors import ConversionError, ManifestError

# "usual" stands in records that were written: the names stay
TF2ONNX, SAVED_MODEL = "usual_tf2onnx", "usual_savedmodel"
BASELINES = {
    TF2ONNX: "tf2onnx's own graph in FP32 on ONNX Runtime, every text padded to the longest sequence",
    SAVED_MODEL: "the SavedModel itself in TensorFlow, every text padded to the longest sequence",
}
_MANIFEST, _GRAPH = "baseline.json", "tf2onnx.onnx"


def why_no_baseline(name: str) -> str:
    """Return why a baseline cannot run here; "" where it can."""
    if importlib.util.find_spec("tensorflow") is None:
        return f"{name} needs TensorFlow, which is not in this environment: make setup"
    return ""


def write_baseline(repository: Path, name: str, run: Path, source: Bundle, share: Share) -> None:
    """Write the baseline `name` as a model of a repository.

    Raises ConversionError when tf2onnx cannot convert the SavedModel.
    """
    config = replace(embedded_models.text_config(source), name=name, instances=Instances(count=share.processes))
    version = config.write(repository)
    embedded_models.copy_modules(version, "text_model.py", "baseline_engine.py")
    embedded_models.copy_vocabulary(version, source)
    if name == TF2ONNX:
        manifest.link(_tf2onnx_graph(run, source), version / "model.onnx")
    else:
        link_tree(source.saved_model, version / "saved_model")
    settings = {
        "engine": "baseline",
        "provider": embedded_models.PROVIDER,
        "threads": share.threads_each,
        "golden": embedded_models.golden_ids(source),
        **embedded_models.text_settings(source),
    }
    manifest.write_json(version / "settings.json", settings)


def link_tree(source: Path, target: Path) -> None:
    """Link the files below `source` below `target`, without Python's caches."""
    for name, path in manifest.files(source).items():
        if path.parent.name != "__pycache__":
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            manifest.link(path, target / name)


def _tf2onnx_graph(run: Path, source: Bundle) -> Path:
    """Return the ONNX file of this bundle, converted unless it is there."""
    kept = run / "baseline"
    with suppress(ManifestError):  # converted anew
        if kept.exists() and manifest.read(kept, _MANIFEST, fix="")["bundle_sha256"] == source.sha256:
            return kept / _GRAPH
    print("            tf2onnx converts the SavedModel for the baseline, once", flush=True)
    with manifest.atomic_directory(kept) as building, tempfile.TemporaryDirectory(dir=building.parent) as scratch:
        command = [sys.executable, "-m", "export.tensorflow_graph", str(source.saved_model), scratch]
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
