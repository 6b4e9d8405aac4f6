"""The command line: every command can be asked for help without loading what is heavy, and knows
when it cannot run.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.cli import COMMANDS
from tests.support.command import CHECKOUT, slipway

HEAVY = {"tensorflow", "tf_keras", "horovod", "onnx", "onnxruntime", "scipy", "plotly", "tritonclient", "grpc", "aiohttp"}
NAMES = [command.name for command in COMMANDS]


def imported(*words: str) -> set[str]:
    """Top-level modules in memory after `slipway WORDS` printed its help."""
    program = (
        "import sys; from slipway import cli\n"
        f"sys.argv = ['slipway', *{list(words)!r}]\n"
        "try: cli.main()\nexcept SystemExit as end: print('\\n', end.code, *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0"
    return set(modules)


@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_loads_nothing_heavy(name: str) -> None:
    assert imported(*name.split(), "--help") & HEAVY == set()


@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_option_of_a_command(name: str) -> None:
    done = slipway(*name.split(), "--help")
    assert done.returncode == 0
    assert f"usage: slipway {name}" in " ".join(done.stdout.split())


def test_an_unknown_command_is_refused_with_those_that_exist() -> None:
    done = slipway("trian")
    assert done.returncode == 2
    assert "train" in done.stderr


def test_options_are_not_abbreviated() -> None:
    assert slipway("train", "runs/x", "--epoc", "2").returncode == 2


def test_a_stage_without_its_checkout_is_refused_with_where_it_runs(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "slipway", tmp_path / "slipway", ignore=shutil.ignore_patterns("__pycache__"))
    lines = [
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})",
        "from slipway import cli",
        "sys.argv[1:] = ['train', 'runs/x']; cli.main()",
    ]
    program = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 9
    assert str(tmp_path) in done.stderr


def test_a_run_that_is_not_there_is_refused_with_the_command_for_the_one_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "my runs/reviews/bundle").mkdir(parents=True)
    done = slipway("export", tmp_path / "my runs/reveiws", "--variant", "onnx_fp32")
    assert done.returncode == 6
    fix = shlex.split(done.stderr.partition("fix ")[2])
    assert fix[1:] == ["export", str(tmp_path / "my runs/reviews"), "--variant", "onnx_fp32"]


@pytest.mark.parametrize("words", [["serve", "runs/nowhere"], ["compare", "runs/nowhere", "runs/nothing"], ["report", "nowhere"]])
def test_a_run_that_is_like_no_other_is_refused_before_anything_is_trained_under_its_name(words: list[str]) -> None:
    done = slipway(*words)
    assert (done.returncode, f"there is no run {words[1]}" in done.stderr, "--corpus FILE" in done.stderr) == (6, True, True)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_command(shell: str) -> None:
    done = slipway("--print-completion", shell)
    assert done.returncode == 0
    assert all(name.split()[0] in done.stdout for name in NAMES)
