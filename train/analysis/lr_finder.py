"""Find a learning rate by a range test: the rate grows from step to step until the loss runs away.

Takes real training steps on the job's data, in one process with the global batch of all ranks, and
all options of training that describe data, model and optimization; nothing the steps learn is kept.
Some minutes:

    slipway analyze lr runs/demo     → RUN/learning_rate.json and learning_rate.html

The suggestion is a tenth of the rate at which the smoothed loss was lowest. Sources: Smith 2017,
"Cyclical Learning Rates for Training Neural Networks", 3.3 (the test); Gugger 2018, "How Do You
Find A Good Learning Rate" (growth, smoothing, the tenth).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from slipway import provenance
from slipway.contract import manifest
from slipway.errors import TrainingError, UsageError
from train import settings
from train.analysis import trial
from train.job import Job

_SMOOTHING = 0.9  # weight of the past in the running mean; 0.98 in the sources, whose tests are of several hundred steps
_RUNAWAY = 4.0  # × the lowest smoothed loss ends the test
_SAFETY = 10.0
_SOURCE = "a tenth of the rate at the lowest smoothed loss (Gugger 2018)"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sweep:
    """A learning rate that grows from `lowest` to `highest` in `steps`."""

    lowest: float
    highest: float
    steps: int

    def __call__(self, number: int) -> float:
        """Return the rate of step `number`, from 0: equal factors between steps."""
        return float(self.lowest * (self.highest / self.lowest) ** (number / max(1, self.steps - 1)))


@dataclass(frozen=True)
class RangeTest:
    """The curve of a range test, and the rate that it suggests."""

    suggestion: float
    rule: str
    lowest_loss_at: float  # the rate
    ran_to_the_end: bool  # the loss was still falling: --highest was too low
    rates: list[float]
    losses: list[float]
    smoothed: list[float]


def lr(arguments: argparse.Namespace) -> int:
    if not 0 < arguments.lowest < arguments.highest:
        raise UsageError(
            "the range of rates is empty",
            expected="0 < --lowest < --highest",
            found=f"--lowest {arguments.lowest}, --highest {arguments.highest}",
            where="the command line",
            fix=f"{settings.command_of(arguments, arguments.corpus)} --lowest 1e-6 --highest 1e-1",
        )
    corpus = settings.corpus_of(arguments)
    job = settings.job_of(arguments, corpus, checkpoints="", evaluate=False)
    job = trial.in_one_process(job, corpus, settings.ranks_of(arguments).processes)
    sweep = Sweep(arguments.lowest, arguments.highest, job.max_steps)
    with trial.open_loop(corpus, job) as loop:
        loop.step.schedule = sweep
        losses = _until_runaway(loop.take(number).loss for number in range(job.max_steps))
    test, examples_per_step = suggest(sweep, losses, job), job.batch_per_rank * job.accumulation
    record = {
        **asdict(test),
        "examples_per_step": examples_per_step,
        "optimizer": job.optimizer,
        **provenance.record("tensorflow", "tf_keras", "horovod"),
    }
    out = arguments.run / "learning_rate.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_json(out, record)
    _plot(test).write_html(out.with_suffix(".html"))
    print(f"lowest    smoothed loss {min(test.smoothed):.3f} at rate {test.lowest_loss_at:.1e}")
    if test.ran_to_the_end:
        print("          the loss was still falling at the last step: try a higher --highest")
    print(f"suggested --learning-rate {test.suggestion:.1e}, {test.rule}; for {examples_per_step} examples a step")
    print(f"record    {out}, plot beside it: {out.with_suffix('.html').name}")
    return 0


def _until_runaway(losses: Iterable[float]) -> list[float]:
    """Return the losses until one is not finite, or their running mean far above its lowest."""
    taken: list[float] = []
    for loss in losses:
        if not np.isfinite(loss):
            break
        taken.append(loss)
        mean = smoothed(taken)
        if mean[-1] > _RUNAWAY * mean.min():
            break
    return taken


def smoothed(losses: list[float]) -> Floats:
    """Return the exponential running mean, bias-corrected (Kingma and Ba 2015, 3)."""
    sums = itertools.accumulate(losses, lambda past, loss: _SMOOTHING * past + (1 - _SMOOTHING) * loss, initial=0.0)
    weights = 1 - _SMOOTHING ** np.arange(1, len(losses) + 1)
    mean: Floats = np.array(list(sums)[1:]) / weights
    return mean


def suggest(sweep: Sweep, losses: list[float], job: Job) -> RangeTest:
    """Return the curve and the suggestion. Raises TrainingError when the loss never fell."""
    if len(losses) < 2 or (mean := smoothed(losses)).argmin() == 0:
        options = ("--lowest", f"{sweep.lowest / 100:.2g}", "--max-steps", 2 * sweep.steps)
        raise TrainingError(
            "the loss never fell, so the test suggests no rate",
            expected="a smoothed loss that falls before it rises",
            found=f"{len(losses)} steps, the first the lowest",
            where=f"rates from {sweep(0):.1e} to {sweep(max(0, len(losses) - 1)):.1e}",
            fix=job.changed(*options),
        )
    best = int(mean.argmin())
    rates = [sweep(number) for number in range(len(losses))]
    return RangeTest(
        suggestion=rates[best] / _SAFETY,
        rule=_SOURCE,
        lowest_loss_at=rates[best],
        ran_to_the_end=len(losses) - 1 == best,
        rates=rates,
        losses=losses,
        smoothed=mean.tolist(),
    )


def _plot(test: RangeTest) -> go.Figure:
    figure = go.Figure(layout={"template": "plotly_white", "title": {"text": "Learning-rate range test"}})
    figure.add_scatter(x=test.rates, y=test.losses, name="loss", mode="lines", line={"width": 1}, opacity=0.4)
    figure.add_scatter(x=test.rates, y=test.smoothed, name="smoothed", mode="lines", line={"width": 3})
    figure.add_vline(x=test.suggestion, line_dash="dash", annotation_text=f"suggestion {test.suggestion:.1e}")
    figure.update_xaxes(type="log", title="learning rate", exponentformat="power")
    figure.update_yaxes(title="loss (cross-entropy)", range=[0, 1.5 * test.smoothed[0]])
    return figure
