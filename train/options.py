"""The flags of a run with their defaults, for training and for the tools that measure it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slipway import errors
from slipway.errors import ToolError
from train.data import corpus
from train.distributed import ranks
from train.distributed.ranks import Ranks
from train.job import Job

_CHECKOUT = Path(__file__).parents[1]


def add(parser: argparse.ArgumentParser) -> None:
    """Add RUN and the flags of data, model, optimization and ranks, named as the fields of Job."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's directory, for example runs/demo")
    parser.add_argument("--seed", type=int, default=1)
    _add_data(parser.add_argument_group("data"))
    _add_model(parser.add_argument_group("model"))
    _add_optimization(parser.add_argument_group("optimization"))
    _add_ranks(parser.add_argument_group("ranks"))


def corpus_of(arguments: argparse.Namespace) -> corpus.Corpus:
    """Return the corpus of these arguments, checked, split and sampled. Raises CorpusError."""
    return corpus.load(
        corpus.find(arguments.corpus, _CHECKOUT),
        corpus.Columns(tuple(arguments.text), arguments.label, tuple(arguments.labels)),
        validation_share=arguments.validation_share,
        train_rows=arguments.train_rows,
        seed=arguments.seed,
        max_bad_rows=arguments.max_bad_rows,
    )


def options_of(arguments: argparse.Namespace, data: corpus.Corpus) -> list[str]:
    """Return the options that repeat a run: its corpus, and flags that differ from the default."""
    parser = argparse.ArgumentParser(add_help=False)
    add(parser)
    options = ["--corpus", data.where]
    for action in parser._actions:
        value = getattr(arguments, action.dest)
        if action.option_strings and action.dest != "corpus" and value != action.default:
            values = [] if value is True else value if isinstance(value, list) else [value]
            options += [action.option_strings[0], *map(str, values)]
    return options


def job_of(arguments: argparse.Namespace, data: corpus.Corpus, *, checkpoints: str, evaluate: bool) -> Job:
    """Return the job of these arguments; `checkpoints` is a directory, empty for none."""
    given = {field.name: getattr(arguments, field.name, None) for field in dataclasses.fields(Job)}
    return Job(
        **{
            **given,
            "task": data.task,
            "labels": len(data.labels),
            "sparse_as_dense": arguments.sparse_as_dense == "on",
            "checkpoints": checkpoints,
            "resume": getattr(arguments, "resume", False),
            "evaluate": evaluate,
        }
    )


def ranks_of(arguments: argparse.Namespace) -> Ranks:
    """Return the ranks of these arguments. Raises ToolError."""
    processes = ranks.slots(arguments.hosts) if arguments.hosts else arguments.processes
    if arguments.elastic and not 1 <= arguments.min_np < processes:
        raise ToolError(
            "an elastic run needs ranks to lose",
            expected=f"1 ≤ --min-np < {processes}, the ranks it begins with",
            found=f"--min-np {arguments.min_np}",
            where="--elastic",
            fix=f"{errors.command('train', 'RUN', '--elastic', '--processes', arguments.min_np + 1)}, or no --elastic",
        )
    return Ranks(
        processes=processes,
        hosts=arguments.hosts,
        cores_per_rank=arguments.cores_per_rank,
        elastic=arguments.elastic,
        min_processes=arguments.min_np,
        fusion_threshold_mb=arguments.fusion_threshold_mb,
        cycle_time_ms=arguments.cycle_time_ms,
    )


def _add_data(group: Any) -> None:
    group.add_argument("--corpus", default="", help="a directory with train.csv, .tsv, .jsonl or .conll, or a file; empty: AG News")
    group.add_argument("--text", nargs="*", default=[], help="name of the text column; two names: a pair")
    group.add_argument("--label", default="", help="name of the label column")
    group.add_argument("--labels", nargs="*", default=[], help="the labels in their order; none: discovered")
    group.add_argument("--validation-share", type=float, default=0.05, help="of the training rows, unless validation.* is there")
    group.add_argument("--max-bad-rows", type=int, default=0, help="so many are left out instead of refused")
    group.add_argument("--train-rows", type=int, default=0, help="a sample of so many rows, each class in its share; 0: all")
    group.add_argument("--golden-rows", type=int, default=0, help="test rows kept as reference; 0: all")
    group.add_argument("--max-seq-len", type=_at_least(8), default=128, help="tokens, [CLS] and [SEP] included")
    group.add_argument(
        "--batches", choices=("bucketed", "shuffled"), default="bucketed", help="neighbours in length together, or not"
    )
    group.add_argument(
        "--padding", choices=("longest", "fixed"), default="longest", help="to the longest row of a batch, or max-seq-len"
    )


