"""What belongs to one version of a model, and is not mixed with another's: its config, its warm-up
data and its labels.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import model_config
from serving.registry import versions
from slipway.lint import linter
from tests.support.serving import tiny_repository


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A model whose warm-up sample lies in a file."""
    model = tiny_repository.sleepers(tmp_path / "run", ("one",)) / "model_repository" / "one"
    config = model_config.read((model / "config.pbtxt").read_text())
    sample = config.model_warmup.add(name="zero", batch_size=1)
    sample.inputs["x"].CopyFrom(type(sample.inputs["x"])(data_type="TYPE_FP32", dims=[1], input_data_file="zero"))
    versions.write_config(model, config)
    (model / "warmup").mkdir()
    (model / "warmup" / "zero").write_bytes(bytes(4))
    return model


def test_every_version_has_its_own_config_and_warm_up(compiled: Path, tmp_path: Path) -> None:
    model = tmp_path / "model_repository" / "one"
    versions.add(compiled, model, 1)
    (compiled / "warmup" / "zero").unlink()
    (compiled / "warmup" / "zero").write_bytes(b"\0\0\0\1")
    versions.add(compiled, model, 2)
    for number in (1, 2):
        versions.activate(model, number)
        config = model_config.read((model / "config.pbtxt").read_text())
        assert list(config.version_policy.specific.versions) == [number]
        assert config.model_warmup[0].inputs["x"].input_data_file == f"{number}/zero"
        assert not linter.check(model.parent).findings
    assert (model / "warmup" / "1" / "zero").read_bytes() == bytes(4)


def test_every_version_has_its_own_labels_and_one_from_before_none(compiled: Path, tmp_path: Path) -> None:
    model = tmp_path / "model_repository" / "one"
    versions.add(compiled, model, 1)
    config = model_config.read((compiled / "config.pbtxt").read_text())
    config.output[0].label_filename = "1/labels.txt"
    versions.write_config(compiled, config)
    (compiled / "1" / "labels.txt").write_text("yes\n")
    versions.add(compiled, model, 2)
    for number, labels in ((2, "2/labels.txt"), (1, "")):
        versions.activate(model, number)
        assert model_config.read((model / "config.pbtxt").read_text()).output[0].label_filename == labels
        assert not linter.check(model.parent).findings
    versions.stage(model, 2, "one_canary", tmp_path / "canaries" / "one_canary")
    assert not linter.check(tmp_path / "canaries").findings


def test_a_dropped_version_leaves_nothing(compiled: Path, tmp_path: Path) -> None:
    model = tmp_path / "model_repository" / "one"
    for number in (1, 2):
        versions.add(compiled, model, number)
    versions.drop(model, 1)
    left = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
    assert left >= {"2/model.py", "configs/2.pbtxt", "warmup/2/zero"}
    assert not [name for name in left if "1" in name]


def test_a_staged_version_is_a_whole_model_of_another_name(compiled: Path, tmp_path: Path) -> None:
    model, canaries = tmp_path / "model_repository" / "one", tmp_path / "canaries"
    for number in (1, 2):
        versions.add(compiled, model, number)
    versions.stage(model, 2, "one_canary", canaries / "one_canary")
    assert not linter.check(canaries).findings
    assert model_config.read((canaries / "one_canary" / "config.pbtxt").read_text()).name == "one_canary"
