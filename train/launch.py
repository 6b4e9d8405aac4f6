"""Start the ranks of a training job with horovodrun, show how far they are, and say which rank failed first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from train.errors import CorpusError, EncoderError, SlipwayError, TrainingError
from train.job import FAILURE, PROGRESS

_LOG = "horovod.log"
_SHOWN_LOG_LINES = 15
_LINE_EVERY = 15  # seconds between lines when the output is not a terminal
_STOP_WITHIN = 10  # seconds from SIGTERM to SIGKILL


def run(directory: Path, processes: int) -> None:
    """Run the job in `directory` to its end. Raises TrainingError with the first failing rank and its error."""
    command = ["horovodrun", "--gloo", "--disable-cache", "-np", str(processes), "-H", f"localhost:{processes}"]
    command += [sys.executable, "-m", "train.worker", str(directory)]
    binaries = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "TF_USE_LEGACY_KERAS": "1"}
    print(f"training  {processes} Horovod processes (Gloo)", flush=True)
    with (directory / _LOG).open("wb") as log:
        job = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _show(job, directory / PROGRESS)
        finally:
            if job.poll() is None:
                job.terminate()
                try:
                    job.wait(_STOP_WITHIN)
                except subprocess.TimeoutExpired:
                    job.kill()
    if job.returncode != 0:
        raise _failure(directory, job.returncode, processes)


def _show(job: subprocess.Popen[bytes], progress_file: Path) -> None:
    console = Console()
    columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=None, text="loading the encoder")
        said = time.monotonic()
        for line in _lines(job, progress_file):
            speed = line["examples"] / line["seconds"]
            text = f"step {line['step']}/{line['steps']}  loss {line['loss']:.3f}  {speed:.1f} examples/s"
            bar.update(task, total=line["steps"], completed=line["step"], text=text)
            last = line["step"] == line["steps"]
            if last:
                bar.update(task, text=f"{text}; evaluating on the test rows")
            if not console.is_terminal and (last or time.monotonic() - said > _LINE_EVERY):
                left = (line["steps"] - line["step"]) * line["seconds"] / line["step"]
                print(f"          {text}  {left:.0f} s left" + ("; evaluating on the test rows" if last else ""), flush=True)
                said = time.monotonic()


def _lines(job: subprocess.Popen[bytes], progress_file: Path) -> Iterator[dict[str, float]]:
    """The lines of progress as rank 0 writes them, until the job ends."""
    while not progress_file.exists():
        if job.poll() is not None:
            return
        time.sleep(0.1)
    with progress_file.open(encoding="utf-8") as file:
        pending = ""
        while True:
            ended = job.poll() is not None
            pending += file.read()
            *complete, pending = pending.split("\n")
            yield from (json.loads(line) for line in complete)
            if ended:
                return
            time.sleep(0.1)


def _failure(directory: Path, status: int, processes: int) -> SlipwayError:
    record: dict[str, Any] = {"rank": "unknown", "error": "", "trace": "", "slipway": {}}
    if (directory / FAILURE).exists():
        record = json.loads((directory / FAILURE).read_text("utf-8"))
    if known := record["slipway"]:
        kind = {"EncoderError": EncoderError, "CorpusError": CorpusError}.get(record["type"], TrainingError)
        return kind(**{key: known[key] for key in ("summary", "expected", "found", "where", "mend")})
    trace = record["trace"] or (directory / _LOG).read_text("utf-8", "replace")
    tail = trace.splitlines()[-_SHOWN_LOG_LINES:]
    return TrainingError(
        "training ended before the bundle was complete",
        expected=f"{processes} ranks that all finish",
        found=f"horovodrun exit status {status}, {record['error'] or 'and no rank said why'}:\n    " + "\n    ".join(tail),
        where=f"rank {record['rank']}, the first that failed",
        mend="make train, after removing the cause; the bundle that was there before is unchanged",
    )
