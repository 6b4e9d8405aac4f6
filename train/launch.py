"""Start the ranks of a training job with horovodrun, watch over them, and say which rank failed first."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from train.display import Display
from train.errors import CorpusError, EncoderError, SlipwayError, ToolError, TrainingError
from train.job import ENDED, FACTS, FAILURE, STOP, Job
from train.ranks import Ranks
from train.watch import Failure, Watch, ended, exits, first_failure

_LOG = "horovod.log"
_SHOWN_LOG_LINES = 15
_TURN = 0.2  # seconds between two looks
_GRACE = 4  # seconds that the other ranks have to end by themselves once one has failed
_STOP_WITHIN = 60  # seconds from the wish to stop; a checkpoint takes a few, but a step may be long
_ELASTIC_TIMEOUT = 20  # seconds to find enough ranks to go on with


def run(directory: Path, ranks: Ranks, worker: str = "train.worker") -> None:
    """Run the job in `directory` to its end; `worker` is the module that every rank runs.

    Raises TrainingError with the first failing rank and its error, or the error that a rank raised for the person to read;
    KeyboardInterrupt after SIGTERM or Ctrl-C, when the ranks have ended.
    """
    ranks.write(directory)
    job = Job.read(directory)
    print(f"training  {ranks.processes} Horovod processes" + (f" on {ranks.hosts}" if ranks.hosts else ""), flush=True)
    with (directory / _LOG).open("wb") as log:
        # Its own session: Ctrl-C on the terminal is for us alone, who let the ranks write a checkpoint first.
        horovodrun = subprocess.Popen(
            command(directory, ranks, worker), stdout=log, stderr=log, env=_environment(), start_new_session=True
        )
        try:
            stopped, hanging = _attend(horovodrun, directory, job, ranks)
        finally:
            _end(horovodrun)
            (directory / ENDED).touch()  # ranks on other hosts see it, and end
    failure = hanging or first_failure(directory, _read_log(directory))
    if stopped and not (failure and failure.record):
        raise KeyboardInterrupt
    if hanging or horovodrun.returncode != 0 or not (directory / FACTS).is_file():
        raise _error(directory, failure, horovodrun.returncode, ranks)


def command(directory: Path, ranks: Ranks, worker: str) -> list[str]:
    """The horovodrun command of a job."""
    done = ["horovodrun", "--gloo", "--disable-cache", "-np", str(ranks.processes), "-H", ranks.host_list]
    if ranks.elastic:
        done += ["--min-np", str(ranks.min_processes), "--max-np", str(ranks.processes)]
        done += ["--elastic-timeout", str(_ELASTIC_TIMEOUT)]
    if ranks.fusion_threshold_mb:
        done += ["--fusion-threshold-mb", str(ranks.fusion_threshold_mb)]
    if ranks.cycle_time_ms:
        done += ["--cycle-time-ms", str(ranks.cycle_time_ms)]
    return [*done, sys.executable, "-m", worker, str(directory)]


def _environment() -> dict[str, str]:
    binaries = str(Path(sys.executable).parent)
    # Unbuffered, so that horovodrun's word on who ended first is in its log when we end it.
    return {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "TF_USE_LEGACY_KERAS": "1", "PYTHONUNBUFFERED": "1"}


def _attend(horovodrun: subprocess.Popen[bytes], directory: Path, job: Job, ranks: Ranks) -> tuple[bool, Failure | None]:
    """Until the job ends, or has to be ended: (whether we were asked to stop, the rank that hangs if one does)."""
    watch = Watch(directory, ranks.processes)
    lost: set[int] = set()
    stop_asked = failed = 0.0  # when; 0: not
    with Display(directory) as display:
        while horovodrun.poll() is None:
            try:
                display.update()
                watch.look()
                for rank, status in exits(_read_log(directory)).items():
                    if ranks.elastic and rank not in lost:
                        display.say(f"!!! rank {rank} {ended(status)}; the others go on")
                    lost.add(rank)
                if hanging := watch.hanging(job.hang_limit, lost):
                    return bool(stop_asked), hanging
                failed = failed or (time.monotonic() if _failed(directory, lost) and not ranks.elastic else 0.0)
                if failed and (time.monotonic() - failed > _GRACE or _is_explained(directory)):
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


def _failed(directory: Path, lost: set[int]) -> bool:
    return bool(lost) or any(directory.glob(f"{FAILURE}.*.json"))


def _is_explained(directory: Path) -> bool:
    """Whether a rank has left an error for the person to read: nothing that others could tell is better."""
    return any(json.loads(path.read_text("utf-8"))["slipway"] for path in directory.glob(f"{FAILURE}.*.json"))


def _end(horovodrun: subprocess.Popen[bytes]) -> None:
    """End what was started here, all of it: also a rank that stands still."""
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


def _error(directory: Path, failure: Failure | None, status: int, ranks: Ranks) -> SlipwayError:
    failure = failure or Failure("unknown", "no rank said why", {})
    if known := failure.record.get("slipway"):
        kinds: dict[str, type[SlipwayError]] = {one.__name__: one for one in (EncoderError, CorpusError, ToolError)}
        kind = kinds.get(failure.record["type"], TrainingError)
        return kind(**{key: known[key] for key in ("summary", "expected", "found", "where", "fix")})
    lines = str(failure.record.get("trace") or _read_log(directory)).splitlines()
    own = [line for line in lines if line.startswith(f"[{failure.rank}]<")]  # as horovodrun marks what a rank prints
    tail = (own or lines)[-_SHOWN_LOG_LINES:]
    return TrainingError(
        "training ended before the bundle was complete",
        expected=f"{ranks.processes} ranks that all finish",
        found=f"rank {failure.rank} {failure.reason} (horovodrun: exit status {status}):\n    " + "\n    ".join(tail),
        where=f"rank {failure.rank}, the first that failed",
        fix="remove the cause, then make train (RESUME=1 to go on from a checkpoint); the bundle that was there is unchanged",
    )
