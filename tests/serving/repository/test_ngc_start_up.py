"""What the container's Python models refuse before they are ready, and that no model is served
larger batches than the gate compared.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tokenizers

from export.parity import gate
from serving import model_config
from serving.repository import ngc
from serving.server import triton
from slipway.contract import bundle, manifest
from slipway.contract.records import REPOSITORY
from slipway.contract.variants import VARIANTS
from slipway.errors import ServerError
from tests.support.command import Once, slipway_output
from tests.support.serving import word_runs

pytestmark = pytest.mark.slow  # models are compared


def build(run: Path) -> None:
    """A run with its repositories for both targets."""
    word_runs.build(run)
    slipway_output("build", run, "--target", "ngc")


@pytest.fixture(scope="module")
def run(once: Once) -> Path:
    """Read only."""
    return once("both_targets", build)


@pytest.fixture
def repository(run: Path, tmp_path: Path) -> Path:
    """The container's Python models, without the engine that this Triton cannot run."""
    copied = tmp_path / "run" / "model_repository"
    for name in (ngc.TOKENIZER, ngc.ANSWER):
        shutil.copytree(run / "model_repository_ngc" / name, copied / name)
    return copied


def start(repository: Path) -> str:
    """Start Triton on the models as they are now; return its log."""
    manifest.seal(repository, REPOSITORY, {})
    with triton.running(repository) as server:
        return server.log.read_text()


def settings_of(repository: Path) -> dict[str, Any]:
    return dict(json.loads((repository / ngc.TOKENIZER / "1" / "settings.json").read_text()))


def change_settings(repository: Path, **changes: Any) -> None:
    manifest.write_json(repository / ngc.TOKENIZER / "1" / "settings.json", {**settings_of(repository), **changes})


def test_the_tokenizer_has_the_ids_of_every_text_that_the_gate_ran_at_its_end(run: Path) -> None:
    verdict = json.loads((run / "artifacts" / "onnx_fp32" / "parity.json").read_text())
    texts = [row for row in verdict["start_up"] if row["text"] is not None]
    kept = settings_of(run / "model_repository_ngc")["start_up"]
    assert kept == [{name: row[name] for name in ("text", "ids", "types")} for row in texts]
    assert len(kept) > 3


def test_the_tokenizer_has_the_version_that_made_the_bundles_ids(run: Path, tmp_path: Path) -> None:
    source = bundle.load(run / "bundle")
    source = replace(source, facts={**source.facts, "versions": {"tokenizers": "0.1.0"}})
    golden = bundle.load_golden(source)
    variant: Any = SimpleNamespace(variant=VARIANTS["onnx_fp32"])
    ngc._write_tokenizer(tmp_path, source, golden, ngc.engine_config(variant, source, golden), [], 0)
    assert settings_of(tmp_path)["proven_on"] == {"tokenizers": "0.1.0"}


def test_the_repository_says_where_its_engine_was_compared(run: Path) -> None:
    verdict = json.loads((run / "artifacts" / "onnx_fp32" / "parity.json").read_text())
    facts = json.loads((run / "model_repository_ngc" / REPOSITORY).read_text())
    place = facts["compared_on"]["bert_onnx_fp32"]
    assert place == {
        "provider": verdict["compared_on"],
        "onnxruntime": verdict["versions"]["onnxruntime"],
        "cpu_flags": verdict["machine"]["cpu_flags"],
    }


def test_words_exchanged_in_the_vocabulary_are_refused_with_the_command_that_builds_it_again(repository: Path) -> None:
    words = repository / ngc.TOKENIZER / "1" / "vocab.txt"
    pieces = words.read_text().splitlines()
    words.write_text("\n".join([*pieces[:4], *pieces[:3:-1]]) + "\n")
    change_settings(repository, vocabulary_sha256=hashlib.sha256(words.read_bytes()).hexdigest())
    refused = r"failed to load 'tokenizer' .*start-up text 0 has other ids than in the gate: expected \d+ at 1, found \d+; "
    with pytest.raises(ServerError, match=rf"{refused}.*slipway build RUN .*--target ngc"):
        start(repository)


def test_labels_exchanged_while_served_are_refused_at_the_next_load(repository: Path) -> None:
    labels = repository / ngc.ANSWER / "1" / "labels.txt"
    labels.write_text("\n".join(reversed(labels.read_text().splitlines())) + "\n")
    refused = "failed to load 'answer' .*labels.txt has other labels than the bundle: expected 'Business' at 0, found 'World'"
    with pytest.raises(ServerError, match=rf"{refused}; .*slipway build RUN"):
        start(repository)


def test_another_version_of_tokenizers_with_the_same_ids_is_taken_and_logged(repository: Path) -> None:
    change_settings(repository, proven_on={"tokenizers": "0.1.0"})
    assert "not 0.1.0: taken, because the start-up texts have the bundle's ids" in start(repository)


def test_the_same_version_of_tokenizers_is_nothing_to_log(repository: Path) -> None:
    change_settings(repository, proven_on={"tokenizers": tokenizers.__version__})
    assert "taken, because" not in start(repository)


@pytest.mark.parametrize("directory", ["model_repository", "model_repository_ngc"])
def test_no_model_is_served_a_larger_batch_than_the_gate_compared(run: Path, directory: str) -> None:
    configs = [model_config.read(path.read_text()) for path in (run / directory).glob("*/config.pbtxt")]
    assert len(configs) >= 2
    assert {config.name: config.max_batch_size for config in configs if config.max_batch_size > gate.MAX_BATCH} == {}


@pytest.mark.parametrize("name", ngc.ENGINES)
def test_no_engine_of_the_container_is_served_a_larger_batch_than_the_gate_compared(run: Path, name: str) -> None:
    source = bundle.load(run / "bundle")
    variant: Any = SimpleNamespace(variant=VARIANTS[name])
    assert ngc.engine_config(variant, source, bundle.load_golden(source)).max_batch_size <= gate.MAX_BATCH
