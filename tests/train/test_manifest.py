from __future__ import annotations

from pathlib import Path

import pytest

from train import manifest
from train.errors import ManifestError


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    directory = tmp_path / "stage"
    with manifest.atomic_directory(directory) as building:
        (building / "part").mkdir()
        (building / "part" / "weights").write_bytes(b"\x00" * 100)
        manifest.seal(building, "stage.json", {"fact": 1})
    return directory


def read(directory: Path) -> dict[str, object]:
    return manifest.read(directory, "stage.json", mend="make it")


def test_a_sealed_directory_reads_back_its_facts(sealed: Path) -> None:
    assert read(sealed)["fact"] == 1


def test_one_flipped_bit_names_the_file(sealed: Path) -> None:
    (sealed / "part" / "weights").write_bytes(b"\x01" + b"\x00" * 99)
    with pytest.raises(ManifestError, match="part/weights"):
        read(sealed)


def test_a_missing_file_is_named(sealed: Path) -> None:
    (sealed / "part" / "weights").unlink()
    with pytest.raises(ManifestError, match="part/weights"):
        read(sealed)


def test_a_file_too_many_is_named(sealed: Path) -> None:
    (sealed / "stray").write_text("")
    with pytest.raises(ManifestError, match="stray"):
        read(sealed)


def test_a_directory_without_a_manifest_does_not_exist_for_the_next_stage(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="make it"):
        read(tmp_path)


def test_a_manifest_that_is_no_json_is_refused(sealed: Path) -> None:
    (sealed / "stage.json").write_text("{")
    with pytest.raises(ManifestError, match="cannot be read"):
        read(sealed)


def test_a_failed_build_keeps_the_last_good_directory(sealed: Path) -> None:
    def fail_half_way() -> None:
        with manifest.atomic_directory(sealed) as building:
            (building / "half").write_text("")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert read(sealed)["fact"] == 1
    assert [path.name for path in sealed.parent.iterdir()] == ["stage"]


def test_a_new_build_replaces_the_old_one_whole(sealed: Path) -> None:
    with manifest.atomic_directory(sealed) as building:
        manifest.seal(building, "stage.json", {"fact": 2})
    assert read(sealed) == {"fact": 2, "files": {}}


def test_what_a_killed_process_left_is_cleared_by_the_next_build(tmp_path: Path) -> None:
    left = tmp_path / ".stage.building-999999999"
    left.mkdir()
    with manifest.atomic_directory(tmp_path / "stage"):
        assert not left.exists()
