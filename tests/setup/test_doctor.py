from __future__ import annotations

from setup.doctor import Finding
from tests.conftest import succeed


def test_a_version_that_is_not_the_wanted_one_is_not_good() -> None:
    assert Finding("x", "2.17.1", "2.17.1", "make setup").good
    assert not Finding("x", "2.17.1", "2.21.0", "make setup").good
    assert not Finding("x", "any", "", "make setup").good


def test_the_table_names_every_part_with_found_and_wanted_version() -> None:
    table = succeed("-m", "setup.doctor")
    for part in ("Horovod", "Triton", "perf_analyzer", "NVIDIA GPU", "TensorRT", "TF-TRT"):
        assert part in table
    assert "MISSING" not in table
