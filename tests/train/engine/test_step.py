from __future__ import annotations

import dataclasses
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import pytest

from slipway.contract.bundle import NOT_ASKED
from slipway.errors import TrainingError
from slipway.tensorflow import tf
from tests.support.models import tiny_modules
from train.engine import step
from train.engine.step import StepResult, TrainStep
from train.job import Job

pytestmark = pytest.mark.usefixtures("one_rank")


def run(job: Job, steps: int = 30) -> tuple[TrainStep, list[StepResult]]:
    take = tiny_modules.step(job)
    return take, [take([tiny_modules.batch(seed=number % 2)], 8, number) for number in range(steps)]


@pytest.fixture(scope="module")
def plain(module: str, one_rank: None) -> list[float]:
    return [result.loss for result in run(tiny_modules.job(module))[1]]


def test_training_lowers_the_loss(plain: list[float]) -> None:
    assert np.mean(plain[-5:]) < 0.5 * np.mean(plain[:5])


@pytest.mark.parametrize(
    ("amp", "xla"), [("none", True), ("bfloat16", False), ("bfloat16", True), ("float16", False), ("float16", True)]
)
def test_precision_and_compiler_leave_the_learning_curve_as_it_is(module: str, plain: list[float], amp: str, xla: bool) -> None:
    """The same masks are drawn in all of them, so that the curves differ by rounding only."""
    losses = [result.loss for result in run(tiny_modules.job(module, amp=amp, xla=xla))[1]]
    assert np.abs(np.subtract(losses, plain)).mean() < (0.01 if amp == "none" else 0.1)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_a_result_says_what_was_done(module: str) -> None:
    job = tiny_modules.job(module)
    take = tiny_modules.step(job)
    take.schedule = lambda number: 0.1 / (1 + number)
    results = [take([tiny_modules.batch()], 8, number) for number in range(2)]
    assert [result.learning_rate for result in results] == [0.1, 0.05]
    assert not any(result.skipped or result.stop or result.nonfinite_ranks for result in results)
    assert all(result.gradient_norm > 0 for result in results)


def test_the_jobs_schedule_is_followed(module: str) -> None:
    job = tiny_modules.job(module)
    settings = {"decay": "cosine", "warm_up": 0.5, "scale_learning_rate": True}
    take = TrainStep(tiny_modules.step(job)._model, dataclasses.replace(job, **settings), 4)
    assert [take.schedule(number) for number in range(4)] == pytest.approx([0.005, 0.01, 0.01, 0.005])


def test_the_loss_is_the_mean_cross_entropy_of_the_batch(module: str) -> None:
    take = tiny_modules.step(tiny_modules.job(module), dropped=False)
    feed, labels = tiny_modules.batch()
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, take._model(feed))
    assert take([(feed, labels)], 8, 0).loss == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-5)


def test_a_taggers_tokens_without_a_tag_count_nothing(module: str) -> None:
    take = tiny_modules.step(tiny_modules.job(module, task="tagging"), dropped=False)
    feed, _ = tiny_modules.batch(2, 5)
    labels = np.array([[NOT_ASKED, 1, 2, NOT_ASKED, NOT_ASKED], [NOT_ASKED, 3, NOT_ASKED, NOT_ASKED, NOT_ASKED]])
    logits = take._model(feed).numpy()[[0, 0, 1], [1, 2, 1]]
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits([1, 2, 3], logits)
    assert take([(feed, labels)], 3, 0).loss == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"optimizer": "lazy_adam", "sparse_as_dense": False}], ids=["dense", "sparse"])
def test_three_micro_batches_are_one_batch_of_three_times_the_rows(module: str, settings: dict[str, Any]) -> None:
    feed, labels = tiny_modules.batch(12)
    parts = [({name: value[at : at + 4] for name, value in feed.items()}, labels[at : at + 4]) for at in (0, 4, 8)]
    take = tiny_modules.step(tiny_modules.job(module, **settings), dropped=False)
    whole = [take([(feed, labels)], 12, number) for number in range(2)]
    expected = tiny_modules.values(take.variables)
    take = tiny_modules.step(tiny_modules.job(module, **settings), dropped=False)
    cut = [take(parts, 12, number) for number in range(2)]
    assert [result.loss for result in cut] == pytest.approx([result.loss for result in whole], rel=1e-4)
    assert [result.gradient_norm for result in cut] == pytest.approx([result.gradient_norm for result in whole], rel=1e-3)
    for name, value in tiny_modules.values(take.variables).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)


def masks(module: str, seed: int = 1, number: int = 0) -> float:
    """The loss of the untrained model, which differs by the masks only."""
    take = tiny_modules.step(tiny_modules.job(module))
    take._job = dataclasses.replace(take._job, seed=seed)
    return take([tiny_modules.batch()], 8, number).loss


