"""Fetch a Debian package without root, with apt-get's own lists. Standard library only.

python -m scripts.debian python3-pip-whl .tools/apt
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path


def fetch(package: str, target: Path) -> None:
    """Unpack `package`, from this machine's apt sources, into `target`.

    Raises OSError, CalledProcessError.
    """
    state = target.resolve() / "state"
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    user = pwd.getpwuid(os.getuid()).pw_name
    options = [
        f"Dir::State::Lists={state / 'lists'}",
        f"Dir::Cache={state}",
        "Debug::NoLocking=1",
        f"APT::Sandbox::User={user}",
    ]
    apt = ["apt-get", "--quiet", *(word for option in options for word in ("-o", option))]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", package], check=True, cwd=state)
    for archive in state.glob(f"{package}_*.deb"):
        subprocess.run(["dpkg", "-x", str(archive), str(target)], check=True)


if __name__ == "__main__":
    fetch(sys.argv[1], Path(sys.argv[2]))
