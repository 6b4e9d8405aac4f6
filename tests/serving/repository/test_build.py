"""What passed is compiled, what did not is left out; and the same artifacts give the same bytes."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving import commands, model_config
from serving.repository import compiler, embedded, engines
from serving.repository.compiler import BuildSettings
from serving.repository.embedded import Share
from serving.served_parity import ServedCheck
from serving.server import passing
from slipway.contract import artifact, bundle, manifest
from slipway.contract.parity.judgement import UNDECIDED, Failure
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.errors import ParityError
from tests.support.command import Once, slipway, slipway_output
from tests.support.serving import word_runs

pytestmark = pytest.mark.slow  # models are compared
SETTINGS = BuildSettings("embedded", "", cores=2, instances=1, threads=2, priorities=0)


@pytest.fixture(scope="module")
def two_variants(once: Once) -> Path:
    """A run whose two variants passed. Read only."""
    return once("two_variants", lambda run: word_runs.make(run, variants=("onnx_fp32", "ort_fp32")))


@pytest.fixture
def run(two_variants: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_variants, tmp_path / "run"))


def written(run: Path, target: Path, settings: BuildSettings = SETTINGS) -> dict[str, str]:
    """Path → sha256 of what is compiled."""
    source = bundle.load(run / "bundle")
    target.mkdir()
    compiler.write(target, source, bundle.load_golden(source), artifact.verdicts(run, source.sha256).passed, settings)
    return manifest.hashes(target)


def change_verdict(run: Path, variant: str, **changes: Any) -> dict[str, Any]:
    path = run / "artifacts" / variant / "parity.json"
    record: dict[str, Any] = json.loads(path.read_text())
    manifest.write_json(path, {**record, **changes})
    return record


def settings_of(repository: Path, model: str = TEXT_MODEL) -> dict[str, Any]:
    return dict(json.loads((repository / model / "1" / "settings.json").read_text()))


def test_the_same_artifacts_and_settings_give_the_same_bytes(two_variants: Path, tmp_path: Path) -> None:
    first, second = (written(two_variants, tmp_path / name) for name in ("first", "second"))
    assert first == second


@pytest.mark.parametrize("target", ["embedded", "ngc"])
def test_every_models_logits_name_the_labels_in_a_sealed_file_of_the_version(
    two_variants: Path, tmp_path: Path, target: str
) -> None:
    settings = SETTINGS if target == "embedded" else replace(SETTINGS, target="ngc", cores=0, instances=0, threads=0)
    files = written(two_variants, tmp_path / "compiled", settings)
    models = {path.parent for path in (tmp_path / "compiled").glob("*/config.pbtxt")}
    having = {model.name for model in models if named_by(model) == "1/labels.txt" and f"{model.name}/1/labels.txt" in files}
    assert having == {model.name for model in models} - {"tokenizer"}
    assert {model.joinpath("1/labels.txt").read_text() for model in models if model.name in having} == {"Business\nSports\nWorld\n"}


def named_by(model: Path) -> str:
    """Return the file that the output of logits names, if there is one."""
    config = model_config.read((model / "config.pbtxt").read_text())
    return "".join(output.label_filename for output in config.output if output.name == "logits")


@pytest.mark.parametrize(("task", "named"), [("single_text", "1/labels.txt"), ("text_pair", "1/labels.txt"), ("tagging", "")])
def test_a_taggers_logits_have_no_names(task: str, named: str) -> None:
    source: Any = SimpleNamespace(task=task, labels=("World", "Sports"))
    assert embedded.logits_output(source).labels == named


def test_what_did_not_pass_is_left_out_and_said(run: Path) -> None:
    (run / "artifacts" / "ort_fp32" / "parity.json").unlink()
    shown = slipway_output("build", run)
    assert "left out    ort_fp32: no parity.json" in shown
    models = {path.name for path in (run / "model_repository").iterdir() if path.is_dir()}
    assert models == {TEXT_MODEL, "bert_onnx_fp32"}


def test_a_variant_that_passed_can_be_left_out_and_the_repositorys_command_says_so(run: Path) -> None:
    slipway_output("build", run, "--without", "ort_fp32")
    models = {path.name for path in (run / "model_repository").iterdir() if path.is_dir()}
    assert models == {TEXT_MODEL, "bert_onnx_fp32"}
    built = passing.built_with(run, json.loads((run / "model_repository" / REPOSITORY).read_text()))
    assert shlex.split(built.command(run))[-2:] == ["--without", "ort_fp32"]


def test_what_a_live_check_did_not_decide_on_is_left_out_by_the_command_that_it_names(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slipway_output("build", run, "--engine", "ort_fp32")
    record = json.loads((run / "model_repository" / REPOSITORY).read_text())
    commands._say_what_is_decided(run, [checked("onnx_fp32"), checked("ort_fp32", UNDECIDED)], record)
    build = capsys.readouterr().out.partition(": ")[2].partition(" && ")[0]
    slipway_output(*shlex.split(build)[1:])
    models = json.loads((run / "model_repository" / REPOSITORY).read_text())
    assert (models[TEXT_MODEL], list(models["models"])) == ("onnx_fp32", ["bert_onnx_fp32"])


@pytest.mark.parametrize("verdict", ["passed", "worse"])
def test_nothing_is_proposed_where_all_passed_or_something_is_worse(
    run: Path, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [checked("onnx_fp32", verdict), checked("ort_fp32", UNDECIDED if verdict == "worse" else "passed")]
    commands._say_what_is_decided(run, checks, {})
    assert capsys.readouterr().out == ""


def checked(variant: str, verdict: str = "passed") -> ServedCheck:
    """A live check of this variant, of which only the verdict is looked at."""
    missing = Failure("flip rate", 0.1, 0.01, shown=verdict == "worse")
    check = ServedCheck.__new__(ServedCheck)
    for name, value in {"variant": variant, "wrong_answers": [], "failures": [] if verdict == "passed" else [missing]}.items():
        object.__setattr__(check, name, value)
    return check


@pytest.mark.parametrize(("times", "chosen"), [(0.5, "ort_fp32"), (2.0, "onnx_fp32")])
def test_the_faster_engine_as_measured_is_chosen(run: Path, tmp_path: Path, times: float, chosen: str) -> None:
    cost = change_verdict(run, "onnx_fp32")["cost"]
    change_verdict(run, "ort_fp32", cost={name: seconds * times for name, seconds in cost.items()})
    written(run, tmp_path / "compiled")
    assert settings_of(tmp_path / "compiled")["variant"] == chosen


def test_the_engine_that_is_asked_for_is_taken_however_slow(run: Path, tmp_path: Path) -> None:
    cost = change_verdict(run, "onnx_fp32")["cost"]
    for times, engine in ((0.5, "onnx_fp32"), (2.0, "ort_fp32")):
        change_verdict(run, "ort_fp32", cost={name: seconds * times for name, seconds in cost.items()})
        written(run, tmp_path / engine, replace(SETTINGS, engine=engine))
        assert settings_of(tmp_path / engine)["variant"] == engine


def test_an_engine_that_did_not_pass_is_refused_with_one_that_did(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError) as refusal:
        written(run, tmp_path / "compiled", replace(SETTINGS, engine="ort_int8"))
    assert f"build {run} --target embedded --engine onnx_fp32 " in refusal.value.fix


def test_a_model_on_a_gpu_is_not_held_to_what_was_compared_on_the_cpu(two_variants: Path, tmp_path: Path) -> None:
    source = bundle.load(two_variants / "bundle")
    [converted, _] = artifact.verdicts(two_variants, source.sha256).passed
    embedded.write_text_model(tmp_path, converted, source, bundle.load_golden(source), Share(), provider=engines.CUDA)
    settings = settings_of(tmp_path)
    assert "proven_on" not in settings
    assert not any("logits" in row for row in settings["start_up"])


@pytest.mark.parametrize("model", [TEXT_MODEL, "bert_onnx_fp32"])
def test_a_version_has_what_its_artifact_answered_in_the_gate(two_variants: Path, tmp_path: Path, model: str) -> None:
    written(two_variants, tmp_path / "compiled", replace(SETTINGS, engine="onnx_fp32"))
    settings = settings_of(tmp_path / "compiled", model)
    verdict = json.loads((two_variants / "artifacts" / "onnx_fp32" / "parity.json").read_text())
    assert settings["start_up"] == verdict["start_up"]
    assert all(row["logits"] for row in settings["start_up"])
    assert settings["tolerance"] == pytest.approx(1e-3 * verdict["logit_spread"])
    assert settings["proven_on"]["onnxruntime"] == verdict["versions"]["onnxruntime"]
    assert settings["proven_on"]["cpu_flags"] == verdict["machine"]["cpu_flags"]


def test_what_was_compared_on_a_gpu_is_not_built_for_the_cpu(run: Path, tmp_path: Path) -> None:
    change_verdict(run, "ort_fp32", compared_on=engines.CUDA)
    with pytest.raises(ParityError, match="compared elsewhere"):
        written(run, tmp_path / "compiled")


def test_what_was_compared_elsewhere_is_refused_until_it_is_compared_here(run: Path) -> None:
    change_verdict(run, "ort_fp32", versions={"onnxruntime": "1.4.0"})
    done = slipway("build", run)
    assert done.returncode == 1
    assert f"export {run} --compare-only" in done.stderr
    slipway_output("export", run, "--compare-only")
    slipway_output("build", run)
