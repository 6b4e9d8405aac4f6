"""One rank of a training job, started by `train.finetune` through horovodrun. Not run by hand.

Reads job.json in its directory; writes there, from rank 0: saved_model/, vocab.txt, progress.jsonl, facts.json; from every
rank: logits.<rank>.npz, its share of the test rows' logits, computed by the SavedModel loaded back from disk.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import horovod.tensorflow as hvd
import numpy as np
from numpy.typing import NDArray

from train import batches, classifier, corpus, manifest, optimizer
from train.errors import EncoderError, SlipwayError, TrainingError
from train.job import FAILURE, PROGRESS, Job
from train.keras2 import tf, tf_keras
from train.ragged import INPUTS, Feed, Ragged, length_sorted_batches
from train.saved_model import SavedClassifier
from train.tokenizer import Tokenizer

_EVALUATION_BATCH = 32


@dataclass(frozen=True)
class _Data:
    train: Ragged
    train_labels: NDArray[np.int64]  # [rows]
    test: Ragged
    labels: int


def main() -> int:
    directory = Path(sys.argv[1])
    try:
        _work(directory, Job.read(directory))
    except Exception as error:
        _record_failure(directory, error)
        raise
    return 0


def _work(directory: Path, job: Job) -> None:
    hvd.init()
    threads = max(1, len(os.sched_getaffinity(0)) // hvd.local_size())
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if gpus := tf.config.list_physical_devices("GPU"):
        tf.config.set_visible_devices(gpus[hvd.local_rank()], "GPU")
    tf_keras.utils.set_random_seed(job.seed + hvd.rank())

    encoder = classifier.load_encoder(job.encoder)
    data = _load_data(job, encoder)
    model = classifier.build(encoder, data.labels, job.dropout)
    facts = _train(model, data, job, directory)
    if hvd.rank() == 0:
        classifier.save(model, directory / "saved_model")
        shutil.copyfile(encoder.vocabulary, directory / "vocab.txt")
        manifest.write_json(directory / "facts.json", {**facts, "lower_case": encoder.lower_case})
    hvd.allreduce(tf.zeros(1), name="saved")  # a barrier: nobody loads the SavedModel before it is complete
    _evaluate(data.test, directory)


def _load_data(job: Job, encoder: classifier.Encoder) -> _Data:
    if job.max_seq_len > encoder.positions:
        raise EncoderError(
            "the encoder cannot take sequences this long",
            expected=f"max_seq_len up to {encoder.positions}, the rows of its position table",
            found=f"max_seq_len {job.max_seq_len}",
            where=encoder.handle,
            mend=f"make train MAX_SEQ_LEN={encoder.positions}",
        )
    found = corpus.load(Path(job.corpus))
    tokenize = Tokenizer(encoder.vocabulary, lower_case=encoder.lower_case, max_seq_len=job.max_seq_len)
    rows = [found.train[row] for row in corpus.sample(found.train, job.train_rows, job.seed)]
    return _Data(
        train=Ragged.of(tokens.ids for tokens in tokenize([row.text for row in rows])),
        train_labels=np.array([row.label for row in rows], np.int64),
        test=Ragged.of(tokens.ids for tokens in tokenize([row.text for row in found.test])),
        labels=len(found.labels),
    )


def _train(model: tf_keras.Model, data: _Data, job: Job, directory: Path) -> dict[str, float]:
    """Run all steps; returns the facts worth keeping. Rank 0 writes a line of progress a step."""
    lengths = data.train.lengths
    plans = [batches.plan(lengths, job.batch_per_rank * hvd.size(), epoch, job.seed) for epoch in range(job.epochs)]
    steps = [step for plan in plans for step in plan]
    update = optimizer.build(job.learning_rate, len(steps), job.warm_up, job.weight_decay)
    update.build(model.trainable_variables)
    hvd.broadcast_variables(model.variables, root_rank=0)
    hvd.broadcast_variables(update.variables, root_rank=0)
    train_step = _step_function(model, update, job)
    done, started, first_step_end = 0, time.monotonic(), 0.0
    with (directory / PROGRESS).open("a", encoding="utf-8") if hvd.rank() == 0 else Path(os.devnull).open("a") as progress:
        for number, step in enumerate(steps):
            rows = step.shard(hvd.rank(), hvd.size())
            share = tf.constant(len(step.rows) / hvd.size(), tf.float32)
            loss = train_step(data.train.take(rows).padded(), data.train_labels[rows], share)
            if number == 0:
                first_step_end = time.monotonic()
            done += len(step.rows)
            if not np.isfinite(loss):
                raise TrainingError(
                    "the loss is not finite",
                    expected="a number",
                    found=str(float(loss)),
                    where=f"step {number + 1} of {len(steps)}",
                    mend="make train with a lower rate: python -m train.finetune --learning-rate",
                )
            line = {"step": number + 1, "steps": len(steps), "examples": done, "loss": float(loss)}
            print(json.dumps({**line, "seconds": round(time.monotonic() - started, 3)}), file=progress, flush=True)
    timed = done - len(steps[0].rows)
    return {
        "world_size": hvd.size(),
        "steps": len(steps),
        "examples": done,
        "examples_per_second": timed / (time.monotonic() - first_step_end),  # without the first step, which traces
        "padding_waste": batches.padding_waste(steps, lengths, hvd.size()),
    }


def _step_function(model: tf_keras.Model, update: tf_keras.optimizers.Optimizer, job: Job) -> Callable[..., tf.Tensor]:
    """`step(feed, labels, share) → mean loss over all ranks`, `share` being the global batch divided by the ranks.

    Dividing the sum of a rank's losses by `share`, not by its own rows, makes the averaged gradient exactly that of the
    global batch, also where shards differ by one row.
    """
    compression = {"none": hvd.Compression.none, "fp16": hvd.Compression.fp16}[job.compression]

    ids = tf.TensorSpec([None, None], tf.int32)
    signature = [dict.fromkeys(INPUTS, ids), tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.float32)]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def step(feed: Feed, labels: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(feed, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_sum(losses) / share
        tape = hvd.DistributedGradientTape(tape, compression=compression, sparse_as_dense=job.sparse_as_dense)
        gradients = tape.gradient(loss, model.trainable_variables)
        update.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return hvd.allreduce(loss, name="loss")

    return cast(Callable[..., tf.Tensor], step)


def _evaluate(test: Ragged, directory: Path) -> None:
    """This rank's share of the test rows through the SavedModel on disk → logits.<rank>.npz (rows, logits)."""
    reference = SavedClassifier(directory / "saved_model")
    rows_done, logits = [], []
    for number, rows in enumerate(length_sorted_batches(test.lengths, _EVALUATION_BATCH)):
        if number % hvd.size() == hvd.rank():
            rows_done.append(rows)
            logits.append(reference.infer(test.take(rows).padded()))
    if rows_done:  # of very few rows, a rank may have none
        np.savez(directory / f"logits.{hvd.rank()}.npz", rows=np.concatenate(rows_done), logits=np.concatenate(logits))
    hvd.allreduce(tf.zeros(1), name="evaluated")


def _record_failure(directory: Path, error: Exception) -> None:
    """Name the first failing rank: the file is created exclusively, so a rank that fails because another did comes too late."""
    slipway = {"summary": error.summary, **vars(error)} if isinstance(error, SlipwayError) else {}
    record = {
        "rank": os.environ.get("HOROVOD_RANK", "?"),
        "type": type(error).__name__,
        "error": f"{type(error).__name__}: {error}",
        "slipway": slipway,
    }
    try:
        with (directory / FAILURE).open("x", encoding="utf-8") as file:
            json.dump({**record, "trace": traceback.format_exc()}, file)
    except FileExistsError:
        pass


if __name__ == "__main__":
    sys.exit(main())
