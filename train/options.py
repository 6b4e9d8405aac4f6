"""The options of training and of what measures it, with their defaults."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from slipway import options

ENCODER = ".tools/encoder"  # that set-up made, in the checkout
LEAKS = ("refuse", "remove", "keep")  # what is done with texts that are in two splits


def add(parser: argparse.ArgumentParser) -> None:
    """Add what repeats a training: all of its options but --resume."""
    _add_run(parser)
    parser.add_argument("--unlabelled", default="", help="more golden rows, texts without labels: .txt, .csv, .tsv, .jsonl")


def _add_run(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    add_job(parser)


def add_job(parser: argparse.ArgumentParser) -> None:
    """Add the flags of data, model, optimization and ranks, named as the fields of Job."""
    parser.add_argument("--seed", type=int, default=1, help="of the splits, the order, dropout and the head")
    _add_data(parser.add_argument_group("data"))
    _add_model(parser.add_argument_group("model"))
    _add_optimization(parser.add_argument_group("optimization"))
    _add_ranks(parser.add_argument_group("ranks"))
    parser.set_defaults(command="train")


def train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint beside the bundle")
    parser.add_argument("--force", action="store_true", help="replace the finished bundle of RUN")
    add(parser)


def throughput_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--untimed", type=int, default=5, help="steps at the beginning that are not timed")
    _add_run(parser)
    parser.set_defaults(max_steps=40)


def profile_options(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.set_defaults(max_steps=8)


def lr_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lowest", type=float, default=1e-6, help="rate of the first step")
    parser.add_argument("--highest", type=float, default=1e-1, help="rate of the last step, --max-steps")
    _add_run(parser)
    parser.set_defaults(max_steps=100)


def _add_data(group: Any) -> None:
    group.add_argument(
        "--corpus", default="", help="a directory with train.csv, .jsonl, .parquet, .conll …, or a file; empty: AG News"
    )
    options.columns(group)
    group.add_argument("--labels", nargs="*", default=[], help="the labels in their order; none: discovered")
    group.add_argument("--merge-labels", action="store_true", help="labels that differ by case or white space are one")
    group.add_argument("--leaks", choices=LEAKS, default=LEAKS[0], help="texts that are in two splits; remove: from training")
    group.add_argument("--test-share", type=options.share, default=0.1, help="of the rows, unless test.* is there")
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
    group.add_argument("--encoder", default=ENCODER, help="TF Hub handle, or a Hugging Face directory")
    group.add_argument("--output-size", type=int, default=0, help="hidden units the encoder must have; 0: not checked")
    group.add_argument("--fine-tune-layers", type=int, default=-1, help="-1: all; 0: none; n: the top n, no embeddings")
    group.add_argument("--dropout", type=float, default=0.1, help="before the head")
    group.add_argument("--debug", action="store_true", help="print every trainable variable")
    group.add_argument("--amp", choices=("none", "float16", "bfloat16"), default="none", help="mixed precision")
    group.add_argument("--xla", action="store_true", help="compile the step")


def _add_optimization(group: Any) -> None:
    group.add_argument("--epochs", type=_at_least(1), default=3, help="passes over the rows")
    group.add_argument("--max-steps", type=int, default=0, help="0: all")
    group.add_argument("--batch-per-rank", type=_at_least(1), default=16, help="rows of one forward pass")
    group.add_argument("--accumulation", type=_at_least(1), default=1, help="forward passes per step")
    group.add_argument("--optimizer", choices=("adamw", "lazy_adam"), default="lazy_adam")
    group.add_argument("--learning-rate", type=float, default=1e-4, help="peak, of the global batch")
    group.add_argument("--scale-learning-rate", action="store_true", help="peak × ranks")
    group.add_argument("--warm-up", type=options.share, default=0.1, help="share of the steps")
    group.add_argument("--decay", choices=("linear", "cosine"), default="linear")
    group.add_argument("--weight-decay", type=float, default=0.01, help="not of biases and LayerNorm")
    group.add_argument("--clip-norm", type=float, default=1.0, help="of the averaged gradients; 0: not clipped")
    group.add_argument(
        "--average-weights", type=options.share, default=0.3, help="over this share of the steps, the last; 0: not averaged"
    )
    group.add_argument("--on-nan", choices=("stop", "skip"), default="stop", help="a step that is not finite, on all ranks")
    group.add_argument("--checkpoint-every", type=int, default=200, help="steps; 0: only when interrupted, and at the end")


def _add_ranks(group: Any) -> None:
    group.add_argument("--processes", type=_at_least(1), default=2, help="Horovod ranks on this machine")
    group.add_argument("--hosts", default="", help="a:2,b:2: ranks there instead, over ssh; same paths on all of them")
    group.add_argument("--network-interfaces", default="", help="between the hosts, eth0,eth1; empty: what all of them share")
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
