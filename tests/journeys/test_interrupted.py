"""A conversion that is killed, or runs out of room: nothing at the final path, the stage is named,
and a re-run completes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError

from export import disk_space
from export.disk_space import stage as in_stage
from slipway.contract import artifact
from slipway.errors import ConversionError, ManifestError, StorageError
from tests.support.command import CHECKOUT, succeed

pytestmark = pytest.mark.experiment("export crash")

LIMIT = 20_000  # bytes: less than any model of the tiny run, more than any of its records
PATIENCE = 60  # s


def convert(run: Path, *variants: str) -> list[str]:
    chosen = [argument for name in variants for argument in ("--variant", name)]
    return [sys.executable, "-m", "slipway.cli", "export", str(run), *chosen]


def limited(run: Path, variant: str, limit: int = LIMIT) -> subprocess.CompletedProcess[str]:
    """The conversion where no file may grow beyond the limit."""
    return subprocess.run(
        convert(run, variant),
        cwd=CHECKOUT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@contextlib.contextmanager
def started(run: Path, variant: str) -> Iterator[subprocess.Popen[bytes]]:
    """The conversion in a session of its own; whatever it started is gone afterwards."""
    process = subprocess.Popen(
        convert(run, variant), cwd=CHECKOUT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def half_written(run: Path) -> list[str]:
    return [path.name for path in (run / "artifacts").glob(".*")]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, "the conversion ended before it could be killed"
        assert time.monotonic() < deadline, "the conversion did not get that far"
        time.sleep(0.01)


# Killed


def test_a_killed_conversion_leaves_nothing_and_the_next_one_clears_up_and_completes(run_copy: Path) -> None:
    shutil.rmtree(run_copy / "artifacts/onnx_fp32")
    with started(run_copy, "onnx_fp32") as process:
        wait_for(lambda: half_written(run_copy), process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (run_copy / "artifacts/onnx_fp32").exists()
        assert half_written(run_copy) == [f".onnx_fp32.building-{process.pid}"]
    succeed(*convert(run_copy, "onnx_fp32")[1:])
    assert half_written(run_copy) == []
    assert artifact.load(run_copy / "artifacts/onnx_fp32").facts["variant"] == "onnx_fp32"


def test_a_killed_conversion_leaves_the_last_good_artifact(run_copy: Path) -> None:
    before = artifact.load(run_copy / "artifacts/onnx_fp32").sha256
    with started(run_copy, "onnx_fp32") as process:
        wait_for(lambda: half_written(run_copy), process)
        process.kill()
        process.wait()
    assert artifact.load(run_copy / "artifacts/onnx_fp32").sha256 == before


def test_a_terminated_conversion_clears_up_itself(run_copy: Path) -> None:
    before = artifact.load(run_copy / "artifacts/onnx_fp32").sha256
    with started(run_copy, "onnx_fp32") as process:
        wait_for(lambda: half_written(run_copy), process)
        process.terminate()
        assert process.wait(PATIENCE) == 130
    assert half_written(run_copy) == []
    assert artifact.load(run_copy / "artifacts/onnx_fp32").sha256 == before


# A limit on the size of files


@pytest.mark.parametrize("variant", ["onnx_fp32", "ort_fp32", "ort_int8", "onnx_fp16"])
def test_where_no_file_may_be_that_large_the_stage_is_named_and_nothing_is_left(run_copy: Path, variant: str) -> None:
    shutil.rmtree(run_copy / "artifacts" / variant)
    done = limited(run_copy, variant)
    assert done.returncode == 74, done.stderr
    assert f"{variant}: converting" in done.stderr
    assert f"files of {LIMIT:,} bytes at most (ulimit -f)" in done.stderr
    assert f"export {run_copy}" in done.stderr
    assert not (run_copy / "artifacts" / variant).exists()
    assert half_written(run_copy) == []
    for other in {*artifact.exported(run_copy)} - {variant}:  # what it was made from is as it was
        artifact.load(run_copy / "artifacts" / other)


def test_a_conversion_that_met_a_limit_leaves_the_last_good_artifact_and_completes_without_it(run_copy: Path) -> None:
    before = artifact.load(run_copy / "artifacts/ort_fp32").sha256
    assert limited(run_copy, "ort_fp32").returncode == 74
    assert artifact.load(run_copy / "artifacts/ort_fp32").sha256 == before
    succeed(*convert(run_copy, "ort_fp32")[1:])
    assert half_written(run_copy) == []
    assert artifact.load(run_copy / "artifacts/ort_fp32").sha256 != before


# A full disk

ON_A_SMALL_DISK = """
size=$1; disk=$2; kept=$3; shift 3
mount -t tmpfs -o size=$size slipway "$disk" && cp -r "$kept/." "$disk" || exit 99
"$@"; echo "exit $?"; find "$disk" -mindepth 1 -printf '%P\\n' | sort; echo "more room"
mount -o remount,size=64m "$disk" || exit 99
"$@"; echo "exit $?"; find "$disk" -mindepth 1 -printf '%P\\n' | sort
"""
IN_A_NAMESPACE = ["unshare", "--user", "--mount", "--map-root-user"]  # mounts in it end with its last process
PAGE = 4096  # bytes: what a file on a tmpfs takes is a multiple of it


@pytest.fixture
def small_disks(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, of util-linux")
    (tmp_path / "probe").mkdir()
    probe = [*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "slipway", str(tmp_path / "probe")]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")


def pages(*paths: Path) -> int:
    return sum(-(-path.stat().st_size // PAGE) for path in paths)


def convert_twice(run: Path, variant: str, room: int) -> tuple[str, list[str], list[str]]:
    """Convert with artifacts/ on a disk with `room` pages free, then with plenty: stderr; twice the
    exit code and what is there.
    """
    kept = run / "kept"
    (run / "artifacts").rename(kept)
    (run / "artifacts").mkdir()
    size = PAGE * (room + pages(*(path for path in kept.rglob("*") if path.is_file())))
    script = ["sh", "-c", ON_A_SMALL_DISK, "sh", str(size), str(run / "artifacts"), str(kept)]
    done = subprocess.run(
        [*IN_A_NAMESPACE, *script, *convert(run, variant)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    full, plenty = (part.partition("exit ")[2].splitlines() for part in done.stdout.split("more room\n"))
    return done.stderr, full, plenty


@pytest.mark.usefixtures("small_disks")
@pytest.mark.parametrize("variant", ["ort_fp32", "ort_int8"])
def test_on_a_full_disk_the_stage_is_named_nothing_is_left_and_with_room_a_second_run_completes(
    run_copy: Path, variant: str
) -> None:
    shutil.rmtree(run_copy / "artifacts" / variant)
    said, full, plenty = convert_twice(run_copy, variant, room=5)
    assert full[0] == "74"
    assert f"{variant}: converting: the disk is full" in said
    assert "MB free in " in said
    assert f"export {run_copy}" in said
    assert not [path for path in full if path.startswith((variant, "."))]
    assert plenty[0] == "0"
    assert {f"{variant}/model.onnx", f"{variant}/artifact.json", f"{variant}/parity.json"} <= set(plenty)
    assert not [path for path in plenty[1:] if path.startswith(".")]


@pytest.mark.usefixtures("small_disks")
def test_when_the_disk_is_full_before_the_verdict_is_written_there_is_none(run_copy: Path) -> None:
    directory = run_copy / "artifacts/ort_fp32"
    room = pages(directory / "model.onnx", directory / "artifact.json")
    shutil.rmtree(directory)
    said, full, plenty = convert_twice(run_copy, "ort_fp32", room)
    assert full[0] == "74"
    assert "ort_fp32: comparing: the disk is full" in said
    assert [path for path in full if path.startswith("ort_fp32/")] == ["ort_fp32/artifact.json", "ort_fp32/model.onnx"]
    assert plenty[0] == "0"
    assert "ort_fp32/parity.json" in plenty


# The stage


def fails(error: Exception, at: Path) -> None:
    with in_stage("onnx_fp16: converting", at, "make it"):
        raise error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES])
def test_what_the_system_refuses_is_said_with_the_stage_and_the_way_on(number: int, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as refused:
        fails(OSError(number, os.strerror(number)), tmp_path / "not" / "there")
    for said in ("onnx_fp16: converting", os.strerror(number), "MB free in ", "make it"):
        assert said in str(refused.value)


def test_a_full_disk_that_a_process_of_its_own_met_is_recognised_in_its_last_words(tmp_path: Path) -> None:
    found = "Traceback\nOSError: [Errno 28] No space left on device"
    with pytest.raises(StorageError, match="converting: the disk is full"):
        fails(ConversionError("tf2onnx failed", expected="", found=found, where="", fix="make train"), tmp_path)


@pytest.mark.parametrize(
    "error", [OSError(errno.ECONNREFUSED, "gone"), KeyError("x"), ManifestError("x", expected="", found="", where="", fix="")]
)
def test_other_errors_pass_as_they_are(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_space, "_free", lambda _: 0)
    with pytest.raises(type(error)) as passed:
        fails(error, tmp_path)
    assert passed.value is error


@pytest.mark.parametrize(("free", "expected"), [(10**6, StorageError), (10**12, DecodeError)])
def test_a_librarys_own_error_is_put_down_to_scarce_room_only_where_it_is(
    free: int, expected: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "_free", lambda _: free)
    with pytest.raises(expected, match="Error parsing message"):
        fails(DecodeError("Error parsing message"), tmp_path)
