"""The linter's report as text, JSON and SARIF, and the page that explains its rules."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.cli import COMMANDS
from slipway.lint import linter, reports
from slipway.lint.catalogue import RULES
from tests.slipway.lint.server_cases import BASE, PYTHON, write_all
from tests.support.command import CHECKOUT

PAGE = (CHECKOUT / "docs/lint.md").read_text("utf-8")

FAULTS = """
instance_group [
  { kind: KIND_CPU },
  { kind: KIND_CPU
    gpus: [ 0 ] }
]
dynamic_batching {
  priority_levels: 2
}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model with two faults, and a Python model without any; the working directory is above."""
    monkeypatch.chdir(tmp_path)
    for name, config, file in (("wrong", BASE, "model.bin"), ("right", PYTHON, "model.py")):
        (tmp_path / "my models" / name / "1").mkdir(parents=True)
        (tmp_path / "my models" / name / "config.pbtxt").write_text(config)
        (tmp_path / "my models" / name / "1" / file).write_text("class TritonPythonModel: ...")
    (tmp_path / "my models/wrong/config.pbtxt").write_text(BASE + FAULTS)
    return Path("my models")


def sarif(repository: Path) -> dict[str, Any]:
    [run] = json.loads(reports.render(linter.check(repository), "sarif"))["runs"]
    return dict(run)


def test_text_ends_with_what_was_counted(repository: Path) -> None:
    assert reports.render(linter.check(repository), "text").endswith("my models: models 2, errors 2, warnings 0, not checked 2")


def test_json_has_the_version_that_a_rule_holds_for(repository: Path) -> None:
    label = 'output { name: "l" data_type: TYPE_FP32 dims: [ 1 ] label_filename: "../labels" }\n'
    (repository / "labels").write_text("one\n")
    (repository / "right/config.pbtxt").write_text(PYTHON + label)
    findings = json.loads(reports.render(linter.check(repository), "json"))["findings"]
    assert [(finding["severity"], finding["since"]) for finding in findings if finding["model"] == "right"] == [
        ("warning", "Triton 26.x")
    ]


def test_sarif_names_each_fault_with_its_rule_level_and_line(repository: Path) -> None:
    results = [
        (result["ruleId"], result["level"], result["locations"][0]["physicalLocation"]["region"]["startLine"])
        for result in sarif(repository)["results"]
    ]
    lines = (repository / "wrong/config.pbtxt").read_text().splitlines()
    at = {name: 1 + next(number for number, line in enumerate(lines) if name in line) for name in ("gpus", "dynamic_batching")}
    assert results == [("priority", "error", at["dynamic_batching"]), ("instance-group", "error", at["gpus"])]


def test_sarif_has_paths_as_code_hosts_want_them(repository: Path) -> None:
    uris = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in sarif(repository)["results"]}
    assert uris == {"my%20models/wrong/config.pbtxt"}


def test_sarif_explains_the_rules_that_it_uses(repository: Path) -> None:
    run = sarif(repository)
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"]: rule["help"]["text"] for rule in rules} == {
        name: RULES[name].fix for name in ("priority", "instance-group")
    }
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])


def test_sarif_keeps_what_was_not_checked(repository: Path) -> None:
    [invocation] = sarif(repository)["invocations"]
    texts = [note["message"]["text"] for note in invocation["toolExecutionNotifications"]]
    assert "not checked: right: names, dtypes and dims against the model file: a Python model declares none" in texts


@pytest.mark.parametrize("kind", ["text", "json", "sarif"])
def test_a_name_that_is_not_utf_8_can_be_shown(repository: Path, kind: str) -> None:
    (repository / os.fsdecode(b"m\xffdel")).mkdir()
    assert "config-missing" in reports.render(linter.check(repository), kind)


def test_a_repository_without_faults_is_sarif_without_results(repository: Path) -> None:
    (repository / "wrong/config.pbtxt").write_text(BASE)
    assert sarif(repository)["results"] == []


def test_the_page_explains_every_rule_as_the_linter_does() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \|$", PAGE.partition("## Rules")[2], re.MULTILINE)
    assert {name: (meaning, fix) for name, meaning, fix in rows} == {name: (rule.meaning, rule.fix) for name, rule in RULES.items()}


def test_every_rule_that_a_model_breaks_is_explained(tmp_path: Path) -> None:
    write_all(tmp_path / "repository")
    broken = {finding.rule for finding in linter.check(tmp_path / "repository").findings}
    assert len(broken) > len(RULES) / 2
    assert broken <= RULES.keys()


def test_every_rule_that_is_explained_is_one_of_the_linter() -> None:
    sources = "".join(path.read_text("utf-8") for path in (CHECKOUT / "slipway/lint/rules").glob("*.py"))
    sources += "".join((CHECKOUT / "slipway/lint" / name).read_text("utf-8") for name in ("linter.py", "models.py"))
    assert {name for name in RULES if f'"{name}"' not in sources} == set()


def test_the_hook_runs_a_command_that_there_is() -> None:
    [hook] = yaml.safe_load((CHECKOUT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert hook["entry"].removeprefix("slipway ") in {command.name for command in COMMANDS}
    assert hook["id"] in PAGE


@pytest.mark.parametrize(
    ("path", "runs"),
    [
        ("deploy/models/bert/config.pbtxt", True),
        ("models/bert/1/model.onnx", True),
        ("models/bert/labels.txt", True),
        ("README.md", False),
        ("src/model.py", False),
    ],
)
def test_the_hook_runs_for_a_models_files(path: str, runs: bool) -> None:
    [hook] = yaml.safe_load((CHECKOUT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert bool(re.search(hook["files"], path)) == runs
