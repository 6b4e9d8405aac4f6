"""The Makefile hands values on as they were typed; a program in the place of slipway shows them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import CHECKOUT

# What make, a shell, or both would read as something else; each `touch` would leave a file.
TYPED = "it's;touch a;' $HOME $$ $(touch b) `touch c` \"q\" | & \\ #% é"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of which each `slipway` prints its words, a line each, and set-up does nothing."""
    for folder in ("scripts", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copyfile(CHECKOUT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "scripts/bootstrap.sh").touch()
    program = tmp_path / ".venv/bin/slipway"
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    program.chmod(0o755)
    return tmp_path


def made(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", f"PYTHON={sys.executable}", *words]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert sorted(path.name for path in checkout.iterdir() if path.name not in ("runs", "Makefile")) == [".venv", "scripts"]
    return done


@pytest.mark.parametrize(
    ("verb", "names"),
    [
        ("train", "CORPUS ENCODER NP HOSTS MAX_SEQ_LEN EPOCHS TRAIN_ROWS GOLDEN_ROWS UNLABELLED"),
        ("export", "SAVED_MODEL VOCAB LABELS GOLDEN UNLABELLED MAX_SEQ_LEN"),
        ("tune", "P99 RATE"),
        ("promote", "VERSION"),
        ("serve", "PORT"),
        ("ask", "TEXT SECOND PORT"),
        ("bench", "BENCH P99 PRICE"),
        ("compare", "A B"),
    ],
)
def test_a_value_reaches_the_program_as_it_was_typed(verb: str, names: str, checkout: Path) -> None:
    values = {name: f"{TYPED} {name}" for name in names.split()}
    done = made(checkout, verb, *(f"{name}={value}" for name, value in values.items()))
    assert set(values.values()) <= set(done.stdout.splitlines()), done.stderr


def test_a_text_may_have_several_lines(checkout: Path) -> None:
    assert made(checkout, "ask", "TEXT=first\n$second").stdout.splitlines()[-2:] == ["first", "$second"]


@pytest.mark.parametrize("run", ["runs/mails-für'uns", 'runs/"a"', "runs/`id`", "runs/(a),b"])
def test_a_run_is_named_as_it_was_typed(run: str, checkout: Path) -> None:
    assert made(checkout, "report", f"RUN={run}").stdout.splitlines() == ["report", run]


@pytest.mark.parametrize("sign", list("$%:;=*?[]&|\\# "))
def test_a_run_that_make_would_read_as_something_else_is_refused(sign: str, checkout: Path) -> None:
    done = made(checkout, "report", f"RUN=runs/a{sign}b")
    assert (done.returncode, f"slipway COMMAND 'runs/a{sign}b'" in done.stderr) == (2, True)


def test_other_settings_are_noticed_as_they_were_typed(checkout: Path) -> None:
    target = "runs/a/.settings"
    made(checkout, target, "RUN=runs/a", f"CORPUS={TYPED}")
    before = (checkout / target).stat().st_mtime_ns
    made(checkout, target, "RUN=runs/a", f"CORPUS={TYPED}")
    assert (checkout / target).read_text("utf-8").startswith(f"{TYPED}|")
    assert (checkout / target).stat().st_mtime_ns == before


@pytest.mark.parametrize("ending", [2, 5])
def test_experiments_that_were_cut_off_leave_the_record_as_it_was(ending: int, checkout: Path) -> None:
    record = checkout / "benchmarks/records/reliability/stub_killed.jsonl"
    record.parent.mkdir(parents=True)
    record.write_text("kept")
    (checkout / ".venv/bin/python").write_text(f"#!/bin/sh\nexit {ending}\n")
    (checkout / ".venv/bin/python").chmod(0o755)
    done = subprocess.run(["make", "reliability"], cwd=checkout, capture_output=True, text=True, check=False)
    assert f"Error {ending}" in done.stderr
    assert record.read_text() == "kept"
