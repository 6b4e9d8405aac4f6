"""Two real ranks, each with its share of a batch, train what one rank trains on all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import CHECKOUT
from tests.support.training import averaging_worker

pytestmark = pytest.mark.usefixtures("one_rank")


@pytest.fixture(scope="module")
def two_ranks(module: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the two ranks found, a file a setting."""
    out = tmp_path_factory.mktemp("averaged")
    binaries = Path(sys.executable).parent
    command = [binaries / "horovodrun", "--gloo", "-np", "2", "-H", "localhost:2", sys.executable]
    done = subprocess.run(
        [*command, "-m", "tests.support.training.averaging_worker", module, out],
        cwd=CHECKOUT,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.parametrize(("setting", "tolerance"), [("sparse", 2e-5), ("fp16, dense", 2e-2)])
def test_two_ranks_train_as_one_does(module: str, two_ranks: Path, setting: str, tolerance: float) -> None:
    """AdamW divides by the gradient's own size, so that rounding to fp16 shows in the weights of
    small gradients.
    """
    expected, scalars = averaging_worker.weights(module, setting, 0, 1)
    with np.load(two_ranks / f"{setting}.npz") as written:
        assert written["scalars"] == pytest.approx(np.array(scalars), abs=tolerance / 4)
        for number, weights in enumerate(expected):
            np.testing.assert_allclose(written[f"arr_{number}"], weights, atol=tolerance)
