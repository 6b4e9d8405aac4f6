"""The one slow fixture: a tiny model taken the whole way once, by the commands a person runs."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from train import generated_corpus

CHECKOUT = Path(__file__).parents[1]


def command(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python …` in the checkout; both outputs are captured."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def succeed(*arguments: object) -> str:
    done = command(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated_corpus.write(tmp_path_factory.mktemp("corpus") / "generated")


@pytest.fixture(scope="session")
def tiny_encoder(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("encoder") / "tiny"
    succeed("tests/make_tiny_encoder.py", generated, target)
    return target


@pytest.fixture(scope="session")
def finished_run(generated: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/<name> after training with two Horovod processes, export, and the repository. Read only: copy it to change it."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    train = ["--corpus", generated, "--encoder", tiny_encoder, "--processes", 2, "--max-seq-len", 48, "--learning-rate", 3e-3]
    succeed("-m", "train.finetune", "--out", run / "bundle", *train)
    succeed("-m", "export.convert", "--run", run)
    succeed("-m", "serving.build_repository", "--run", run)
    return run


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may damage."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def foreign_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that were not trained here: pairs/, tagger/, unknown/ with model/, vocab.txt, labels.txt and rows."""
    target = tmp_path_factory.mktemp("foreign")
    succeed("tests/make_foreign_models.py", target)
    return target


@pytest.fixture(scope="session")
def adopted_run(foreign_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """name → the run of that foreign model, adopted and converted, made once. Read only: copy it to change it."""

    @functools.cache
    def make(name: str) -> Path:
        source, run = foreign_models / name, tmp_path_factory.mktemp("adopted") / name
        files = ["--vocab", source / "vocab.txt", "--labels", source / "labels.txt", "--golden", next(source.glob("rows.*"))]
        succeed("-m", "export.adopt", "--saved-model", source / "model", *files, "--out", run / "bundle")
        succeed("-m", "export.convert", "--run", run)
        return run

    return make
