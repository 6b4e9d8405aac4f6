"""Start the ranks of a job with horovodrun, watch over them, and say which rank failed first."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from slipway import console
from slipway.errors import CorpusError, EncoderError, SlipwayError, ToolError, TrainingError, storage_error
from train.distributed import hosts
from train.distributed.ranks import Ranks
from train.distributed.watchdog import Failure, Watch, exit_statuses, exit_text, first_failure, rank_errors
from train.job import ENDED, FACTS, MESSAGES, PROGRESS, STOP, Job

_LINE_EVERY = 15  # seconds between lines when the output is not a terminal
_LOG = "horovod.log"
_SHOWN_LOG_LINES = 15
_TURN = 0.2  # seconds between two looks
_GRACE = 4  # seconds that the other ranks have to end by themselves once one has failed
_STOP_WITHIN = 60  # seconds from the wish to stop; a checkpoint takes a few, but a step may be long
_ELASTIC_TIMEOUT = 20  # seconds to find enough ranks to go on with


def run(directory: Path, ranks: Ranks, worker: str = "train.engine.worker") -> None:
    """Run the job in `directory` to its end; `worker` is the module that every rank runs.

    Raises TrainingError with the first failing rank and its error, or the error that a rank raised
    for the person to read; KeyboardInterrupt after SIGTERM or Ctrl-C, when the ranks have ended.
    """
    ranks.write(directory)
    job = Job.read(directory)
    if ranks.hosts:
        hosts.check(directory, ranks, job)
    several = "processes" if ranks.processes > 1 else "process"
    print(f"training  {ranks.processes} Horovod {several}" + (f" on {ranks.hosts}" if ranks.hosts else ""), flush=True)
    with (directory / _LOG).open("wb") as log:
        # In a session of its own: Ctrl-C reaches only us, and we let the ranks write a checkpoint
        # first.
        horovodrun = subprocess.Popen(
            horovodrun_command(directory, ranks, worker), stdout=log, stderr=log, env=_environment(), start_new_session=True
        )
        try:
            stopped, hanging = _attend(horovodrun, directory, job, ranks)
        finally:
            _end(horovodrun)
            (directory / ENDED).touch()  # ranks on other hosts see it, and end
    failure = hanging or first_failure(directory, _read_log(directory))
    if stopped and not (failure and failure.error):
        raise KeyboardInterrupt
    if hanging or horovodrun.returncode != 0 or not (directory / FACTS).is_file():
        raise _error(directory, job, failure or Failure("unknown", "no rank said why"), horovodrun.returncode, ranks)


def horovodrun_command(directory: Path, ranks: Ranks, worker: str) -> list[str]:
    """Return the command that starts the job in `directory`."""
    words = ["horovodrun", "--gloo", "--disable-cache", "-np", str(ranks.processes), "-H", ranks.host_list]
    if ranks.elastic:
        words += ["--min-np", str(ranks.min_processes), "--max-np", str(ranks.processes)]
        words += ["--elastic-timeout", str(_ELASTIC_TIMEOUT)]
    if ranks.hosts and ranks.network_interfaces:
        words += ["--network-interfaces", ranks.network_interfaces]
    if ranks.fusion_threshold_mb:
        words += ["--fusion-threshold-mb", str(ranks.fusion_threshold_mb)]
    if ranks.cycle_time_ms:
        words += ["--cycle-time-ms", str(ranks.cycle_time_ms)]
    return [*words, sys.executable, "-m", worker, str(directory)]


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # Unbuffered, so that horovodrun's line on who ended first is in its log when we end it.
    return {**os.environ, "PATH": path, "TF_USE_LEGACY_KERAS": "1", "PYTHONUNBUFFERED": "1"}


def _attend(horovodrun: subprocess.Popen[bytes], directory: Path, job: Job, ranks: Ranks) -> tuple[bool, Failure | None]:
    """Wait for the end; return whether we were asked to stop, and a rank that hangs."""
    watch = Watch(directory, ranks.processes)
    lost: set[int] = set()
    stop_requested = failed = 0.0  # when; 0: not
    with Display(directory) as display:
        while horovodrun.poll() is None:
            try:
                display.update()
                watch.look()
                display.show_evaluation(watch.evaluating)
                for rank, status in exit_statuses(_read_log(directory)).items():
                    if ranks.elastic and rank not in lost:
                        display.say(f"!!! rank {rank} {exit_text(status)}; the others go on")
                    lost.add(rank)
                if hanging := watch.hanging(job.hang_limit, lost):
                    return bool(stop_requested), hanging
                errors = rank_errors(directory)
                failed = failed or (time.monotonic() if (lost or errors) and not ranks.elastic else 0.0)
                explained = any(error.slipway for error in errors)  # nothing that others could tell is better
                if failed and (explained or time.monotonic() - failed > _GRACE):
                    break
                if stop_requested and (not watch.training or time.monotonic() - stop_requested > _STOP_WITHIN):
                    break
                time.sleep(_TURN)
            except KeyboardInterrupt:
                if stop_requested or not job.checkpoints:
                    raise
                stop_requested = time.monotonic()
                (directory / STOP).touch()
                display.say("          asked to stop: writing a checkpoint after the step under way (again: at once, without)")
        display.update()
    return bool(stop_requested), None


def _end(horovodrun: subprocess.Popen[bytes]) -> None:
    """End every process that was started here, also a rank that stands still."""
    if horovodrun.poll() is None:
        started = psutil.Process(horovodrun.pid).children(recursive=True)
        horovodrun.kill()
        for process in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        horovodrun.wait()
        psutil.wait_procs(started, timeout=_GRACE)


def _read_log(directory: Path) -> str:
    return (directory / _LOG).read_text("utf-8", "replace")


def _error(directory: Path, job: Job, failure: Failure, status: int, ranks: Ranks) -> SlipwayError:
    if failure.error and failure.error.slipway:
        kinds: dict[str, type[SlipwayError]] = {kind.__name__: kind for kind in (EncoderError, CorpusError, ToolError)}
        return kinds.get(failure.error.type, TrainingError)(**failure.error.slipway)
    lines = (failure.error.trace if failure.error else _read_log(directory)).splitlines()
    own = [line for line in lines if line.startswith(f"[{failure.rank}]<")]  # horovodrun marks a rank's output so
    tail = (own or lines)[-_SHOWN_LOG_LINES:]
    last_words = failure.error.error if failure.error else "\n".join(tail)
    told = storage_error(RuntimeError(last_words), job.again()) if failure.error or not ranks.hosts else None
    if told:  # without a rank's own error, those words of hosts may be ssh's: "Permission denied (publickey)"
        told.where = f"rank {failure.rank}, the first that failed: {last_words.splitlines()[-1]}"
        return told
    cause = "remove the cause"
    if ranks.hosts and not any(directory.glob("rank.*.json")):
        cause = "open all TCP ports between the hosts, or name the interface they share with --network-interfaces (docs/gpu.md)"
    return TrainingError(
        "training ended before the bundle was complete",
        expected=f"{ranks.processes} ranks that all finish",
        found=f"rank {failure.rank} {failure.reason} (horovodrun: exit status {status}):\n    " + "\n    ".join(tail),
        where=f"rank {failure.rank}, the first that failed",
        fix=f"{cause}, then: {job.again()}; the bundle that was there is unchanged",
    )


class Tail:
    """The end of a file that another process writes, and may cut."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def lines(self) -> list[str]:
        """Return the complete lines since the last call."""
        try:
            with self._path.open("rb") as file:
                self._read = file.seek(min(self._read, self._path.stat().st_size))
                complete, newline, _ = file.read().rpartition(b"\n")
                self._read += len(complete + newline)
        except FileNotFoundError:
            return []
        return complete.decode("utf-8", "replace").split("\n") if newline else []