def _add_model(group: Any) -> None:
    group.add_argument("--encoder", default=".tools/encoder", help="TF Hub handle: address or directory")
    group.add_argument("--output-size", type=int, default=0, help="hidden units the encoder must have; 0: not checked")
    group.add_argument("--fine-tune-layers", type=int, default=-1, help="-1: all; 0: none; n: the top n, no embeddings")
    group.add_argument("--dropout", type=float, default=0.1, help="before the head")
    group.add_argument("--debug", action="store_true", help="print every trainable variable")
    group.add_argument("--amp", choices=("none", "float16", "bfloat16"), default="none", help="mixed precision")
    group.add_argument("--xla", action="store_true", help="compile the step")


def _add_optimization(group: Any) -> None:
    group.add_argument("--epochs", type=_at_least(1), default=1)
    group.add_argument("--max-steps", type=int, default=0, help="0: all")
    group.add_argument("--batch-per-rank", type=_at_least(1), default=16, help="rows of one forward pass")
    group.add_argument("--accumulation", type=_at_least(1), default=1, help="forward passes per step")
    group.add_argument("--optimizer", choices=("adamw", "lazy_adam"), default="lazy_adam")
    group.add_argument("--learning-rate", type=float, default=1e-4, help="peak, of the global batch")
    group.add_argument("--scale-learning-rate", action="store_true", help="peak × ranks")
    group.add_argument("--warm-up", type=_share, default=0.1, help="share of the steps")
    group.add_argument("--decay", choices=("linear", "cosine"), default="linear")
    group.add_argument("--weight-decay", type=float, default=0.01, help="not of biases and LayerNorm")
    group.add_argument("--clip-norm", type=float, default=1.0, help="of the averaged gradients; 0: not clipped")
    group.add_argument(
        "--average-weights", type=_share, default=0.3, help="over this share of the steps, the last; 0: not averaged"
    )
    group.add_argument("--on-nan", choices=("stop", "skip"), default="stop", help="a step that is not finite, on all ranks")
    group.add_argument("--checkpoint-every", type=int, default=200, help="steps; 0: only when interrupted, and at the end")


def _add_ranks(group: Any) -> None:
    group.add_argument("--processes", type=_at_least(1), default=2, help="Horovod ranks on this machine")
    group.add_argument("--hosts", default="", help="a:2,b:2: ranks there instead, over ssh; same paths on all of them")
    group.add_argument("--elastic", action="store_true", help="go on with the other ranks when one is lost")
    group.add_argument("--min-np", type=int, default=1, help="so many at least")
    group.add_argument("--cores-per-rank", type=int, default=0, help="pin each rank to so many; 0: shared, not pinned")
    group.add_argument("--compression", choices=("none", "fp16"), default="none", help="of gradients on the wire")
    group.add_argument("--sparse-as-dense", choices=("on", "off"), default="off", help="embedding gradients as dense tensors")
    group.add_argument("--fusion-threshold-mb", type=int, default=0, help="0: Horovod's own")
    group.add_argument("--cycle-time-ms", type=float, default=0, help="0: Horovod's own")
    group.add_argument("--hang-limit", type=float, default=300, help="seconds without progress of any rank")


def _at_least(least: int) -> Callable[[str], int]:
    def number(given: str) -> int:
        if int(given) < least:
            raise argparse.ArgumentTypeError(f"{given} is below {least}, the least that makes sense")
        return int(given)

    return number


def _share(given: str) -> float:
    if not 0 <= float(given) <= 1:
        raise argparse.ArgumentTypeError(f"{given} is no share: 0 to 1")
    return float(given)
