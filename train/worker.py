"""One rank of a training job, started by `train.launch` through horovodrun. Not run by hand.

Takes its cores, gives signs of life (rank.<n>.json in the job's directory), does its work (`train.training`), and leaves
failure.<n>.json there when that raises.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path

from train.errors import SlipwayError
from train.heartbeat import Heartbeat
from train.job import FAILURE, Job
from train.ranks import Ranks, environment_rank, place, take_cores


def main() -> int:
    directory = Path(sys.argv[1])
    with Heartbeat(directory, environment_rank()) as heartbeat:
        try:
            ranks = Ranks.read(directory)
            slot, on_machine = place(ranks, os.environ)
            threads = take_cores(ranks, slot, on_machine)
            from train import training  # TensorFlow, whose threads are to inherit the cores, and whose import may fail

            training.run(directory, Job.read(directory), ranks, heartbeat, slot, threads)
        except Exception as error:
            _record_failure(directory, error)
            raise
    return 0


def _record_failure(directory: Path, error: Exception) -> None:
    slipway = {"summary": error.summary, **vars(error)} if isinstance(error, SlipwayError) else {}
    record = {
        "rank": environment_rank(),
        "time": time.time(),
        "type": type(error).__name__,
        "error": f"{type(error).__name__}: {error}",
        "slipway": slipway,
        "trace": traceback.format_exc(),
    }
    beside = directory / f".{FAILURE}.{environment_rank()}"
    beside.write_text(json.dumps(record), "utf-8")
    beside.replace(directory / f"{FAILURE}.{environment_rank()}.json")  # whole, for the supervisor that looks for it


if __name__ == "__main__":
    sys.exit(main())
