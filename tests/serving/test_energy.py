from __future__ import annotations

from pathlib import Path

import pytest

from serving import energy


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two processors and a zone within one, as Linux shows them."""
    for zone, joules in (("intel-rapl:0", 100), ("intel-rapl:1", 250), ("intel-rapl:0:0", 7)):
        directory = tmp_path / zone
        directory.mkdir()
        (directory / "energy_uj").write_text(f"{joules}000000\n")
        (directory / "max_energy_range_uj").write_text("262000000\n")
    return tmp_path


def test_what_two_processors_took_is_added_up_also_where_a_counter_began_anew(powercap: Path) -> None:
    before = energy.joules(powercap)
    (powercap / "intel-rapl:0" / "energy_uj").write_text("130000000\n")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("8000000\n")
    assert energy.spent(before, energy.joules(powercap)) == pytest.approx(30 + (262 - 250) + 8)
    assert energy.readable(powercap)["readable"] is True


def test_without_a_counter_the_energy_is_unknown_and_the_reason_said(tmp_path: Path) -> None:
    assert energy.spent(energy.joules(tmp_path), energy.joules(tmp_path)) is None
    assert energy.readable(tmp_path) == {"readable": False, "why": f"no counter in {tmp_path}: a virtual machine has none"}
