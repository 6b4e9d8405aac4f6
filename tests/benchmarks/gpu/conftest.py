"""What the tests of benchmarks.gpu share: the CPU in the GPU's place, and a tiny model of random
weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.gpu import models
from benchmarks.gpu.device import Device


@pytest.fixture(scope="session")
def device() -> Device:
    return Device("cpu")


@pytest.fixture(scope="session")
def tiny(device: Device) -> Iterator[models.GpuModel]:
    """Read only."""
    with models.random("tiny", device, rows=1) as model:
        yield model
