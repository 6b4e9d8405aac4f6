"""A disk that is really full, or read-only, in a mount namespace: what the faults in process only
resemble.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import CHECKOUT

pytestmark = pytest.mark.experiment("full disk, missing rights, cut-off files")

IN_A_NAMESPACE = ["unshare", "--user", "--mount", "--map-root-user"]  # mounts in it end with its last process
ON_A_DISK = """
disk=$1; run=$2; how=$3; shift 3
mount -t tmpfs -o size=8m slipway "$disk" && cp -r "$run" "$disk/run" || exit 99
case $how in
  full) cat /dev/zero > "$disk/filler" 2> /dev/null;;
  read-only) mount -o remount,ro "$disk" || exit 99;;
esac
find "$disk" | sort > "$disk.before"
"$@"; echo "exit $?"
find "$disk" | sort | diff "$disk.before" -
"""


@pytest.mark.parametrize(("how", "words"), [("full", "No space left on device"), ("read-only", "Read-only file system")])
@pytest.mark.parametrize("command", ["build", "report"])
def test_a_real_disk_is_said_and_nothing_is_left(how: str, words: str, command: str, finished_run: Path, tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, of util-linux")
    (tmp_path / "disk").mkdir()
    probe = subprocess.run([*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "slipway", str(tmp_path / "disk")], check=False)
    if probe.returncode:
        pytest.skip("no tmpfs can be mounted here")
    script = ["sh", "-c", ON_A_DISK, "sh", str(tmp_path / "disk"), str(finished_run), how]
    slipway = [sys.executable, "-m", "slipway.cli", command, str(tmp_path / "disk/run")]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [*IN_A_NAMESPACE, *script, *slipway], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["exit 74"], done.stdout + done.stderr
    assert words in done.stderr
    assert f"where     {tmp_path / 'disk/run'}\n" in done.stderr
