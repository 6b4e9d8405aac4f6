"""The generated API of TensorRT: made from the locked versions, valid Python, and nothing of it
committed.
"""

from __future__ import annotations

import ast
import shutil
import subprocess

import pytest

from scripts import tensorrt_api
from slipway import tools


def test_what_pybind11_writes_and_python_does_not_allow_is_repaired() -> None:
    stub = (
        "from __future__ import annotations\n"
        "def a(self, in: list[int], out: list[int]) -> bool: ...\n"
        "def b(self, power: Weights = None, channel_axis: typing.SupportsInt) -> None: ...\n"
        "bool: DataType\n"
    )
    found = tensorrt_api.repaired(stub)
    ast.parse(found)
    assert "in_: list[int]" in found
    assert "-> builtins.bool" in found
    assert "\nbool: DataType" in found


@pytest.mark.parametrize("major", sorted(tensorrt_api.locks()))
def test_the_stubs_of_every_locked_version_are_valid_and_there_after_setup(major: str) -> None:
    stubs = list((tools.TENSORRT_API / major / "stubs" / "tensorrt").glob("*.pyi"))
    assert {stub.name for stub in stubs} == {"__init__.pyi", "tensorrt.pyi"}
    for stub in stubs:
        ast.parse(stub.read_text("utf-8"))


@pytest.mark.skipif(shutil.which("git") is None or not (tools.CHECKOUT / ".git").exists(), reason="needs git and a git checkout")
def test_nothing_of_nvidias_package_is_committed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=tools.CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert not [name for name in tracked.splitlines() if name.endswith((".pyi", ".whl", ".so"))]
