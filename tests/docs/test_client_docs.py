"""docs/clients.md: every program and command in it runs as it stands against a real Triton."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.server import control
from serving.server.triton import Server
from slipway.client.transport import Options
from tests.support.command import CHECKOUT

TEXT = (CHECKOUT / "docs/clients.md").read_text("utf-8")
SECTION = re.compile(r"^## (.*?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(language, code, id=f"{title}, {number}")
    for title, section in SECTION.findall(TEXT)
    for number, (language, code) in enumerate(BLOCK.findall(section), 1)
]


def test_every_way_in_has_an_example() -> None:
    titles = {str(one.id).partition(",")[0] for one in EXAMPLES}
    assert titles == {"From Python", "Files and pipes", "curl", "tritonclient", "System shared memory", "Other ways to ask"}
    assert len(EXAMPLES) == TEXT.count("\n```") / 2


@pytest.mark.parametrize(("language", "code"), EXAMPLES)
def test_an_example_runs(language: str, code: str, echo_server: Server, tmp_path: Path) -> None:
    if code.startswith("curl") and not shutil.which("curl"):
        pytest.skip("no curl: it is the reader's own, and set-up does not bring it")
    for written, served in (("127.0.0.1:8000", echo_server.http), ("127.0.0.1:8001", echo_server.grpc)):
        code = code.replace(written, served)
    code = code.replace("classify --protocol grpc", f"classify --protocol grpc --address {echo_server.grpc}")
    code = code.replace("classify news.txt", f"classify news.txt --address {echo_server.http}")  # its default is another port
    _leave_key(echo_server, tmp_path / "runs" / "agnews")
    program = [sys.executable, "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        program,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    text = "Oil prices fall as OPEC raises output"  # this model's label; its first logit is the text's length
    assert text in done.stdout or f"[[{len(text)}." in done.stdout or f"{len(text)}.000000 0" in done.stdout
    assert not list(Path("/dev/shm").glob("slipway_example_*"))


def _leave_key(server: Server, run: Path) -> None:
    """As `make serve` does."""
    run.mkdir(parents=True)
    (run / control.RECORD).write_text(json.dumps({"header": control.HEADER, "key": server.key}))


def test_defaults_are_the_clients() -> None:
    written = dict(re.findall(r"^\| `(deadline|retries)` \| (\d+) \|", TEXT, re.MULTILINE))
    assert {name: float(value) for name, value in written.items()} == {"deadline": Options.deadline, "retries": Options.retries}
