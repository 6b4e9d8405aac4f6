from __future__ import annotations

import time
from pathlib import Path

import pytest

from serving.load.interference import GpuUse, GpuWatch

# Utilisation rises by 10 % every line; this GPU does not tell its power.
SMI = """#!/bin/sh
for busy in 10 20 30; do echo "$busy, 2048, [N/A]"; done
exec sleep 60
"""


def test_a_gpu_is_watched_until_the_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    started = time.monotonic()
    with GpuWatch() as gpu:
        while (seen := gpu.since(started)) is None or seen.utilisation != 20:
            assert time.monotonic() - started < 10
            time.sleep(0.02)
        assert seen == GpuUse(20, 2048, None)
        assert gpu.since(time.monotonic()) is None
    assert gpu._process is not None
    assert gpu._process.returncode is not None


def test_without_nvidia_smi_there_is_nothing_to_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with GpuWatch() as gpu:
        assert (gpu.there, gpu.since(0)) == (False, None)
