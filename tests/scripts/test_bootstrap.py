"""`make setup` on a checkout that has been set up before; what it starts is replaced by programs
that note that they were.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import install
from tests.support.command import CHECKOUT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One that was set up a moment ago."""
    _copy(tmp_path)
    for program in (".venv/bin/python", ".tools/uv/bin/uv"):
        (tmp_path / program).parent.mkdir(parents=True)
        (tmp_path / program).write_text(f'#!/bin/sh\necho {program} "$@" >>started\n')
        (tmp_path / program).chmod(0o755)
    set_up(tmp_path)
    (tmp_path / ".tools/triton").mkdir()
    return tmp_path


def _copy(checkout: Path) -> None:
    for name in ("scripts", "requirements"):
        shutil.copytree(CHECKOUT / name, checkout / name)
    for name in ("pyproject.toml", "slipway/tools.py", "train/model/default_encoder.py", "slipway/encoder/bert.py"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / name, checkout / name)


def set_up(checkout: Path, **environment: str) -> str:
    """The commands it started."""
    words = ["bash", "scripts/bootstrap.sh"]
    subprocess.run(words, cwd=checkout, check=True, capture_output=True, env={**os.environ, **environment})
    started = checkout / "started"
    said = started.read_text() if started.exists() else ""
    started.unlink(missing_ok=True)
    return said


def test_a_second_time_there_is_nothing_to_do(checkout: Path) -> None:
    assert set_up(checkout) == ""
    assert (checkout / ".tools/triton").exists()


@pytest.mark.parametrize("part", ["haproxy/haproxy", "triton/bin/tritonserver", "encoder/encoder.json"])
def test_a_part_that_is_missing_is_made_again(part: str, checkout: Path) -> None:
    path = checkout / ".tools" / part
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    (checkout / ".tools/ready").unlink()
    set_up(checkout)
    assert set_up(checkout) == ""
    path.unlink()
    assert "scripts.install" in set_up(checkout)


def test_what_python_leaves_beside_the_scripts_is_no_change(checkout: Path) -> None:
    (checkout / "scripts/__pycache__").mkdir(exist_ok=True)
    (checkout / "scripts/__pycache__/install.pyc").write_text("compiled")
    assert set_up(checkout) == ""


@pytest.mark.parametrize(
    "changed", ["scripts/hidden_key.c", "scripts/install.py", "requirements/all.txt", "slipway/encoder/bert.py"]
)
def test_what_is_made_of_a_changed_file_is_made_anew(checkout: Path, changed: str) -> None:
    with (checkout / changed).open("a") as file:
        file.write("\n")
    assert ".venv/bin/python -m scripts.install" in set_up(checkout)
    assert not (checkout / ".tools/triton").exists()


def test_gpu_operations_that_are_asked_for_are_built_and_then_kept(checkout: Path) -> None:
    assert "scripts.install" in set_up(checkout, HOROVOD_GPU_OPERATIONS="NCCL")
    assert (checkout / ".tools/triton").exists(), "nothing else changed"
    (checkout / ".tools/horovod-operations").write_text("NCCL")  # as scripts.install does
    assert set_up(checkout, HOROVOD_GPU_OPERATIONS="NCCL") == ""
    assert set_up(checkout) == ""


def test_cudas_libraries_come_with_nccl_and_stay_with_it(checkout: Path) -> None:
    assert "requirements/all.txt requirements/cuda.txt" in set_up(checkout, HOROVOD_GPU_OPERATIONS="NCCL")
    (checkout / ".tools/horovod-operations").write_text("NCCL")
    (checkout / "requirements/all.txt").write_text("changed")
    assert "requirements/cuda.txt" in set_up(checkout)


def test_after_a_build_with_nccl_that_failed_a_set_up_without_it_makes_the_one_for_cpus(checkout: Path) -> None:
    python = checkout / ".venv/bin/python"
    works = python.read_text()
    python.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(subprocess.CalledProcessError):
        set_up(checkout, HOROVOD_GPU_OPERATIONS="NCCL")
    python.write_text(works)
    (checkout / "started").unlink()
    started = set_up(checkout)
    assert "scripts.install" in started
    assert "requirements/cuda.txt" not in started


def test_the_locked_libraries_of_cuda_are_those_that_tensorflow_was_built_with() -> None:
    lock = (CHECKOUT / "requirements/cuda.txt").read_text("utf-8")
    named = [line.split(";")[0].replace(" ", "") for line in importlib.metadata.requires("tensorflow") or () if "and-cuda" in line]
    assert len(named) > 10
    assert set(named) <= set(re.findall(r"^\S+==\S+", lock, re.MULTILINE))


