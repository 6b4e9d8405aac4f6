"""The work of one rank: load, take all steps, and hand over the evaluated SavedModel.

Reads job.json and corpus.jsonl in its directory. Rank 0 writes saved_model/, vocab.txt,
progress.jsonl and facts.json there; every rank writes test.<rank>.npz and probe.<rank>.npz, its
share of the rows' logits, computed by the SavedModel loaded back from disk.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import horovod.tensorflow as hvd

from slipway.contract import manifest
from slipway.contract.parity import probes
from slipway.contract.ragged import Ragged
from slipway.contract.tokenizer import Tokenizer
from slipway.errors import EncoderError, ToolError
from slipway.tensorflow import tf, tf_keras
from train.data import dataset
from train.data.dataset import Split
from train.distributed.ranks import Ranks
from train.distributed.watchdog import DONE, LOADING, Heartbeat
from train.engine import checkpoint, elastic, evaluation
from train.engine.loop import Loop
from train.engine.step import TrainStep
from train.job import FACTS, MESSAGES, PROBES, TEST, Job
from train.model import classifier
from train.model.hub_encoder import EncoderLayer

# Milliseconds between two looks for gradients to send. For every look the ranks talk to each other:
# at Horovod's 1 ms that takes a computing core 4 to 6 % of its time (docs/log/training.md), and a
# step on CPUs takes hundreds of ms. On GPUs a step is short: Horovod's own value stays.
_CYCLE_TIME_OF_CPUS = "10"


def run(directory: Path, job: Job, ranks: Ranks, heartbeat: Heartbeat, slot: int, threads: int) -> None:
    """Train and evaluate as one rank: on `threads` cores, or on the GPU number `slot`."""
    heartbeat.at("connecting to the other ranks", LOADING, 1)
    _connect()
    _take_device(slot, threads, job, ranks)
    heartbeat.at("loading encoder and examples", LOADING, 2)
    with _shown_by_supervisor(directory) if hvd.rank() == 0 else contextlib.nullcontext():
        encoder, model, splits = prepare(directory, job)
    loop = Loop(directory, job, ranks, heartbeat, model, splits)
    done = _restored(directory, job, loop.step)
    state = elastic.State(loop.step, loop.rebuild_step, done, keeps=ranks.elastic)
    if ranks.elastic:
        elastic.run(_work)(state, loop, encoder, splits["test"])
    else:
        state.sync()
        _work(state, loop, encoder, splits["test"])


def prepare(directory: Path, job: Job) -> tuple[EncoderLayer, tf_keras.Model, dict[str, Split]]:
    """Return encoder, model and encoded splits, after hvd.init(). Raises EncoderError."""
    classifier.set_precision(job.amp)
    tf_keras.utils.set_random_seed(job.seed)
    encoder = EncoderLayer(
        job.encoder,
        again=job.changed,
        fine_tune_layers=job.fine_tune_layers,
        return_sequence=job.task == "tagging",
        output_size=job.output_size,
        debug=job.debug and hvd.rank() == 0,
    )
    if encoder.limits and hvd.rank() == 0:
        print(f"!!! {job.encoder}: {encoder.limits}")
    splits = _encoded(directory, job, encoder)
    return encoder, classifier.build(encoder, job.task, job.labels, job.dropout), splits


def _work(state: elastic.State, loop: Loop, encoder: EncoderLayer, test: Split) -> None:
    """Take the steps, save and evaluate the model, write the facts; end early if asked to."""
    if not loop.run(state):
        return
    if loop.job.evaluate:
        _save(loop, encoder)
        if not state.keeps:  # the optimizer is twice the model: it makes room for the SavedModel
            del state.step, loop.step
            gc.collect()
        rows = {TEST: test.rows, PROBES: _probe_rows(loop.job, encoder)}
        evaluation.write_logits(rows, loop.directory, loop.heartbeat, len(loop.steps), tagger=test.tagger)
    loop.heartbeat.at("writing the facts", len(loop.steps), DONE)
    peak = hvd.allgather(tf.constant([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024], tf.int64), name="peak")
    if hvd.rank() == 0:
        facts = {"peak_memory_bytes": int(peak.numpy().max()), "lower_case": encoder.lower_case}
        manifest.write_json(loop.directory / FACTS, facts)


def _save(loop: Loop, encoder: EncoderLayer) -> None:
    directory, steps = loop.directory, len(loop.steps)
    loop.heartbeat.at("saving the model", steps, DONE)
    if hvd.rank() == 0:
        for old in (*directory.glob(f"{TEST}.*.npz"), *directory.glob(f"{PROBES}.*.npz")):  # of an attempt that a lost rank ended
            old.unlink()
        shutil.rmtree(directory / "saved_model", ignore_errors=True)
        classifier.save(loop.model, directory / "saved_model")
        shutil.copyfile(encoder.vocabulary, directory / "vocab.txt")
    hvd.allreduce(tf.zeros(1), name="saved")  # a barrier: nobody loads the SavedModel before it is complete


def _connect() -> None:
    if not tf.config.list_physical_devices("GPU"):
        os.environ.setdefault("HOROVOD_CYCLE_TIME", _CYCLE_TIME_OF_CPUS)
    hvd.init()


def _take_device(slot: int, threads: int, job: Job, ranks: Ranks) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if gpus := tf.config.list_physical_devices("GPU"):
        if slot >= len(gpus):
            host = socket.gethostname()
            places = [f"{host}:{len(gpus)}" if place.split(":")[0].strip() == host else place for place in ranks.hosts.split(",")]
            fix = f"on the CPU: CUDA_VISIBLE_DEVICES= {job.again()}; or {job.changed('--processes', len(gpus))}"
            if ranks.hosts:  # under another name than this machine's own its entry is not known
                is_named = places != ranks.hosts.split(",")
                fix = job.changed("--hosts", ",".join(places)) if is_named else f"{host}:{len(gpus)} as its entry of --hosts"
            raise ToolError(
                "there are more ranks than GPUs",
                expected=f"a GPU for each rank of this machine, {slot + 1} or more",
                found=f"{len(gpus)}",
                where=host,
                fix=fix,
            )
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.set_visible_devices(gpus[slot], "GPU")


@contextlib.contextmanager
def _shown_by_supervisor(directory: Path) -> Iterator[None]:
    """Let the supervisor show what is printed inside; horovodrun's output only goes into a log."""
    with (directory / MESSAGES).open("a", encoding="utf-8", buffering=1) as file, contextlib.redirect_stdout(file):
        yield


