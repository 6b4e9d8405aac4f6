from __future__ import annotations

import os
import py_compile
import socket
import subprocess
import sys
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


def test_only_the_files_below_a_path_are_compared_if_it_is_given(sealed: Path) -> None:
    (sealed / "stray").write_text("")
    manifest.read(sealed, "stage.json", fix="make it", below="part/")
    (sealed / "part" / "weights").write_bytes(b"\x01")
    with pytest.raises(ManifestError, match="part/weights"):
        manifest.read(sealed, "stage.json", fix="make it", below="part/")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A sealed directory with a module that tells which code of it was run, sealed when Python had
    left bytecode there.
    """
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "told.py").write_text("print('source')\n")
    assert run(tmp_path / "code") == "source"
    assert list(tmp_path.rglob("*.pyc"))
    manifest.seal(tmp_path / "code", "stage.json", {})
    return tmp_path / "code"


def run(code: Path) -> str:
    """Import the module, as Triton's processes do: no variable keeps Python from its bytecode."""
    done = subprocess.run([sys.executable, "-c", "import told"], cwd=code, env={}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def plant_bytecode(code: Path) -> Path:
    """Put bytecode that tells another thing where Python takes it for that of the source."""
    source = code / "told.py"
    content, written = source.read_text(), source.stat()
    source.write_text("print('secret')\n")
    os.utime(source, ns=(written.st_atime_ns, written.st_mtime_ns))
    planted = py_compile.compile(str(source), cfile=str(code / "planted.pyc"))
    source.write_text(content)
    os.utime(source, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert planted
    return Path(planted)


def test_code_in_a_sealed_directory_leaves_no_bytecode(code: Path) -> None:
    assert run(code) == "source"
    assert not list(code.rglob("*.pyc"))
    read(code)


def test_no_bytecode_can_be_put_beside_sealed_code(code: Path) -> None:
    with pytest.raises(NotADirectoryError):
        plant_bytecode(code).rename(code / "__pycache__" / f"told.{sys.implementation.cache_tag}.pyc")


def test_bytecode_in_place_of_the_file_that_keeps_it_out_is_named(code: Path) -> None:
    planted = plant_bytecode(code)
    (code / "__pycache__").unlink()
    (code / "__pycache__").mkdir()
    planted.rename(code / "__pycache__" / f"told.{sys.implementation.cache_tag}.pyc")
    assert run(code) == "secret"  # or it would not have been planted well
    with pytest.raises(ManifestError, match="code/__pycache__"):
        read(code)


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
    assert read(sealed) == {"fact": 2, "files": {}, "empty": []}


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