def test_gpu_operations_that_set_up_cannot_build_are_refused_at_once(checkout: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        set_up(checkout, HOROVOD_GPU_OPERATIONS="MPI")
    assert refused.value.returncode == 9
    assert b"HOROVOD_GPU_OPERATIONS=NCCL make setup" in refused.value.stderr


@pytest.mark.parametrize("name", ["my checkout", "it's", "$HOME", "a(1)", "a[1]", 'a"b'])
def test_a_path_that_tools_would_take_apart_is_refused_at_once(tmp_path: Path, name: str) -> None:
    _copy(tmp_path / name)
    done = subprocess.run(["bash", tmp_path / name / "scripts/bootstrap.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, name in done.stderr, (tmp_path / name / ".tools").exists()) == (9, True, False)


def dry(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-n", "train", f"PYTHON={sys.executable}", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("given", "meant"), [("EPOCH=1", "EPOCHS"), ("train_rows=9", "TRAIN_ROWS"), ("UNLABELED=a.txt", "UNLABELLED")]
)
def test_a_variable_that_is_nearly_one_of_makes_is_refused_with_its_name(given: str, meant: str) -> None:
    done = dry(given)
    assert done.returncode != 0
    assert f"{meant}= is." in done.stderr


def test_a_variable_for_what_a_command_reads_is_let_through() -> None:
    assert dry("EPOCHS=1", "CUDA_VISIBLE_DEVICES=", "PYTHONPATH=", "TEST=1").returncode == 0


def test_every_variable_that_the_makefile_names_at_its_head_is_known() -> None:
    text = (CHECKOUT / "Makefile").read_text("utf-8")
    named = {name for line in text.splitlines()[2:8] for name in re.findall(r"\b([A-Z][A-Z0-9_]*)=", line)}
    known = text.partition("KNOWN :=")[2].partition("GIVEN :=")[0].replace("\\", " ").split()
    assert named <= set(known)


def test_the_verbs_fit_a_terminal() -> None:
    done = subprocess.run(["make", "help"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    assert "\n  train  " in done.stdout


@pytest.fixture
def built_with_nccl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Horovod that was built for GPUs, as the file beside it says."""
    (tmp_path / "horovod-operations").write_text("NCCL")
    monkeypatch.setattr(install, "_BUILT_WITH", tmp_path / "horovod-operations")
    monkeypatch.delenv("HOROVOD_GPU_OPERATIONS", raising=False)


@pytest.mark.usefixtures("built_with_nccl")
def test_a_horovod_that_was_built_for_gpus_stays_so_when_nothing_else_is_asked_for() -> None:
    assert install._horovod_installed()
    assert install._horovod_wheels().name.endswith("-nccl")


def test_a_horovod_for_gpus_is_built_where_it_is_asked_for_and_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_BUILT_WITH", tmp_path / "none")
    monkeypatch.setenv("HOROVOD_GPU_OPERATIONS", "NCCL")
    assert not install._horovod_installed()
    assert install._horovod_wheels().name.endswith("-nccl")


@pytest.mark.usefixtures("built_with_nccl")
def test_a_build_that_fails_says_what_broke_and_leaves_the_next_set_up_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install.tools, "TOOLS", tmp_path)
    monkeypatch.setenv("SLIPWAY_WHEELS", str(tmp_path))
    monkeypatch.setattr(install, "_with_nccl", lambda build, _: build)
    program = "print('CMake Error at line 1: no compiler'); print('…\\n' * 30); exit(1)"
    monkeypatch.setattr(install, "_pip", lambda *_: [sys.executable, "-c", program])
    with pytest.raises(SystemExit, match=r"no compiler(.|\n)*make setup"):
        install._install_horovod()
    assert install._operations() == ""


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the wheels of requirements/cuda.txt put their libraries."""
    for name in ("cu13/lib/libcudart.so.13", "nccl/lib/libnccl.so.2"):
        (tmp_path / "nvidia" / name).parent.mkdir(parents=True)
        (tmp_path / "nvidia" / name).touch()
    monkeypatch.setattr(install.sysconfig, "get_path", lambda _: str(tmp_path))
    return tmp_path / "nvidia"


def test_a_build_for_gpus_takes_compiler_and_nccl_out_of_the_wheels(wheels: Path) -> None:
    build = install._with_nccl({"PATH": "/usr/bin"}, "NCCL")
    assert build["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    assert build["PATH"] == f"{wheels}/cu13/bin:/usr/bin"
    assert (Path(build["HOROVOD_CUDA_HOME"]) / "lib64/libcudart.so").exists()
    assert (Path(build["HOROVOD_NCCL_HOME"]) / "lib/libnccl.so").exists()
    install._with_nccl({"PATH": ""}, "NCCL")  # again, after a build that failed


@pytest.mark.usefixtures("wheels")
def test_a_toolkit_that_is_named_comes_before_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOROVOD_CUDA_HOME", "/opt/cuda-12.3")
    build = install._with_nccl({"PATH": "/usr/bin"}, "NCCL")
    assert (build["HOROVOD_CUDA_HOME"], build["PATH"]) == ("/opt/cuda-12.3", "/opt/cuda-12.3/bin:/usr/bin")


def test_a_demo_of_other_settings_is_trained_over_the_one_that_is_there() -> None:
    rule = (CHECKOUT / "Makefile").read_text("utf-8").partition("$(RUN)/bundle/bundle.json: $(RUN)/.settings\n")[2]
    assert rule.startswith("\t@$(TRAIN) --force\n")