def _encoded(directory: Path, job: Job, encoder: EncoderLayer) -> dict[str, Split]:
    if job.max_seq_len > encoder.positions:
        raise EncoderError(
            "the encoder cannot take sequences this long",
            expected=f"max_seq_len up to {encoder.positions}, the rows of its position table",
            found=f"max_seq_len {job.max_seq_len}",
            where=job.encoder,
            fix=job.changed("--max-seq-len", encoder.positions),
        )
    return dataset.read(directory, job.task, _tokenizer(job, encoder))


def _probe_rows(job: Job, encoder: EncoderLayer) -> Ragged:
    return probes.rows(_tokenizer(job, encoder), encoder.vocabulary, job.max_seq_len, job.task).ids


def _tokenizer(job: Job, encoder: EncoderLayer) -> Tokenizer:
    return Tokenizer(encoder.vocabulary, lower_case=encoder.lower_case, max_seq_len=job.max_seq_len)


def _restored(directory: Path, job: Job, step: TrainStep) -> int:
    """Give rank 0 the newest checkpoint, which is broadcast later; return its step, or 0."""
    if not job.resume or hvd.rank() != 0:
        return 0
    newest, _ = checkpoint.newest(Path(job.checkpoints))  # the supervisor has warned of damaged ones
    if newest is None:
        return 0
    for variable, value in zip(step.variables, checkpoint.restore(newest, directory), strict=True):
        variable.assign(value)
    return newest.step
