"""Start the ranks of a job with horovodrun, watch over them, and say which rank failed first."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from train.display import Display
from train.errors import CorpusError, EncoderError, SlipwayError, ToolError, TrainingError
from train.job import ENDED, FACTS, STOP, Job
from train.ranks import Ranks, train_command
from train.watch import Failure, Watch, exit_statuses, exit_text, first_failure, rank_errors

_LOG = "horovod.log"
_SHOWN_LOG_LINES = 15
_TURN = 0.2  # seconds between two looks
_GRACE = 4  # seconds that the other ranks have to end by themselves once one has failed
_STOP_WITHIN = 60  # seconds from the wish to stop; a checkpoint takes a few, but a step may be long
_ELASTIC_TIMEOUT = 20  # seconds to find enough ranks to go on with


def run(directory: Path, ranks: Ranks, worker: str = "train.worker") -> None:
    """Run the job in `directory` to its end; `worker` is the module that every rank runs.

    Raises TrainingError with the first failing rank and its error, or the error that a rank raised
    for the person to read; KeyboardInterrupt after SIGTERM or Ctrl-C, when the ranks have ended.
    """
    ranks.write(directory)
    job = Job.read(directory)
    print(f"training  {ranks.processes} Horovod processes" + (f" on {ranks.hosts}" if ranks.hosts else ""), flush=True)
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
    stop_asked = failed = 0.0  # when; 0: not
    with Display(directory) as display:
        while horovodrun.poll() is None:
            try:
                display.update()
                watch.look()
                for rank, status in exit_statuses(_read_log(directory)).items():
                    if ranks.elastic and rank not in lost:
                        display.say(f"!!! rank {rank} {exit_text(status)}; the others go on")
                    lost.add(rank)
                if hanging := watch.hanging(job.hang_limit, lost):
                    return bool(stop_asked), hanging
                errors = rank_errors(directory)
                failed = failed or (time.monotonic() if (lost or errors) and not ranks.elastic else 0.0)
                explained = any(error.slipway for error in errors)  # nothing that others could tell is better
                if failed and (explained or time.monotonic() - failed > _GRACE):
                    break
                if stop_asked and (not watch.training or time.monotonic() - stop_asked > _STOP_WITHIN):
                    break
                time.sleep(_TURN)
            except KeyboardInterrupt:
                if stop_asked or not job.checkpoints:
                    raise
                stop_asked = time.monotonic()
                (directory / STOP).touch()
                display.say("          asked to stop: writing a checkpoint after the step under way (again: at once, without)")
        display.update()
    return bool(stop_asked), None


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
    again = f"remove the cause, then {train_command(job)}"
    return TrainingError(
        "training ended before the bundle was complete",
        expected=f"{ranks.processes} ranks that all finish",
        found=f"rank {failure.rank} {failure.reason} (horovodrun: exit status {status}):\n    " + "\n    ".join(tail),
        where=f"rank {failure.rank}, the first that failed",
        fix=f"{again} (--resume to go on from a checkpoint); the bundle that was there is unchanged",
    )
