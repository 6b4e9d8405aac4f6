"""A rank with faults planted from outside: as train.engine.worker, but steps named in the job's
faults.json go wrong.

faults.json: [{"rank": 1, "step": 3, "kind": "nan"}, …]; steps from 1
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from train.engine import worker


def main() -> int:
    directory, rank = Path(sys.argv[1]), int(os.environ["HOROVOD_RANK"])
    faults = json.loads((directory / "faults.json").read_text("utf-8"))
    kinds = {fault["step"]: fault["kind"] for fault in faults if fault["rank"] == rank}

    from train.engine.loop import Loop
    from train.engine.step import TrainStep

    feeds = Loop._feeds
    take = TrainStep.__call__

    def faulty_feeds(self: Loop, step: Any) -> Any:
        kind = kinds.get(self.steps.index(step) + 1)
        if kind == "sleep":
            time.sleep(600)
        if kind == "raise":
            raise RuntimeError("planted")
        return feeds(self, step)

    def faulty_step(self: TrainStep, micro_batches: Any, weight: float, number: int) -> Any:
        return take(self, micro_batches, float("nan") if kinds.get(number + 1) == "nan" else weight, number)

    Loop._feeds, TrainStep.__call__ = faulty_feeds, faulty_step
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
