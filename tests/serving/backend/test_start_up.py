"""What a version refuses before it is ready: a tokenizer or labels that are not the gate's.

Its engine's answers: test_engine.py.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from serving.server import triton
from slipway.contract import manifest
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.errors import ServerError
from tests.support.serving import tiny_repository

Settings = dict[str, Any]
TEXT = {"text": "good", "ids": [2, 4, 3], "types": [0, 0, 0], "logits": [[0.0, 0.0]]}
PIECES = {"text": None, "ids": [4, 6, 5], "types": [0, 0, 1]}  # what no text would be
PAIR = {"text": ["good", "good"], "ids": [2, 4, 3, 4, 3], "types": [0, 0, 0, 1, 1]}
WORDS = {"text": ["good", "nan"], "ids": [2, 4, 5, 3], "types": [0] * 4}


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return tiny_repository.classifiers(tmp_path / "run") / "model_repository" / TEXT_MODEL / "1"


@pytest.fixture
def module(version: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import a module of the version by its bare name, as its model does."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("not asked"))
    monkeypatch.syspath_prepend(str(version))
    yield importlib.import_module
    for path in version.glob("*.py"):
        sys.modules.pop(path.stem, None)


def settings(version: Path, *start_up: dict[str, Any], **others: Any) -> Settings:
    """The version's, with these rows and others."""
    return {**json.loads((version / "settings.json").read_text()), "start_up": list(start_up), **others}


@pytest.mark.parametrize(("task", "row"), [("single_text", TEXT), ("text_pair", PAIR), ("tagging", WORDS)])
def test_a_tokenizer_that_gives_the_gates_ids_and_types_is_taken(
    module: Callable[[str], Any], version: Path, task: str, row: dict[str, Any]
) -> None:
    assert module("inputs").tokenizer(settings(version, row, PIECES, task=task))


OTHER_IDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another case": ({"text": "Good"}, {"lower_case": False}, "expected 4 at 1, found 1"),
    "another length": (
        {"text": "good good", "ids": [2, 4, 4, 3], "types": [0] * 4},
        {"max_seq_len": 3},
        "expected 4 at 2, found 3",
    ),
    "other types": ({"types": [0, 0, 1]}, {}, "expected 1 at 2, found 0"),
    "ids too many": ({"ids": [2, 4]}, {}, "expected None at 2, found 3"),
}


@pytest.mark.parametrize("what", OTHER_IDS)
def test_a_tokenizer_that_gives_other_ids_is_refused_with_the_first_of_them(
    module: Callable[[str], Any], version: Path, what: str
) -> None:
    row, others, message = OTHER_IDS[what]
    with pytest.raises(RuntimeError, match=f"start-up text 1 has other ids than in the gate: {message}"):
        module("inputs").tokenizer(settings(version, PIECES, {**TEXT, **row}, **others))


def test_two_words_exchanged_in_the_vocabulary_are_refused_whatever_hash_the_settings_have(
    module: Callable[[str], Any], version: Path
) -> None:
    words = (version / "vocab.txt").read_text().replace("good\nnan", "nan\ngood")
    (version / "vocab.txt").write_text(words)
    sha256 = hashlib.sha256(words.encode()).hexdigest()
    with pytest.raises(RuntimeError, match="expected 4 at 1, found 5"):
        module("inputs").tokenizer(settings(version, TEXT, vocabulary_sha256=sha256))


def test_the_bundles_labels_are_read(module: Callable[[str], Any], version: Path) -> None:
    assert module("outputs").read_labels(settings(version, TEXT, labels=["no", "yes"])) == ["no", "yes"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("yes\nno\n", "other labels than the bundle: expected 'no' at 0, found 'yes'"),
        ("no\nyes\nperhaps\n", "other labels than the bundle: expected None at 2, found 'perhaps'"),
        ("no\n", "other labels than the bundle: expected 'yes' at 1, found None"),
    ],
)
def test_labels_that_are_not_the_bundles_are_refused(
    module: Callable[[str], Any], version: Path, labels: str, message: str
) -> None:
    (version / "labels.txt").write_text(labels)
    with pytest.raises(RuntimeError, match=message):
        module("outputs").read_labels(settings(version, TEXT, labels=["no", "yes"]))


def test_labels_that_are_too_few_for_the_logits_are_refused(module: Callable[[str], Any], version: Path) -> None:
    with pytest.raises(RuntimeError, match="expected 3, found 2"):
        module("outputs").read_labels(settings(version, {**TEXT, "logits": [[0.0, 0.0, 0.0]]}, labels=["no", "yes"]))


def start(version: Path, **others: Any) -> None:
    """Start Triton on the repository with these settings of text_classifier, and stop it again."""
    for name in (TEXT_MODEL, "ids"):
        path = version.parents[1] / name / "1" / "settings.json"
        own = others if name == TEXT_MODEL else {}
        manifest.write_json(path, settings(path.parent, TEXT, labels=["no", "yes"], tolerance=1e-4) | own)
    manifest.seal(version.parents[1], REPOSITORY, {})
    with triton.running(version.parents[1]):
        pass


def test_a_server_leaves_its_repository_as_it_was_sealed(version: Path) -> None:
    start(version)
    triton.check_files(version.parents[1])


REFUSED = {
    "a label too many": ({"labels": ["no"]}, "labels.txt has other labels than the bundle: expected None at 1, found 'yes'"),
    "another text": ({"start_up": [{**TEXT, "text": "nan"}]}, "start-up text 0 has other ids than in the gate: expected 4 at 1"),
    "other logits": (
        {"start_up": [{**TEXT, "logits": [[0.0, 0.5]]}]},
        r"the largest \|Δlogit\| is 0.5, the limit 0.0001; compare again",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_who_starts_a_server_reads_why_a_version_was_refused(version: Path, what: str) -> None:
    others, message = REFUSED[what]
    with pytest.raises(ServerError, match=f"failed to load '{TEXT_MODEL}' version 1: Internal: RuntimeError: .*{message}"):
        start(version, **others)


def test_what_was_not_compared_here_is_to_be_compared_and_built_before_the_next_start(version: Path) -> None:
    run = version.parents[2]
    (run / "bundle").mkdir()
    with pytest.raises(ServerError) as caught:
        start(version, proven_on={"onnxruntime": "1.4.0"})
    assert "the gate ran elsewhere: expected onnxruntime 1.4.0, found 1" in caught.value.where
    assert f"export {run} --compare-only && " in caught.value.fix
    assert f"build {run}, then the same command again" in caught.value.fix
