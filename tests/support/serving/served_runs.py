"""Runs of the other two tasks with their repository, made once. Read only, but for the records of
serving.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.server.triton import Server
from slipway.client import client
from slipway.client.client import Client
from slipway.client.transport import PROTOCOLS
from tests.support.command import slipway_output


@pytest.fixture(scope="session")
def served_run(adopted_run: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        run = Path(shutil.copytree(adopted_run(name), tmp_path_factory.mktemp("served") / name))
        slipway_output("build", run, "--engine", "onnx_fp32")
        return run

    return make


@pytest.fixture(params=PROTOCOLS)
def connection(server: Server, request: pytest.FixtureRequest) -> Iterator[Client]:
    """To the `server` of the test's own file, over both protocols."""
    with client.Client(f"{request.param}://{server.address(request.param)}") as connected:
        yield connected


@pytest.fixture(scope="session")
def pairs_run(served_run: Callable[[str], Path]) -> Path:
    return served_run("pairs")


@pytest.fixture(scope="session")
def tagger_run(served_run: Callable[[str], Path]) -> Path:
    return served_run("tagger")


@pytest.fixture(scope="session")
def ngc_run(adopted_run: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Task → a run of it with model_repository_ngc. Read only."""
    made: dict[str, Path] = {}
    names = {"single_text": "unknown", "text_pair": "pairs", "tagging": "tagger"}

    def make(task: str) -> Path:
        if task not in made:
            made[task] = Path(shutil.copytree(adopted_run(names[task]), tmp_path_factory.mktemp("ngc") / task))
            slipway_output("build", made[task], "--target", "ngc", "--engine", "onnx_fp32")
        return made[task]

    return make
