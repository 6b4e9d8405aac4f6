"""The versions of a model in a registry, each <N>/, configs/<N>.pbtxt and warmup/<N>/.

The labels that a config names lie in <N>/.

Triton loads every model that lies in the repository. One that the active version does not have is
set aside until one that has it is active.

Files are never written in place: they are links to those of other versions of the repository, and
one of those versions may be served.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving import model_config
from slipway.contract import manifest
from slipway.contract.records import TEXT_MODEL
from slipway.lint.models import CONFIG

_ASIDE = "aside"  # in text_classifier/, which every version has: Triton opens none of its directories but <N>/
_CONFIGS = "configs"  # Triton itself looks there only when it is started with --model-config-name
_WARMUP = "warmup"


def directory(repository: Path, model: str) -> Path:
    """Return where a model's versions lie, or would."""
    served = repository / model
    return served if model == TEXT_MODEL or served.exists() else repository / TEXT_MODEL / _ASIDE / model


def arrange(repository: Path, served: Collection[str]) -> None:
    """Fetch the `served` models out of what is set aside, and set the others aside."""
    aside = repository / TEXT_MODEL / _ASIDE
    aside.mkdir(exist_ok=True)
    for path in [*repository.iterdir(), *aside.iterdir()]:
        if path.is_dir() and (path.parent == repository) != (path.name in served):
            path.rename((repository if path.name in served else aside) / path.name)
    if not any(aside.iterdir()):
        aside.rmdir()


def add(compiled: Path, model: Path, number: int) -> None:
    """Add version 1 of the `compiled` model as version `number` of `model`."""
    manifest.link_tree(compiled / "1", model / str(number))
    (model / _CONFIGS).mkdir(exist_ok=True)
    manifest.link(compiled / CONFIG, model / _CONFIGS / f"{number}.pbtxt")
    if (compiled / _WARMUP).is_dir():
        manifest.link_tree(compiled / _WARMUP, model / _WARMUP / str(number))


def drop(model: Path, number: int) -> None:
    """Delete a version with its config and its warm-up data; the model too, if it was the last."""
    shutil.rmtree(model / str(number))
    (model / _CONFIGS / f"{number}.pbtxt").unlink()
    if (model / _WARMUP / str(number)).is_dir():
        shutil.rmtree(model / _WARMUP / str(number))
    if not any((model / _CONFIGS).iterdir()):
        shutil.rmtree(model)


def activate(model: Path, number: int) -> None:
    """Write the config with which Triton serves this version and no other."""
    write_config(model, config(model, number))


def config(model: Path, number: int) -> Any:
    """Return the version's own ModelConfig, with a policy that names this version alone."""
    versioned = model_config.read((model / _CONFIGS / f"{number}.pbtxt").read_text("utf-8"))
    versioned.ClearField("version_policy")
    versioned.version_policy.specific.versions.append(number)
    for output in versioned.output:
        if output.label_filename:  # in 1/ of the compiled model; none before versions named their labels
            output.label_filename = f"{number}/{output.label_filename.removeprefix('1/')}"
    for sample in versioned.model_warmup:
        for tensor in sample.inputs.values():
            if tensor.input_data_file:
                tensor.input_data_file = f"{number}/{tensor.input_data_file}"
    return versioned


def make_read_only(model: Path) -> None:
    """Take the right to write from all files of a model: links of them are in its run, too.

    Nothing writes them anyway; this is for hands and editors.
    """
    for path in manifest.files(model).values():
        path.chmod(0o444)


def stage(model: Path, number: int, name: str, target: Path) -> None:
    """Write a model called `name` with this version alone into the new directory `target`."""
    staged = config(model, number)
    staged.name = name
    manifest.link_tree(model / str(number), target / str(number))
    if (model / _WARMUP / str(number)).is_dir():
        manifest.link_tree(model / _WARMUP / str(number), target / _WARMUP / str(number))
    write_config(target, staged)


def write_config(model: Path, config: Any) -> None:
    """Write a ModelConfig as the model's config.pbtxt, in place of a link."""
    (model / CONFIG).unlink(missing_ok=True)
    (model / CONFIG).write_text(text_format.MessageToString(config), "utf-8")
