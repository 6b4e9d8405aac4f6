from __future__ import annotations

import argparse
import re

import pytest

from slipway import doctor, provenance
from slipway.doctor import Part
from tests.support.command import CHECKOUT, slipway_output


def test_a_version_that_is_not_the_wanted_one_is_not_good() -> None:
    assert Part("x", "2.17.1", "2.17.1", "make setup").good
    assert not Part("x", "2.17.1", "2.21.0", "make setup").good
    assert not Part("x", "any", "", "make setup").good


def installed(*parts: Part, monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    """Have the machine consist of these parts alone."""
    for group in ("_packages", "_tools", "_gpu"):
        monkeypatch.setattr(doctor, group, list)
    monkeypatch.setattr(doctor, "_programs", lambda: list(parts))
    monkeypatch.setattr(provenance, "missing_gpu", lambda: [] if gpu else ["no driver"])


NCCL = Part("Horovod with NCCL", "any", "", doctor._GPU_SETUP, needed=False)


@pytest.mark.parametrize(
    ("part", "strict", "gpu", "code"),
    [
        (Part("x", "2.51", "", doctor._SETUP), False, False, 9),
        (Part("x", "2.51", "2.50", doctor._SETUP), False, False, 9),
        (Part("Chromium", "any", "", "apt-get install chromium", needed=False), True, True, 0),
        (NCCL, False, True, 0),
        (NCCL, True, False, 0),
        (NCCL, True, True, 9),
    ],
)
def test_it_fails_where_something_is_missing_that_set_up_should_have_provided(
    part: Part, strict: bool, gpu: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(part, monkeypatch=monkeypatch, gpu=gpu)
    assert doctor.doctor(argparse.Namespace(strict=strict)) == code


@pytest.fixture(scope="module")
def table() -> str:
    return slipway_output("doctor")


def test_the_table_names_every_part_with_found_and_wanted_version(table: str) -> None:
    for part in ("Horovod", "Triton", "perf_analyzer", "NVIDIA GPU", "TensorRT", "TF-TRT"):
        assert part in table
    assert "MISSING" not in table


def test_the_table_says_what_the_embedded_triton_is_for_and_what_production_wants(table: str) -> None:
    lines = table.splitlines()
    assert "The embedded Triton is for one machine and development." in lines
    [production] = [number for number, line in enumerate(lines) if "Triton, production" in line]
    assert "from 26.08" in lines[production]
    assert "behind a proxy" in lines[production + 1]


def test_the_table_fits_a_terminal(table: str) -> None:
    assert [line for line in table.splitlines() if len(line) > 80] == []


def test_the_page_on_gpus_has_the_versions_of_the_lock_and_the_driver_that_is_looked_for() -> None:
    page = " ".join((CHECKOUT / "docs/gpu.md").read_text("utf-8").split())
    lock = (CHECKOUT / "requirements/cuda.txt").read_text("utf-8")
    version = dict(re.findall(r"^nvidia-([a-z0-9-]+)==(\d+\.\d+)", lock, re.MULTILINE))
    libraries = f"CUDA {version['cuda-runtime-cu12']}, cuDNN {version['cudnn-cu12']}, NCCL {version['nccl-cu12']}"
    assert libraries in page
    assert f"CUDA {version['cuda-nvcc']}" in page
    assert f"| driver | from {doctor._OLDEST_DRIVER} on" in page


@pytest.mark.parametrize(("driver", "good"), [("535.183.01", False), ("580.65.06", True), ("610.12", True)])
def test_a_driver_that_is_too_old_for_the_compiler_of_set_up_is_named(
    driver: str, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "missing_gpu", list)
    monkeypatch.setattr(provenance, "current_gpu", lambda: provenance.Gpu("NVIDIA H200", "9.0", driver))
    part = {part.what: part for part in doctor._gpu()}["NVIDIA driver"]
    assert part.good == good
    assert driver in part.version + part.fix
