"""Checkpoints from which a run goes on exactly: all variables of the training step, and settings.

RUN/checkpoints/step-00000100/variables.npz   plain arrays, in the order of TrainStep.variables
                              progress.jsonl  the lines written so far
                              checkpoint.json the manifest: step, settings, and sha256 of both files

Rank 0 writes each in one rename; the newest two are kept.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway.contract import manifest
from slipway.errors import ManifestError, SlipwayError, TrainingError
from train.job import CORPUS, PROGRESS, Job

_MANIFEST = "checkpoint.json"
_VARIABLES = "variables.npz"
_NAME = "step-{:08d}"
_KEPT = 2
_MAY_CHANGE = {"command", "resume", "checkpoints", "checkpoint_every", "hang_limit", "debug"}  # without influence on the weights


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are as they were written."""

    directory: Path
    step: int  # optimizer steps done
    settings: Mapping[str, object]  # as `settings` returns them


def settings(job: Job, processes: int, directory: Path) -> dict[str, object]:
    """Return all that decides the weights: settings of the job, ranks, examples in `directory`."""
    chosen = {name: value for name, value in asdict(job).items() if name not in _MAY_CHANGE}
    return {**chosen, "world_size": processes, "examples_sha256": manifest.sha256(directory / CORPUS)}


def write(directory: Path, step: int, arrays: Sequence[NDArray[Any]], facts: Mapping[str, object], progress: Path) -> None:
    """Add the checkpoint after `step` steps to `directory`, and keep the one before it.

    Later ones are removed: they are damaged, or the run would not have gone on from before them.
    """
    with manifest.atomic_directory(directory / _NAME.format(step)) as building:
        np.savez(building / _VARIABLES, *arrays)
        shutil.copyfile(progress, building / PROGRESS)
        manifest.seal(building, _MANIFEST, {"step": step, "settings": facts})
    paths = _checkpoints(directory)
    newest = paths.index(directory / _NAME.format(step))
    for path in paths[: max(0, newest + 1 - _KEPT)] + paths[newest + 1 :]:
        shutil.rmtree(path)


def remove(directory: Path) -> None:
    """Remove all checkpoints, and the directory unless it holds anything else."""
    for path in _checkpoints(directory):
        shutil.rmtree(path)
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def newest(directory: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest undamaged checkpoint, and a warning for each damaged one that is newer."""
    warnings: list[str] = []
    for path in reversed(_checkpoints(directory)):
        try:
            facts = manifest.read(path, _MANIFEST, f"rm -r {path}")
            return Checkpoint(path, int(facts["step"]), facts["settings"]), warnings
        except (ManifestError, KeyError) as error:
            damage = f"{error.where}: {error.summary}" if isinstance(error, SlipwayError) else f"{path}: no {error}"
            warnings.append(f"the checkpoint {path.name} is damaged and was passed over ({damage})")
    return None, warnings


def refuse_changes(checkpoint: Checkpoint, facts: Mapping[str, object], interrupted: str) -> None:
    """Raise TrainingError, with both values of each change, if `facts` are not the checkpoint's.

    `interrupted` is the command of the run that wrote it.
    """
    before = checkpoint.settings
    changed = [name for name in {**before, **facts} if before.get(name) != facts.get(name)]
    if changed:
        raise TrainingError(
            "the run that is to be resumed was another one",
            expected=", ".join(f"{name} {before.get(name)}" for name in changed),
            found=", ".join(f"{name} {facts.get(name)}" for name in changed),
            where=str(checkpoint.directory / _MANIFEST),
            fix=f"go on with that one: {interrupted} --resume; or give it up: rm -r {checkpoint.directory.parent}",
        )


def restore(checkpoint: Checkpoint, directory: Path) -> list[NDArray[Any]]:
    """Return the arrays in the order they were written, and copy the progress into `directory`.

    Nothing is ever unpickled. Raises ManifestError when the arrays cannot be read.
    """
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
    """Return the steps done in the newest checkpoint, even a damaged one; 0 when there is none."""
    return max((int(path.name.partition("-")[2]) for path in _checkpoints(directory)), default=0)


def _checkpoints(directory: Path) -> list[Path]:
    """Return the directories of all checkpoints, the oldest first."""
    return sorted(path for path in directory.glob("step-*") if path.name.removeprefix("step-").isdecimal())
