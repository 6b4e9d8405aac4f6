from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.contract import manifest
from slipway.errors import ManifestError


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    directory = tmp_path / "stage"
    with manifest.atomic_directory(directory) as building:
        (building / "part").mkdir()
        (building / "part" / "weights").write_bytes(b"\x00" * 100)
        manifest.seal(building, "stage.json", {"fact": 1})
    return directory


def read(directory: Path) -> dict[str, object]:
    return manifest.read(directory, "stage.json", fix="make it")


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


def link_to_a_file(at: Path) -> None:
    at.symlink_to("part/weights")


def link_to_a_directory(at: Path) -> None:
    at.symlink_to("part")


def link_to_nothing(at: Path) -> None:
    at.symlink_to("nowhere")


def bound_socket(at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(at))  # an address has 108 bytes at most


@pytest.mark.parametrize("plant", [link_to_a_file, link_to_a_directory, link_to_nothing, os.mkfifo, bound_socket])
def test_what_is_neither_file_nor_directory_is_refused_by_name_and_never_opened(
    sealed: Path, plant: Callable[[Path], None]
) -> None:
    plant(sealed / "planted")
    with pytest.raises(ManifestError, match="planted is neither a file nor a directory"):
        read(sealed)


def test_a_link_in_place_of_a_listed_file_is_refused_though_its_contents_are_the_recorded_ones(sealed: Path) -> None:
    weights = sealed / "part" / "weights"
    weights.rename(sealed.parent / "outside")
    weights.symlink_to(sealed.parent / "outside")
    with pytest.raises(ManifestError, match=r"a symbolic link to .*outside"):
        read(sealed)


def test_a_manifest_that_is_a_link_is_not_read(sealed: Path) -> None:
    (sealed / "stage.json").rename(sealed.parent / "outside")
    (sealed / "stage.json").symlink_to(sealed.parent / "outside")
    with pytest.raises(ManifestError, match=r"stage\.json is neither"):
        read(sealed)


def test_a_link_to_a_whole_sealed_directory_is_refused(sealed: Path) -> None:
    link = sealed.with_name("link")
    link.symlink_to(sealed)
    with pytest.raises(ManifestError, match="a symbolic link to"):
        read(link)


def test_a_directory_with_a_link_is_not_sealed(tmp_path: Path) -> None:
    (tmp_path / "planted").symlink_to("nowhere")
    with pytest.raises(ManifestError, match="planted"):
        manifest.seal(tmp_path, "stage.json", {})
    assert not (tmp_path / "stage.json").exists()


def test_a_build_does_not_replace_a_link_nor_what_it_leads_to(sealed: Path) -> None:
    link = sealed.with_name("link")
    link.symlink_to(sealed)
    with pytest.raises(ManifestError, match="a symbolic link to"), manifest.atomic_directory(link):
        pass
    assert read(sealed)["fact"] == 1
    assert link.is_symlink()
