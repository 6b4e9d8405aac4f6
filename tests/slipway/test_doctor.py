from __future__ import annotations

import pytest

from slipway.doctor import Part
from tests.support.command import slipway_output


def test_a_version_that_is_not_the_wanted_one_is_not_good() -> None:
    assert Part("x", "2.17.1", "2.17.1", "make setup").good
    assert not Part("x", "2.17.1", "2.21.0", "make setup").good
    assert not Part("x", "any", "", "make setup").good


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
