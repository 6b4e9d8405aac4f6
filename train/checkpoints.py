"""Checkpoints to go on from exactly: every variable of the training step, and the facts that must not have changed.

RUN/checkpoints/step-00000100/variables.npz   plain arrays, in the order of TrainStep.variables
                              progress.jsonl  the lines written so far
                              checkpoint.json the manifest: step, settings, and the sha256 of both files

Written by rank 0 in one rename each; the newest two are kept.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train import manifest
from train.errors import ManifestError, SlipwayError, TrainingError
from train.job import CORPUS, PROGRESS, Job

_MANIFEST = "checkpoint.json"
_VARIABLES = "variables.npz"
_NAME = "step-{:08d}"
_KEPT = 2
_WITHOUT_INFLUENCE = {"resume", "checkpoints", "checkpoint_every", "hang_limit", "debug"}  # on the weights: may change


@dataclass(frozen=True)
class Checkpoint:
    directory: Path
    step: int  # optimizer steps done
    settings: dict[str, Any]  # as `settings` made them


def settings(job: Job, processes: int, directory: Path) -> dict[str, Any]:
    """What decides the weights after every step: the job's settings, its ranks, and the examples in its `directory`."""
    chosen = {name: value for name, value in asdict(job).items() if name not in _WITHOUT_INFLUENCE}
    return {**chosen, "world_size": processes, "examples_sha256": manifest.sha256(directory / CORPUS)}


def write(directory: Path, step: int, arrays: Sequence[NDArray[Any]], facts: dict[str, Any], progress: Path) -> None:
    """Add the checkpoint after `step` steps to `directory`, and keep the one before it.

    Later ones go: they are damaged, or the run would not have gone on from before them.
    """
    with manifest.atomic_directory(directory / _NAME.format(step)) as building:
        np.savez(building / _VARIABLES, *arrays)
        shutil.copyfile(progress, building / PROGRESS)
        manifest.seal(building, _MANIFEST, {"step": step, "settings": facts})
    there = _all(directory)
    last = there.index(directory / _NAME.format(step))
    for path in there[: max(0, last + 1 - _KEPT)] + there[last + 1 :]:
        shutil.rmtree(path)


def remove(directory: Path) -> None:
    """All checkpoints, and the directory unless it holds anything else."""
    for path in _all(directory):
        shutil.rmtree(path)
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def newest(directory: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint whose files are as they were written, and a warning for each damaged one that is newer."""
    warnings: list[str] = []
    for path in reversed(_all(directory)):
        try:
            facts = manifest.read(path, _MANIFEST, f"rm -r {path}")
            return Checkpoint(path, int(facts["step"]), facts["settings"]), warnings
        except (ManifestError, KeyError) as error:
            damage = f"{error.where}: {error.summary}" if isinstance(error, SlipwayError) else f"{path}: no {error}"
            warnings.append(f"the checkpoint {path.name} is damaged and was passed over ({damage})")
    return None, warnings


def refuse_changes(checkpoint: Checkpoint, facts: dict[str, Any]) -> None:
    """Raises TrainingError when this run is not the one that was interrupted, naming what changed with both values."""
    changed = [name for name in {**checkpoint.settings, **facts} if checkpoint.settings.get(name) != facts.get(name)]
    if changed:
        raise TrainingError(
            "the run that is to be resumed was another one",
            expected=", ".join(f"{name} {checkpoint.settings.get(name)}" for name in changed),
            found=", ".join(f"{name} {facts.get(name)}" for name in changed),
            where=str(checkpoint.directory / _MANIFEST),
            fix=f"the settings of the interrupted run, or a new run: rm -r {checkpoint.directory.parent}",
        )


def restore(checkpoint: Checkpoint, directory: Path) -> list[NDArray[Any]]:
    """The arrays, in the order they were written; progress so far is put into `directory`. Nothing is ever unpickled."""
    shutil.copyfile(checkpoint.directory / PROGRESS, directory / PROGRESS)
    try:
        with np.load(checkpoint.directory / _VARIABLES, allow_pickle=False) as stored:
            return [stored[name] for name in stored.files]
    except (ValueError, zipfile.BadZipFile) as error:
        raise ManifestError(
            "a checkpoint cannot be read",
            expected="plain arrays",
            found=f"{type(error).__name__}: {error}",
            where=str(checkpoint.directory / _VARIABLES),
            fix=f"rm -r {checkpoint.directory}",
        ) from error


def newest_step(directory: Path) -> int:
    """Steps done in the newest checkpoint, whatever its state; 0 when there is none."""
    return max((int(path.name.partition("-")[2]) for path in _all(directory)), default=0)


def _all(directory: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path for path in directory.glob("step-*") if path.name.removeprefix("step-").isdecimal())
