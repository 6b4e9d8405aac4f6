"""Fine-tune a TF Hub BERT with Horovod and write the bundle.

Checks the corpus before any process is started, runs `train.engine.worker` under horovodrun, shows
its progress, and writes the bundle in one rename. When anything fails, the bundle that was there
stays. SIGTERM or Ctrl-C writes a checkpoint beside the bundle and exits with 75; the same command
with --resume goes on from there.

    slipway train runs/demo --train-rows 4000
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from slipway import console, errors
from slipway.contract import bundle, manifest
from slipway.contract.parity import judgement
from slipway.contract.variants import VARIANTS
from train import settings, write_bundle
from train.data import dataset
from train.data.corpus import Corpus
from train.distributed import launcher
from train.distributed.ranks import Ranks
from train.engine import checkpoint
from train.job import Job


def train(arguments: argparse.Namespace) -> int:
    run: Path = arguments.run
    if not arguments.force and not checkpoint.newest_step(run / "checkpoints"):  # these are refused, or gone on with, below
        bundle.refuse_finished(run, settings.command_of(arguments, arguments.corpus))
    data, ranks = settings.with_unlabelled(arguments, settings.corpus_of(arguments)), settings.ranks_of(arguments)
    job = settings.job_of(arguments, data, checkpoints=str((run / "checkpoints").resolve()), evaluate=True)
    _describe(data, job)
    _warn_of_few_golden_rows(data, arguments.golden_rows)
    write_bundle.encoder_facts(job)  # refuses a bad one before training
    with manifest.atomic_directory(run / "bundle") as building:
        scratch = building / "training"
        scratch.mkdir()
        dataset.write(data, scratch)
        job.write(scratch)
        _check_checkpoints(job, ranks, scratch, run)
        made_by: dict[str, Any] = {bundle.MADE_BY: ["train", *settings.options_of(arguments, data.where)]}
        made_by |= {"data_card": data.card.facts} if data.card else {}
        manifest.write_json(run / bundle.RUN_RECORD, made_by)
        choices = {name: getattr(arguments, name) for name in ("train_rows", "golden_rows", "test_share", "validation_share")}
        with _resumable(job):
            launcher.run(scratch, ranks)
            metrics = write_bundle.complete(scratch, building, data, job, {**choices, **vars(ranks)}, made_by)
    checkpoint.remove(Path(job.checkpoints))
    _show(metrics)
    print(f"bundle    {run / 'bundle'}")
    return 0


def _describe(data: Corpus, job: Job) -> None:
    sizes = f"{len(data.train)} train, {len(data.validation)} validation, {len(data.test)} test rows"
    print(f"corpus    {data.where}: {sizes}, labels {', '.join(data.labels)}")
    if data.bad_rows:
        print(f"          {data.bad_rows} bad rows left out")
    if extra := data.unlabelled:
        left_out = f", {extra.left_out} left out that came before" if extra.left_out else ""
        print(f"          {len(extra.texts)} texts without labels{left_out}: {extra.where}")
    for line in data.card.lines() if data.card else ():
        print(f"          {line}".rstrip())
    for warning in data.warnings:
        print(f"!!! {warning}", flush=True)
    print(f"encoder   {job.encoder}")


def _warn_of_few_golden_rows(data: Corpus, golden_rows: int) -> None:
    """Say before hours of training that the gate will not decide on so few rows."""
    rows = min(len(data.test), golden_rows or len(data.test)) + (len(data.unlabelled.texts) if data.unlabelled else 0)
    usual = {name: judgement.usual_rows(variant.limits) for name, variant in VARIANTS.items()}
    if short := [name for name, needed in usual.items() if needed > rows]:
        least, most = min(usual[name] for name in short), max(usual[name] for name in short)
        wanted = f"{least}" if least == most else f"{least} to {most}"
        print(
            f"!!! {rows} golden rows: the gate decides on {', '.join(short)} from about {wanted} on;"
            " texts without labels count too: --unlabelled FILE",
            flush=True,
        )


def _check_checkpoints(job: Job, ranks: Ranks, scratch: Path, run: Path) -> None:
    """Refuse to resume another run than the interrupted one, or to start over its checkpoints."""
    directory = Path(job.checkpoints)
    step, interrupted = checkpoint.newest_step(directory), bundle.made_by(run, run / bundle.RUN_RECORD)
    if step and not job.resume:
        raise errors.TrainingError(
            "an interrupted run lies here",
            expected="no checkpoints, for a run from the beginning",
            found=f"one after step {step}",
            where=str(directory),
            fix=f"go on with it: {interrupted} --resume; or give it up: {shlex.join(['rm', '-r', str(directory)])}",
        )
    newest, warnings = checkpoint.newest(directory) if step else (None, [])
    for warning in warnings:
        print(f"!!! {warning}", flush=True)
    if newest:
        checkpoint.refuse_changes(newest, checkpoint.settings(job, ranks.processes, scratch), interrupted)
        print(f"resuming  after step {newest.step}, from {newest.directory}", flush=True)
    elif job.resume:
        print("resuming  no whole checkpoint is there: from the beginning", flush=True)


@contextlib.contextmanager
def _resumable(job: Job) -> Iterator[None]:
    """Turn KeyboardInterrupt into Interrupted if a checkpoint is there."""
    try:
        yield
    except KeyboardInterrupt:
        newest, _ = checkpoint.newest(Path(job.checkpoints))
        if newest is None:
            print("\nno step was finished: nothing to save", file=sys.stderr)
            raise
        raise errors.Interrupted(
            "training was interrupted",
            expected="to run to the end",
            found=f"SIGTERM or Ctrl-C; the checkpoint after step {newest.step} is there",
            where=job.checkpoints,
            fix=f"to go on from there: {job.again()}",
        ) from None


def _show(metrics: dict[str, Any]) -> None:
    screen = console.console()
    screen.print(_scores_table("test rows by class", "class", metrics["per_class"]))
    if entities := metrics.get("entities"):
        screen.print(_scores_table("entities by kind, whole ones alone are right", "kind", entities["by_kind"] | {"all": entities}))
    accuracy, macro = metrics["test_accuracy"], metrics["macro_f1"]
    screen.print(f"\naccuracy  {accuracy:.4f} on {metrics['test_rows']} test rows, macro F1 {macro:.4f}", soft_wrap=True)
    if published := metrics.get("published"):
        figures = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in published["test_accuracy"].items())
        screen.print(f"          published, on {published['trained_on']}: {figures}", soft_wrap=True)


def _scores_table(title: str, of: str, scores: dict[str, dict[str, Any]]) -> Table:
    table = console.table(title, of, "precision", "recall", "F1", "rows", left=(of,))
    for name, values in scores.items():
        table.add_row(name, *(f"{values[rate]:.4f}" for rate in ("precision", "recall", "f1")), str(values["rows"]))
    return table
