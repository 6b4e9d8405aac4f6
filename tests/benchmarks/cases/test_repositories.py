from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import repositories
from benchmarks.cases.answers import Answer

MODEL_PY = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
MODEL = 'backend: "python"\nmax_batch_size: 8\n' + "".join(
    f'{kind} {{ name: "{name}" data_type: TYPE_FP32 dims: [ 1 ] }}\n' for kind, name in (("input", "x"), ("output", "y"))
)
TWO_ERRORS = MODEL + "response_cache { enable: true }\nsequence_batching { direct { minimum_slot_utilization: 2.0 } }\n"
ENSEMBLE = (
    'platform: "ensemble"\n'
    + MODEL.partition("\n")[2]
    + 'ensemble_scheduling { step { model_name: "model" model_version: -1 '
    + "".join(f'{kind}_map {{ key: "{name}" value: "{name}" }} ' for kind, name in (("input", "x"), ("output", "y")))
    + "} }\n"
)


def write(repository: Path, name: str, config: str) -> None:
    (repository / name).mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)


def answer(directory: Path, case: str, verdict: str, monkeypatch: pytest.MonkeyPatch) -> Answer:
    monkeypatch.setitem(repositories._VERDICTS, case, verdict)
    return next(answer for answer in repositories.answers(directory) if answer.case == case)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for name, config in (("model", MODEL), ("two_errors", TWO_ERRORS)):
        write(tmp_path / "r05-kind/repository", name, config)
        (tmp_path / f"r05-kind/repository/{name}/1").mkdir()
        (tmp_path / f"r05-kind/repository/{name}/1/model.py").write_text(MODEL_PY)
    return tmp_path


@pytest.mark.parametrize("rule", ["cache", "sequence"])
def test_the_expected_rule_counts_wherever_it_stands_and_is_shown(rule: str, cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = answer(cases, "r05-kind/repository/two_errors", f"error: {rule}", monkeypatch)
    assert (judged.status, judged.good, judged.line.split(": ")[:2]) == (6, True, ["error", rule])


@pytest.mark.parametrize("verdict", ["error: sequence-control", "warning: cache", "nothing found", "no error", "not checked"])
def test_another_rule_or_a_milder_verdict_is_not_the_good_answer(
    verdict: str, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(cases, "r05-kind/repository/two_errors", verdict, monkeypatch).good is False


@pytest.mark.parametrize(
    ("verdict", "good"), [("nothing found", True), ("no error", True), ("not checked: names", False), ("error: cache", False)]
)
def test_a_sound_model_has_nothing_found(verdict: str, good: bool, cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(cases, "r05-kind/repository/model", verdict, monkeypatch).good is good


def test_an_ensemble_has_the_empty_version_that_was_lost_on_the_way(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(cases / "r05-kind/repository", "ensemble", ENSEMBLE)
    assert answer(cases, "r05-kind/repository/ensemble", "nothing found", monkeypatch).good is True
    assert not (cases / "r05-kind/repository/ensemble/1").exists()
