"""A repository is served, verified and measured only while its artifacts pass."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from serving.server import passing
from slipway.contract import manifest
from slipway.errors import ParityError, SlipwayError
from tests.support.command import Once, slipway, slipway_output
from tests.support.serving import tiny_repository, word_runs

VARIANTS = ("onnx_fp32", "ort_fp32")


@pytest.fixture(scope="session")
def two_engines(once: Once) -> Path:
    """A run with two variants. Read only."""
    return once("two_engines", lambda run: word_runs.build(run, variants=VARIANTS))


@pytest.fixture
def run(two_engines: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_engines, tmp_path / "run"))


def worsen(run: Path, variant: str) -> None:
    """Give a variant a verdict that is worse than when the repository was compiled."""
    path = run / "artifacts" / variant / "parity.json"
    record = json.loads(path.read_text())
    manifest.write_json(path, {**record, "flips": record["rows"] // 2})


def test_a_run_whose_artifacts_pass_is_taken(two_engines: Path) -> None:
    assert {converted.variant.name for converted in passing.check(two_engines).passed} == {*VARIANTS}


@pytest.mark.parametrize("command", ["serve", "verify", "bench"])
def test_a_verdict_that_became_worse_is_refused(run: Path, command: str) -> None:
    worsen(run, "ort_fp32")
    done = slipway(command, run)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ort_fp32: shown to be worse" in done.stderr


def test_the_fix_builds_what_passes_though_the_failed_engine_was_wanted(run: Path) -> None:
    slipway_output("build", run, "--engine", "ort_fp32")
    worsen(run, "ort_fp32")
    with pytest.raises(ParityError) as refusal:
        passing.check(run)
    slipway_output(*shlex.split(refusal.value.fix)[1:])
    assert [converted.variant.name for converted in passing.check(run).passed] == ["onnx_fp32"]


def test_a_repository_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match="bundle"):
        passing.check(tiny_repository.sleepers(tmp_path / "run"))