def test_masks_are_a_function_of_seed_rank_and_number(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert masks(module) == masks(module)
    others = [masks(module, seed=2), masks(module, number=1)]
    monkeypatch.setattr(hvd, "rank", lambda: 1)
    others.append(masks(module))
    monkeypatch.undo()
    assert len({masks(module), *others}) == 4


def test_every_micro_batch_has_masks_of_its_own() -> None:
    seeds = step.seeds_of(1, 0, 5, 3)
    assert (seeds.shape, seeds.dtype, len(np.unique(seeds))) == ((3, 2), np.int32, 6)


def test_a_run_that_takes_over_variables_goes_on_bit_by_bit(module: str) -> None:
    def go_on(take: TrainStep, kept: list[np.ndarray]) -> list[np.ndarray]:
        for variable, value in zip(take.variables, kept, strict=True):
            variable.assign(value)
        take([tiny_modules.batch(seed=9)], 8, 2)
        return [variable.numpy() for variable in take.variables]

    first, _ = run(tiny_modules.job(module), steps=2)
    kept = [variable.numpy() for variable in first.variables]
    for left, right in zip(go_on(first, kept), go_on(tiny_modules.step(tiny_modules.job(module)), kept), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("top", "frozen"), [(-1, ()), (1, ("layer_0", "embeddings", "word_")), (0, ("transformer", "embeddings", "pooler"))]
)
def test_frozen_variables_do_not_change_and_all_others_do(module: str, top: int, frozen: tuple[str, ...]) -> None:
    take = tiny_modules.step(tiny_modules.job(module, fine_tune_layers=top))
    before = tiny_modules.values(take._model.variables)
    take([tiny_modules.batch()], 8, 0)
    changed = {name for name, value in tiny_modules.values(take._model.variables).items() if (value != before[name]).any()}
    expected = {name for name in before if not any(part in name for part in frozen)}
    assert changed == expected


def weights_after(module: str, **settings: Any) -> dict[str, np.ndarray]:
    take = tiny_modules.step(tiny_modules.job(module, **settings))
    take([tiny_modules.batch(seed=1)], 8, 0)
    take([tiny_modules.batch(seed=2)], 8, 1)
    return tiny_modules.values(take._model.variables)


def test_clipping_brings_a_norm_down_to_its_limit_and_not_up(module: str) -> None:
    take = tiny_modules.step(tiny_modules.job(module))
    assert take._job.clip_norm == 1.0
    assert [float(take._clipped(tf.constant(norm))) for norm in (5.0, 0.5)] == pytest.approx([0.2, 1.0])


def test_a_tight_limit_changes_what_is_applied(module: str) -> None:
    usual, tight = weights_after(module), weights_after(module, clip_norm=1e-5)
    assert np.abs(tight["classifier/kernel"] - usual["classifier/kernel"]).max() > 1e-4


def test_sparse_gradients_with_adamw_train_as_dense_ones(module: str) -> None:
    dense, sparse = (weights_after(module, sparse_as_dense=as_dense) for as_dense in (True, False))
    for name, value in dense.items():
        np.testing.assert_allclose(sparse[name], value, atol=1e-5)


def test_lazy_adam_leaves_the_rows_of_other_words_alone(module: str) -> None:
    take = tiny_modules.step(tiny_modules.job(module, optimizer="lazy_adam", sparse_as_dense=False))
    table = next(variable for variable in take._model.variables if variable.name.startswith("word_embeddings"))
    before, (feed, labels) = table.numpy(), tiny_modules.batch()
    take([(feed, labels)], 8, 0)
    changed = np.flatnonzero((table.numpy() != before).any(axis=1))
    assert set(changed) <= set(feed["input_word_ids"].ravel().tolist())
    assert len(changed) > 10


def test_lazy_adam_with_dense_gradients_is_refused_with_both_values(module: str) -> None:
    with pytest.raises(TrainingError, match=r"sparse_as_dense off\n.*lazy_adam with sparse_as_dense on"):
        tiny_modules.step(tiny_modules.job(module, optimizer="lazy_adam"))


def unchanged(take: TrainStep, before: list[np.ndarray]) -> bool:
    return all(np.array_equal(variable.numpy(), value) for variable, value in zip(take.variables, before, strict=True))


@pytest.mark.parametrize("accumulated", [False, True])
def test_a_step_whose_loss_is_not_finite_changes_nothing(module: str, accumulated: bool) -> None:
    take = tiny_modules.step(tiny_modules.job(module))
    before = [variable.numpy() for variable in take.variables]
    result = take([tiny_modules.batch()] * (1 + accumulated), float("nan"), 0)
    assert (result.skipped, result.nonfinite_ranks) == (True, (0,))
    assert unchanged(take, before)
    assert not take([tiny_modules.batch()], 8, 1).skipped


class Beside:
    """A step of rank 1, traced beside a rank 0 that sends this rank's own tensors, asks to stop,
    and may have failed.
    """

    def __init__(self, job: Job) -> None:
        self.other_failed = tf.Variable(False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hvd, "size", lambda: 2)
            patch.setattr(hvd, "rank", lambda: 1)
            patch.setattr(hvd, "allreduce", self._allreduce)
            self.take = TrainStep(tiny_modules.step(job)._model, job, 10)
            self.take([tiny_modules.batch()], 8, 0)

    def _allreduce(self, tensor: Any, *, name: str, **_: Any) -> Any:
        nan = tf.where(self.other_failed, float("nan"), 1.0)
        if name == "blamed":
            return (tensor + tf.stack([tf.cast(self.other_failed, tf.float32), 0.0])) / 2
        return tensor * nan if name != "facts" else tf.stack([tensor[0] * nan, 0.5])


@pytest.fixture(scope="module")
def beside(module: str, one_rank: None) -> Beside:
    return Beside(tiny_modules.job(module))


@pytest.mark.parametrize(
    ("weight", "failed", "blamed"), [(8, True, (0,)), (float("nan"), False, (1,)), (float("nan"), True, (0, 1))]
)
def test_the_ranks_that_failed_are_named_and_all_skip_the_step(
    beside: Beside, weight: float, failed: bool, blamed: tuple[int, ...]
) -> None:
    before = [variable.numpy() for variable in beside.take.variables]
    beside.other_failed.assign(failed)
    result = beside.take([tiny_modules.batch()], weight, 0)
    assert (result.skipped, result.nonfinite_ranks) == (True, blamed)
    assert unchanged(beside.take, before)


def test_a_stop_that_rank_0_asked_for_reaches_the_others_in_the_same_step(beside: Beside) -> None:
    beside.other_failed.assign(False)
    assert beside.take([tiny_modules.batch()], 8, 0).stop


def test_rank_0_stops_itself(module: str) -> None:
    take = tiny_modules.step(tiny_modules.job(module))
    take.request_stop = True
    assert take([tiny_modules.batch()], 8, 0).stop


def test_an_overflow_of_float16_halves_the_loss_scale_and_skips_the_step(module: str) -> None:
    take = tiny_modules.step(tiny_modules.job(module, amp="float16"))
    weights = [variable.numpy() for variable in take._model.variables]
    result = take([tiny_modules.batch()], 1e-5, 0)  # a loss so large that its scaled gradients are beyond 65504
    assert (result.skipped, result.nonfinite_ranks) == (True, ())
    assert float(take._scale.value) == 2.0**14
    assert all(np.array_equal(variable.numpy(), value) for variable, value in zip(take._model.variables, weights, strict=True))
    assert not take([tiny_modules.batch()], 8, 1).skipped
    assert float(take._scale.value) == 2.0**14


def test_the_loss_scale_is_doubled_after_2000_good_steps(module: str) -> None:
    take = tiny_modules.step(tiny_modules.job(module, amp="float16"))
    take._scale._steps.assign(1999)
    take([tiny_modules.batch()], 8, 0)
    assert float(take._scale.value) == 2.0**16


def test_a_loss_that_is_no_number_is_blamed_on_its_rank_in_float16_too(module: str) -> None:
    assert tiny_modules.step(tiny_modules.job(module, amp="float16"))([tiny_modules.batch()], float("nan"), 0).nonfinite_ranks == (
        0,
    )


def wire(take: TrainStep) -> list[str]:
    """The Horovod operations of a step, in all of its functions."""
    graph = take._whole(False).get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return sorted(node.op for node in nodes if node.op.startswith("Horovod"))


@pytest.mark.parametrize("xla", [False, True])
def test_sparse_gradients_are_sparse_on_the_wire(module: str, monkeypatch: pytest.MonkeyPatch, xla: bool) -> None:
    model = tiny_modules.step(tiny_modules.job(module))._model
    monkeypatch.setattr(hvd, "size", lambda: 2)
    dense, sparse = (
        wire(TrainStep(model, tiny_modules.job(module, sparse_as_dense=as_dense, xla=xla), 10)) for as_dense in (True, False)
    )
    assert "HorovodAllgather" not in dense
    assert sparse.count("HorovodAllgather") == 2  # rows of the word table, and their numbers
    assert sparse.count("HorovodAllreduce") == dense.count("HorovodAllreduce") - 1


def test_a_checkpoint_holds_weights_and_moments(module: str) -> None:
    take = tiny_modules.step(tiny_modules.job(module))
    trained = take._model.trainable_variables
    assert len(take.variables) == 3 * len(trained) + 1
    names = {variable.name for variable in take.variables}
    assert {"classifier/kernel:0", "classifier/kernel/m:0", "classifier/kernel/v:0", "updates:0"} <= names
