"""A training job run only for its speed: real ranks, nothing evaluated or saved; and what its lines of progress tell."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train import feeding, history, launch
from train.corpus import Corpus
from train.errors import TrainingError
from train.job import Job
from train.ranks import Ranks

Floats = NDArray[np.float64]
_BLOCKS = 10  # a rate is the median of the rates of so many stretches of steps: one step is short, and its texts may be long


@dataclass(frozen=True)
class Timed:
    """The steps after those at the beginning that trace, compile and fill caches. Arrays [steps]; counts are of all ranks."""

    seconds: Floats  # from the end of the step before to the end of this one
    outside: Floats  # seconds of these that rank 0 was not inside TensorFlow
    examples: Floats
    tokens: Floats  # of the texts
    fed: Floats  # tokens, padding included
    first_step: float  # seconds, with tracing and compiling
    peak_memory: int  # bytes resident, of the largest rank

    def per_second(self, counts: Floats) -> dict[str, float]:
        """Median and quartiles over stretches of steps of `counts` [steps] per second."""
        stretches = np.array_split(np.arange(len(counts)), min(_BLOCKS, len(counts)))
        rates = [counts[steps].sum() / self.seconds[steps].sum() for steps in stretches]
        low, median, high = np.percentile(rates, (25, 50, 75))
        return {"median": float(median), "low": float(low), "high": float(high)}

    @property
    def padding_waste(self) -> float:
        """Share of the tokens fed to the model that are padding, 0 to 1."""
        return float(1 - self.tokens.sum() / self.fed.sum())

    @property
    def outside_share(self) -> float:
        return float(self.outside.sum() / self.seconds.sum())


def run(found: Corpus, job: Job, ranks: Ranks, untimed: int, beside: Path | None = None) -> Timed:
    """Take the job's steps with real ranks, in a directory that is removed. `untimed` steps at the beginning do not count.

    Ranks on other hosts see that directory if they see `beside`, where it is made.

    Raises TrainingError when no steps are left, and as `launch.run` does.
    """
    with tempfile.TemporaryDirectory(prefix=".measuring-", dir=beside) as made:
        directory = Path(made)
        feeding.write(dataclasses.replace(found, validation=[], test=[]), directory)
        dataclasses.replace(job, evaluate=False, checkpoints="", checkpoint_every=0, resume=False).write(directory)
        launch.run(directory, ranks)
        peak_memory = json.loads((directory / "facts.json").read_text("utf-8"))["peak_memory_bytes"]
        return of_lines(history.read(directory)["steps"], untimed, int(peak_memory))


def of_lines(lines: list[dict[str, float]], untimed: int, peak_memory: int) -> Timed:
    """From the lines of progress, whose counts and seconds add up from the first step on."""
    if len(lines) <= untimed:
        raise TrainingError(
            "the job has no steps to time",
            expected=f"more than {untimed} steps: that many are not timed",
            found=f"{len(lines)} steps",
            where="the training job",
            fix="more rows, epochs or --max-steps, or a smaller --untimed",
        )
    names = ("seconds", "examples", "tokens", "padded_tokens")
    seconds, examples, tokens, fed = (
        np.diff([line[name] for line in lines], prepend=0.0).astype(np.float64)[untimed:] for name in names
    )
    outside = np.array([line["outside_seconds"] for line in lines[untimed:]])
    return Timed(seconds, outside, examples, tokens, fed, lines[0]["seconds"], peak_memory)
