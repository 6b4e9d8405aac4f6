"""The optimizer steps of one rank: batches in, progress and checkpoints out."""

from __future__ import annotations

import contextlib
import ctypes
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import horovod.tensorflow as hvd

from slipway.errors import CorpusError, TrainingError
from slipway.tensorflow import tf_keras
from train.data import batching
from train.data.batching import Numbers, Shape, Step
from train.data.dataset import Split
from train.distributed.ranks import Ranks
from train.distributed.watchdog import AFTER, BEFORE, IN, Heartbeat
from train.engine import checkpoint, evaluation
from train.engine.elastic import KEEP_EVERY, State
from train.engine.history import History, StepLine, ValidationLine, progress_lines
from train.engine.step import MicroBatch, StepResult, TrainStep
from train.job import PROGRESS, STOP, Job

_XLA_MULTIPLE = 16  # tokens
# Batches of unequal length leave gaps in glibc's heap that nothing fits, up to a gigabyte in a run.
# malloc_trim gives them back to the system.
_TRIM_EVERY = 10  # steps
_LIBC = ctypes.CDLL(None)
_MOST_SKIPPED = 50  # steps in a row; a dynamic loss scale finds its place in fewer


class Loop:
    """The optimizer steps of a rank: `steps` are all of a run, `run` takes those that are left."""

    def __init__(
        self, directory: Path, job: Job, ranks: Ranks, heartbeat: Heartbeat, model: tf_keras.Model, splits: dict[str, Split]
    ) -> None:
        self.directory, self.job, self.heartbeat, self.model = directory, job, heartbeat, model
        self._train, self._validation = splits["train"], splits["validation"]
        multiple = _XLA_MULTIPLE if job.xla else 1
        self._shape = batching.Shape(job.batch_per_rank, job.max_seq_len, fixed=job.padding == "fixed", multiple=multiple)
        self._world = ranks.processes  # that the steps are planned for; an elastic run may lose some of them
        self.steps, self._epochs = self._plan()
        self.step = TrainStep(model, job, len(self.steps))
        self._checkpoint_facts = checkpoint.settings(job, ranks.processes, directory)
        self._skipped_in_a_row = 0
        self._pace = Pace(self.steps, self._train.rows.lengths, self._world, self._shape)

    def rebuild_step(self) -> TrainStep:
        """Build the step anew for another number of ranks, with the same model and rates."""
        schedule = self.step.schedule
        self.step = TrainStep(self.model, self.job, len(self.steps))
        self.step.schedule = schedule
        return self.step

    def run(self, state: State) -> bool:
        """Take all steps that are left; return False if the supervisor stopped them early."""
        self.heartbeat.begin(state.done)
        self._pace.begin(state.done, self.directory / PROGRESS)
        with self._history(state.done) if hvd.rank() == 0 else contextlib.nullcontext() as history:
            if state.done and self._epoch_ends(state.done) and not self._validate(state.done, history):
                return False  # the checkpoint of the run before is still there
            while state.done < len(self.steps):
                result = self.take(state.done)
                state.done += 1
                if state.done % _TRIM_EVERY == 0:
                    _LIBC.malloc_trim(0)
                if history:
                    history.write(self._pace.line(state.done, self._epochs[state.done - 1], hvd.size(), result))
                self._judge(state.done, result)
                stop = result.stop or (self._epoch_ends(state.done) and not self._validate(state.done, history))
                if hvd.rank() == 0 and self._checkpoint_is_due(state.done, stop):
                    self._write_checkpoint(state.done)
                if stop:
                    return False
                if state.done % KEEP_EVERY == 0:
                    state.keep()
        return True

    def _plan(self) -> tuple[list[batching.Step], list[int]]:
        """Return all steps, and the epoch of each, from 1. Raises CorpusError for too few rows."""
        job, lengths = self.job, self._train.rows.lengths
        if len(lengths) < self._world:
            raise CorpusError(
                "there are fewer training rows than ranks",
                expected=f"at least {self._world} rows, one a rank",
                found=f"{len(lengths)}",
                where=str(self.directory),
                fix=f"more rows, or fewer ranks: {job.changed('--hosts', '', '--processes', 1)}",
            )
        per_rank, bucketed = job.batch_per_rank * job.accumulation, job.batches == "bucketed"
        epochs = range(job.epochs)
        plans = [batching.plan(lengths, self._world, per_rank, epoch, job.seed, bucketed=bucketed) for epoch in epochs]
        planned = [(step, epoch + 1) for epoch, plan in enumerate(plans) for step in plan]
        planned = planned[: job.max_steps or None]
        return [step for step, _ in planned], [epoch for _, epoch in planned]

    def _history(self, done: int) -> History:
        run = Path(self.job.checkpoints).parent if self.job.checkpoints else None
        return History(self.directory, run / "tensorboard" if run else None, done)

    def take(self, number: int) -> StepResult:
        """Take step `number`, from 0."""
        self.heartbeat.at(f"before step {number + 1}", number, BEFORE)
        if hvd.rank() == 0 and self._stop_is_requested():
            self.step.request_stop = True
        feeds, weight = self._feeds(self.steps[number])
        self.heartbeat.at(f"in step {number + 1}", number, IN)
        with self._pace.inside():
            result = self.step(feeds, weight, number)
        self.heartbeat.at(f"after step {number + 1}", number, AFTER)
        return result

    def _feeds(self, step: batching.Step) -> tuple[list[MicroBatch], float]:
        """Return this rank's micro-batches, and the labelled answers of the whole step / ranks."""
        lengths = self._train.rows.lengths
        parts = batching.micro_batches(step.shard(hvd.rank(), hvd.size()), self._shape)
        feeds = [self._train.micro_batch(rows, self._shape.tokens(lengths[rows])) for rows in parts]
        return feeds, self._train.labelled(step.rows) / hvd.size()

    def _judge(self, done: int, result: StepResult) -> None:
        """Raise TrainingError when the step was skipped and may not be: on all ranks at once."""
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if result.skipped else 0
        rescaled = self.job.amp == "float16" and not result.nonfinite_ranks  # the next step has a lower loss scale
        if not result.skipped or ((rescaled or self.job.on_nan == "skip") and self._skipped_in_a_row < _MOST_SKIPPED):
            return
        blamed = " and ".join(map(str, result.nonfinite_ranks)) or "none: only their sum, in the compression's fp16"
        repeated = f" for {self._skipped_in_a_row} steps in a row" if self._skipped_in_a_row > 1 else ""
        give_up = f"rm -r {shlex.quote(self.job.checkpoints)} && " if self.job.is_begun else ""
        lower_rate = self.job.changed("--learning-rate", f"{self.job.learning_rate / 10:.2g}")
        raise TrainingError(
            "the loss or a gradient is not finite",
            expected="numbers",
            found=f"on rank {blamed}: mean loss {result.loss}, gradient norm {result.gradient_norm}{repeated}",
            where=f"rank {blamed}, step {done} of {len(self.steps)}; no rank applied it",
            fix=f"a lower rate: {give_up}{lower_rate}; or, instead of the rate, --on-nan skip to leave such steps out",
        )

    def _stop_is_requested(self) -> bool:
        return (self.directory / STOP).exists()

    def _checkpoint_is_due(self, done: int, stop: bool) -> bool:
        every = self.job.checkpoint_every
        last = done == len(self.steps) and self.job.evaluate  # what follows may fail, too
        return bool(self.job.checkpoints) and (stop or last or (every > 0 and done % every == 0))

    def _write_checkpoint(self, done: int) -> None:
        self.heartbeat.at(f"writing the checkpoint after step {done}", done - 1, AFTER, 1)
        arrays = [variable.numpy() for variable in self.step.variables]
        checkpoint.write(Path(self.job.checkpoints), done, arrays, self._checkpoint_facts, self.directory / PROGRESS)

    def _epoch_ends(self, done: int) -> bool:
        last = done == len(self.steps) or self._epochs[done] != self._epochs[done - 1]
        return last and self.job.evaluate and len(self._validation) > 0

    def _validate(self, done: int, history: History | None) -> bool:
        """Validate; return False if asked to stop: a resumed run begins with this validation."""
        with self._pace.paused():
            figures = evaluation.validate(self.model, self._validation, self.heartbeat, done, self._stop_is_requested)
        if figures and history and not self._is_validated(done):
            history.write(ValidationLine(self._epochs[done - 1], done, *figures))
        return figures is not None

    def _is_validated(self, done: int) -> bool:
        lines = progress_lines(self.directory / PROGRESS)
        return any(isinstance(line, ValidationLine) and line.step == done for line in lines)