class Display:
    """A context manager that shows what is new in the job's `directory` at every `update`."""

    def __init__(self, directory: Path) -> None:
        columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
        self._bar = console.bar(*columns)
        self._task = self._bar.add_task("training", total=None, text="loading the encoder")
        self._progress, self._messages = Tail(directory / PROGRESS), Tail(directory / MESSAGES)
        self._printed = time.monotonic()
        self._first: dict[str, Any] = {}  # this step traces the graph: rates are of those after it

    def __enter__(self) -> Display:
        self._bar.start()
        if self._bar.disable:
            self.say("training  every rank loads the encoder and traces the first step, for up to a minute or two")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, soft_wrap=True)

    def update(self) -> None:
        for text in self._messages.lines():
            self.say(text)
        for text in self._progress.lines():
            try:
                line = json.loads(text)
            except ValueError:  # the file was cut, to take steps again, while it was read
                continue
            self._show_validation(line) if "validation_loss" in line else self._show_step(line)

    def _show_step(self, line: dict[str, Any]) -> None:
        step, steps = line["step"], line["steps"]
        if not self._first or line["seconds"] <= self._first["seconds"]:  # elastic ranks begin to count anew
            self._first = line
        taken = step - self._first["step"]
        seconds, examples = line["seconds"] - self._first["seconds"], line["examples"] - self._first["examples"]
        rate = f"  {examples / seconds:.1f} examples/s" if taken > 0 else ""
        left = f"  {(steps - step) * seconds / taken:.0f} s left" if taken > 0 else ""
        text = f"step {step}/{steps}  loss {_loss_text(line['loss'])}{rate}"
        ending = "; evaluating" if step == steps else ""
        self._bar.update(self._task, total=steps, completed=step, text=text + ending)
        if self._bar.disable and (ending or time.monotonic() - self._printed > _LINE_EVERY):
            self.say(f"          {text}{left}{ending}")
            self._printed = time.monotonic()

    def show_evaluation(self, phase: str) -> None:
        """Show what is done after the last step; "": nothing yet."""
        if not phase:
            return
        self._bar.update(self._task, total=None, text=phase)  # a full bar would say that it is done
        if self._bar.disable and time.monotonic() - self._printed > _LINE_EVERY:
            self.say(f"          {phase}")
            self._printed = time.monotonic()

    def _show_validation(self, line: dict[str, Any]) -> None:
        accuracy = f"validation accuracy {line['validation_accuracy']:.4f}"
        self.say(f"          epoch {line['epoch']}  {accuracy}  loss {_loss_text(line['validation_loss'])}")


def _loss_text(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.3f}"
