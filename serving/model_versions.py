"""The versions of one model in a published repository: its directory, <N>/, configs/<N>.pbtxt, warmup/<N>/, and which is served.

Files are never written in place: they are links to those of other versions of the repository, one of which may be served.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving import model_config
from serving.records import REPOSITORY
from serving.repository_models import CONFIG
from train import manifest

_CONFIGS = "configs"  # Triton itself looks there only when it is started with --model-config-name
_WARMUP = "warmup"


def add(compiled: Path, model: Path, number: int) -> None:
    """Version 1 of the `compiled` model as version `number` of `model`."""
    link_tree(compiled / "1", model / str(number))
    (model / _CONFIGS).mkdir(exist_ok=True)
    manifest.link(compiled / CONFIG, model / _CONFIGS / f"{number}.pbtxt")
    if (compiled / _WARMUP).is_dir():
        link_tree(compiled / _WARMUP, model / _WARMUP / str(number))


def drop(model: Path, number: int) -> None:
    shutil.rmtree(model / str(number))
    (model / _CONFIGS / f"{number}.pbtxt").unlink()
    if (model / _WARMUP / str(number)).is_dir():
        shutil.rmtree(model / _WARMUP / str(number))


def activate(model: Path, number: int) -> None:
    """Write the config with which Triton serves this version and no other."""
    write_config(model, config(model, number))


def config(model: Path, number: int) -> Any:
    """That config, a ModelConfig: the one the version came with, and a version policy."""
    found = model_config.read((model / _CONFIGS / f"{number}.pbtxt").read_text("utf-8"))
    found.ClearField("version_policy")
    found.version_policy.specific.versions.append(number)
    for sample in found.model_warmup:
        for given in sample.inputs.values():
            if given.input_data_file:
                given.input_data_file = f"{number}/{given.input_data_file}"
    return found


def stage(model: Path, number: int, name: str, target: Path) -> None:
    """A model of another `name` with this version alone, in the new directory `target`."""
    named = config(model, number)
    named.name = name
    link_tree(model / str(number), target / str(number))
    if (model / _WARMUP / str(number)).is_dir():
        link_tree(model / _WARMUP / str(number), target / _WARMUP / str(number))
    write_config(target, named)


def write_config(model: Path, wanted: Any) -> None:
    (model / CONFIG).unlink(missing_ok=True)
    (model / CONFIG).write_text(text_format.MessageToString(wanted), "utf-8")


def link_tree(source: Path, target: Path) -> None:
    """`target` like `source`, of the same files if the file system can link; without the manifest, and what Python wrote there."""
    ignored = shutil.ignore_patterns("__pycache__", REPOSITORY)
    shutil.copytree(source, target, copy_function=lambda a, b: manifest.link(Path(a), Path(b)), dirs_exist_ok=True, ignore=ignored)
