"""The slow fixtures: tiny models taken the whole way once, by the commands a person runs, for both
of pytest's workers.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from serving.model_config import ModelConfig, Tensor
from serving.server import triton
from slipway.contract import manifest
from slipway.contract.records import MAX_BATCH, REPOSITORY, TEXT_MODEL
from tests.support.command import Once, slipway_output, succeed
from train.data import ag_news

pytest_plugins = ["tests.support.serving.served_runs", "tests.support.training.modules", "tests.support.experiments"]

# `make test-fast` leaves out what asks for one of these fixtures, directly or not, and these
# places: a training, a conversion, a server, a browser, or TensorFlow's start.
SLOW_FIXTURES = {"tiny_encoder", "foreign_models", "echo_server", "server", "installed", "one_rank", "module"}
SLOW_PLACES = (
    *("journeys", "docs", "train/engine", "train/model", "train/analysis", "train/test_finetune.py"),
    *("train/distributed/test_faults.py", "train/distributed/test_hosts.py", "export/graph", "export/precision"),
    *("export/runtime/test_tftrt.py", "export/parity", "export/safety", "serving/server", "serving/tuning/test_tune.py"),
    *("serving/repository/test_ngc.py", "serving/benchmark/test_rounds.py", "serving/load", "serving/backend", "serving/registry"),
    *("serving/test_planted_faults.py", "export/import_savedmodel/test_signature.py"),
    *("serving/report/test_report.py", "serving/report/test_compare.py", "slipway/test_doctor.py", "benchmarks", "scripts"),
)


# A shell without job control starts `make test &` deaf to Ctrl-C, and so is all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        if place.startswith(SLOW_PLACES) or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """(name, make) → a directory of that name, filled by `make` in the first of pytest's workers
    that asks for it.
    """
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, make: Callable[[Path], object]) -> Path:
        target, done = root / f"{name}.once" / name, root / f"{name}.once" / "done"
        target.parent.mkdir(exist_ok=True)
        with FileLock(target.parent / "lock"):
            if not done.exists():
                make(target)
                done.touch()
        return target

    return made


@pytest.fixture(scope="session")
def generated(once: Once) -> Path:
    return once("generated", ag_news.write_generated)


@pytest.fixture(scope="session")
def tiny_encoder(generated: Path, once: Once) -> Path:
    return once("tiny", lambda target: succeed("tests/support/models/tiny_encoder.py", generated, target))


@pytest.fixture(scope="session")
def training_flags(generated: Path, tiny_encoder: Path) -> list[object]:
    """Of the finished run."""
    rows = ["--corpus", generated, "--train-rows", 2000, "--epochs", 2, "--max-seq-len", 48]
    return [*rows, "--encoder", tiny_encoder, "--processes", 2, "--learning-rate", 3e-3]


@pytest.fixture(scope="session")
def finished_run(training_flags: list[object], once: Once) -> Path:
    """runs/<name> after training with two Horovod processes, export, and the repository. Read only:
    copy it to change it.
    """

    def make(run: Path) -> None:
        slipway_output("train", run, *training_flags)
        slipway_output("export", run)
        # A tiny model is not faster in INT8, and would be served in FP32.
        slipway_output("build", run, "--engine", "ort_int8")

    return once("finished", make)


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may damage."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def foreign_models(once: Once) -> Path:
    """Models that were not trained here: pairs/, tagger/, unknown/ with model/, vocab.txt,
    labels.txt and rows.
    """
    return once("foreign", lambda target: succeed("tests/support/models/foreign_models.py", target))


@pytest.fixture(scope="session")
def adopted_run(foreign_models: Path, once: Once) -> Callable[[str], Path]:
    """name → that foreign model's run, imported and converted. Read only: copy to change."""

    def make(run: Path) -> None:
        source = foreign_models / run.name
        files = ["--vocab", source / "vocab.txt", "--labels", source / "labels.txt", "--golden", next(source.glob("rows.*"))]
        slipway_output("import", run, "--saved-model", source / "model", *files)
        slipway_output("export", run)

    return lambda name: once(name, make)


def write_echo_repository(target: Path) -> None:
    """A model repository whose text_classifier is tests/support/serving/echo_model.py."""
    outputs = (("label", "STRING", 1), ("probability", "FP32", 1), ("logits", "FP32", 2), ("truncated", "BOOL", 1))
    tensors = tuple(Tensor(name, kind, (size,)) for name, kind, size in (*outputs, ("tokens", "INT32", 1)))
    version = ModelConfig(TEXT_MODEL, (Tensor("text", "STRING", (1,)),), tensors, MAX_BATCH).write(target)
    shutil.copyfile(Path(__file__).parent / "support/serving/echo_model.py", version / "model.py")
    manifest.seal(target, REPOSITORY, {TEXT_MODEL: "echo"})


@pytest.fixture(scope="module")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.Server]:
    """A real Triton that answers at once: ready in seconds, where a model would have to be trained
    first.
    """
    repository = tmp_path_factory.mktemp("echo") / "model_repository"
    write_echo_repository(repository)
    with triton.running(repository) as server:
        yield server