class Pace:
    """A count of what all ranks have done, which every rank knows from the plan."""

    def __init__(self, steps: list[Step], lengths: Numbers, world: int, shape: Shape) -> None:
        self._steps, self._lengths, self._world, self._shape = steps, lengths, world, shape

    def begin(self, done: int, progress: Path) -> None:
        """Go on from `done` steps: their seconds are read from the lines of `progress`."""
        lines = progress_lines(progress) if done and progress.exists() else []
        self._before = next((line.seconds for line in lines if isinstance(line, StepLine) and line.step == done), 0.0)
        self._examples = sum(len(step.rows) for step in self._steps[:done])
        self._tokens, self._padded = batching.fed(self._steps[:done], self._lengths, self._world, self._shape)
        self._began = self._turned = time.monotonic()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Measure the training step itself."""
        entered = time.monotonic()
        yield
        self._inside = time.monotonic() - entered

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time of what is not training."""
        entered = time.monotonic()
        yield
        self._began += time.monotonic() - entered
        self._turned += time.monotonic() - entered

    def line(self, done: int, epoch: int, ranks: int, result: StepResult) -> StepLine:
        """Return the line of step `done`, from 1, that `ranks` ranks have just taken in `epoch`."""
        step, now = self._steps[done - 1], time.monotonic()
        tokens, padded = batching.fed([step], self._lengths, ranks, self._shape)
        self._examples += len(step.rows)
        self._tokens += tokens
        self._padded += padded
        outside = now - self._turned - self._inside
        self._turned = now
        return StepLine(
            step=done,
            steps=len(self._steps),
            epoch=epoch,
            examples=self._examples,
            tokens=self._tokens,
            padded_tokens=self._padded,
            seconds=round(self._before + now - self._began, 4),
            outside_seconds=round(outside, 6),
            loss=result.loss,
            learning_rate=result.learning_rate,
            gradient_norm=result.gradient_norm,
            skipped=result.skipped,
            nonfinite_ranks=list(result.nonfinite_ranks),
            ranks=ranks,
        )
