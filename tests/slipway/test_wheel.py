"""What `pip install .` gives, in an environment that has nothing else: the client against a live
server, the linter, the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.server.triton import Server
from tests.support.command import CHECKOUT

FRAMEWORKS = ("tensorflow", "onnxruntime", "onnx", "horovod", "scipy", "tokenizers")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel of this checkout and its locked dependencies, out of set-up's
    cache.
    """
    target = tmp_path_factory.mktemp("wheel")
    environment = {**os.environ, "UV_CACHE_DIR": str(CHECKOUT / ".tools/cache/uv")}
    uv = str(CHECKOUT / ".tools/uv/bin/uv")

    def run(*command: str) -> None:
        subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True)

    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target / "dist"))
    run(uv, "venv", "--python", sys.executable, str(target / "env"))
    run(uv, "pip", "sync", "--offline", "--require-hashes", "--python", str(target / "env"), "requirements/client.txt")
    wheel = str(next((target / "dist").glob("slipway-*.whl")))
    run(uv, "pip", "install", "--offline", "--no-deps", "--python", str(target / "env"), wheel)
    return target / "env"


def python(installed: Path, program: str, directory: Path) -> str:
    done = subprocess.run([installed / "bin/python", "-c", program], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_framework_is_installed_with_it(installed: Path, tmp_path: Path) -> None:
    program = f"import importlib.util as u; print([name for name in {FRAMEWORKS!r} if u.find_spec(name)])"
    assert python(installed, program, tmp_path).strip() == "[]"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_its_client_asks_a_live_server(installed: Path, echo_server: Server, protocol: str, tmp_path: Path) -> None:
    program = (
        "import slipway\n"
        f"with slipway.Client('{protocol}://{echo_server.address(protocol)}') as client:\n"
        "    print(client.classify(['ä b'])[0].label)\n"
        f"client = slipway.Client('{protocol}://{echo_server.address(protocol)}')\n"
        "print(client.classify(['c'])[0].label); client.close()\n"
    )
    assert len(python(installed, program, tmp_path).splitlines()) == 2


def test_its_command_classifies_lines(installed: Path, echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    command = [installed / "bin/slipway", "classify", "texts.txt", "--address", echo_server.address("http")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["one", "two"]


def test_its_linter_finds_what_is_wrong(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "models/broken").mkdir(parents=True)
    (tmp_path / "models/broken/config.pbtxt").write_text('name: "other"\nbackend: "python"\n')
    done = subprocess.run([installed / "bin/slipway", "lint", "models"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 6
    assert "broken" in done.stdout
    assert int(python(installed, "import slipway; print(len(slipway.lint('models')))", tmp_path)) > 0
