"""An elastic run that loses a rank to SIGKILL: rank 0, which the others were connected to and which
wrote the history.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from horovod.common.exceptions import HorovodInternalError

from slipway.contract import bundle
from slipway.tensorflow import tf
from tests.support.training import jobs
from train.engine.elastic import State

EPOCHS = 12  # 10 steps each


class Step:
    """What a state needs of a training step, without variables."""

    variables: list[object] = []


@pytest.mark.usefixtures("one_rank")
def test_a_failed_all_reduce_lets_the_others_go_on_but_only_once_with_as_many_ranks() -> None:
    failed = tf.errors.UnknownError(None, None, "Read error [127.0.0.1]:28343: Connection reset by peer")
    state = State(Step(), Step, 0, keeps=True)  # type: ignore[arg-type]
    with pytest.raises(HorovodInternalError, match="reset by peer"), state.detect_lost_rank():
        raise failed
    with pytest.raises(tf.errors.UnknownError), state.detect_lost_rank():
        raise failed


@pytest.fixture(scope="module")
def survived(generated: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The bundle, and what was said."""
    corpus = jobs.small_corpus(generated, tmp_path_factory.mktemp("small") / "corpus")
    flags = ["--corpus", corpus, "--encoder", tiny_encoder, "--max-seq-len", 48, "--epochs", EPOCHS, "--learning-rate", 3e-3]
    flags += ["--golden-rows", 64, "--elastic", "--min-np", 1, "--processes", 2]
    out, process = jobs.finetune_to_step(25, lambda: tmp_path_factory.mktemp("elastic"), *flags)
    os.kill(jobs.process_of(jobs.scratch(out, process), 0), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stdout + stderr
    return out, stdout


def test_the_others_finish_and_the_bundle_is_complete(survived: tuple[Path, str]) -> None:
    source = bundle.load(survived[0])
    assert len(bundle.load_golden(source).logits) == 64


def test_the_loss_of_a_rank_is_said_and_recorded(survived: tuple[Path, str]) -> None:
    directory, stdout = survived
    assert "rank 0 was ended by SIGKILL" in stdout
    worlds = bundle.load(directory).facts["metrics"]["world_sizes"]
    assert [world["ranks"] for world in worlds] == [2, 1]
    assert worlds[1]["from_step"] > 20


def test_every_step_counts_once_with_all_its_examples(survived: tuple[Path, str]) -> None:
    metrics = bundle.load(survived[0]).facts["metrics"]
    steps = jobs.steps_of_bundle(survived[0])
    assert [line["step"] for line in steps] == list(range(1, metrics["steps"] + 1))
    assert [line["examples"] for line in steps[9::10]] == [metrics["train_rows"] * epoch for epoch in range(1, EPOCHS + 1)]


def test_training_went_on_where_it_was(survived: tuple[Path, str]) -> None:
    out, _ = survived
    second = bundle.load(out).facts["metrics"]["world_sizes"][1]["from_step"]
    losses = [line["loss"] for line in jobs.steps_of_bundle(out)]
    assert losses[second - 1] < losses[second - 2] + 0.3
    assert losses[-1] < 0.5 * losses[0]
