"""One rank of a training job, started by `train.distributed.launcher` through horovodrun.

Takes its cores, gives signs of life (rank.<n>.json in the job's directory), does its work
(`train.engine.rank`), and leaves failure.<n>.json there when that raises.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

from slipway.errors import SlipwayError
from train.distributed.ranks import Ranks, environment_rank, place, take_cores
from train.distributed.watchdog import Heartbeat, RankError
from train.job import Job


def main() -> int:
    directory, number = Path(sys.argv[1]), environment_rank()
    with Heartbeat(directory, number) as heartbeat:
        try:
            job, ranks = Job.read(directory), Ranks.read(directory)
            slot, on_machine = place(ranks, os.environ)
            threads = take_cores(ranks, slot, on_machine, job)
            from train.engine import rank  # TensorFlow: its threads inherit the cores, and its import may fail

            rank.run(directory, job, ranks, heartbeat, slot, threads)
        except Exception as error:
            kind, parts = type(error).__name__, vars(error) if isinstance(error, SlipwayError) else {}
            RankError(number, time.time(), kind, f"{kind}: {error}", parts, traceback.format_exc()).write(directory)
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
