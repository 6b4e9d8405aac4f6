"""How fast training runs here, and how much of the machine it uses: takes real steps with real ranks, and keeps nothing of them.

Every flag of `train.finetune` that describes data, model, optimization and ranks is understood. Writes a JSON record:

    python -m train.measure --processes 2 --max-steps 40           → runs/agnews/training_speed.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train import errors, flags, flops, manifest, provenance, speed, terminal
from train.job import Job
from train.ranks import Ranks
from train.speed import Timed

if TYPE_CHECKING:
    from train.bert_encoder import Size

_STEPS, _UNTIMED = 40, 5
_FLOPS_OF = ("model", "fed")  # the texts alone, and with their padding
_PRECISION = {"none": "float32", "float16": "float16", "bfloat16": "bfloat16"}  # what the products are computed in


def main() -> int:
    arguments = _parse()
    found = flags.corpus_of(arguments)
    job, ranks = flags.job_of(arguments, found, checkpoints="", evaluate=False), flags.ranks_of(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    timed = speed.run(found, job, ranks, arguments.untimed, arguments.out.parent.resolve())
    # The peak of this machine says nothing of several.
    peaks = {} if ranks.hosts else _matmul_peaks(threads(ranks), ranks.processes)
    record = {
        **summary(timed, job, encoder_size(job.encoder), peaks),
        "untimed_steps": arguments.untimed,
        "job": dataclasses.asdict(job),
        "ranks": dataclasses.asdict(ranks),
        "corpus": {"where": found.where, "sha256": found.sha256, "train_rows": len(found.train)},
        **provenance.record("tensorflow", "tf_keras", "horovod", "numpy"),
    }
    manifest.write_json(arguments.out, record)
    _show(record)
    print(f"record    {arguments.out}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("runs/agnews/training_speed.json"), help="the record")
    parser.add_argument("--untimed", type=int, default=_UNTIMED, help="steps at the beginning that are not timed")
    flags.add(parser)
    parser.set_defaults(max_steps=_STEPS)
    return parser.parse_args()


def _matmul_peaks(threads: int, gpus: int) -> dict[str, float]:
    """Precision → operations per second, in a process of its own: TensorFlow's threads are settled when it is first used."""
    command = [sys.executable, "-m", "train.matmul_peak", "--threads", str(threads), "--gpus", str(gpus)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def threads(ranks: Ranks) -> int:
    """Cores that all ranks of this machine compute on together."""
    return ranks.processes * ranks.cores_per_rank or len(os.sched_getaffinity(0))


def encoder_size(handle: str) -> Size | None:
    """None when the module is not recognised as a BERT: then its operations are not known."""
    from train.encoder_layer import EncoderLayer

    return EncoderLayer(handle).size


def summary(timed: Timed, job: Job, size: Size | None, peaks: dict[str, float]) -> dict[str, Any]:
    """The figures. Operations are those of whole training steps: of the texts alone ("model"), and with their padding ("fed").

    A step's operations are those of its mean length: exact but for the attention products, 2 % of them at 52 tokens.
    """
    record: dict[str, Any] = {
        "steps": len(timed.seconds),
        "examples_per_second": timed.per_second(timed.examples),
        "tokens_per_second": timed.per_second(timed.tokens),
        "fed_tokens_per_second": timed.per_second(timed.fed),
        "padding_waste": timed.padding_waste,
        "outside_tensorflow": timed.outside_share,
        "first_step_seconds": timed.first_step,
        "peak_memory_bytes": timed.peak_memory,
        "matmul_peak": peaks,
    }
    if size is None:
        return {**record, "flops": None}
    peak = peaks.get(_PRECISION[job.amp])
    found = {}
    for name, tokens in zip(_FLOPS_OF, (timed.tokens, timed.fed), strict=True):
        means = zip(timed.examples, tokens / timed.examples, strict=True)
        steps = [
            rows * flops.training(size, mean, job.labels, tagging=job.task == "tagging", fine_tune_layers=job.fine_tune_layers)
            for rows, mean in means
        ]
        rate = sum(steps) / float(timed.seconds.sum())
        found[name] = {
            "per_example": sum(steps) / float(timed.examples.sum()),
            "per_second": rate,
            "share_of_peak": rate / peak if peak else None,
        }
    return {**record, "flops": {**found, "formula": flops.FORMULA}}


def _show(record: dict[str, Any]) -> None:
    table = terminal.table("Training speed", "figure", "median", "quartiles", left=("figure",))
    for name in ("examples_per_second", "tokens_per_second", "fed_tokens_per_second"):
        rate = record[name]
        table.add_row(name.replace("_", " "), f"{rate['median']:.1f}", f"{rate['low']:.1f} to {rate['high']:.1f}")
    for name, one in ((name, record["flops"][name]) for name in _FLOPS_OF if record["flops"]):
        table.add_row(f"{name} GFLOP an example", f"{one['per_example'] / 1e9:.3f}", "")
        table.add_row(f"{name} TFLOP/s", f"{one['per_second'] / 1e12:.4f}", "")
        if one["share_of_peak"]:
            table.add_row(f"{name} share of matmul peak", f"{one['share_of_peak']:.1%}", "")
    for precision, peak in record["matmul_peak"].items():
        table.add_row(f"matmul peak {precision}, TFLOP/s", f"{peak / 1e12:.3f}", "")
    table.add_row("padding waste", f"{record['padding_waste']:.1%}", "")
    table.add_row("step time outside TensorFlow", f"{record['outside_tensorflow']:.2%}", "")
    table.add_row("first step, s", f"{record['first_step_seconds']:.1f}", "")
    table.add_row("peak memory of a rank, GB", f"{record['peak_memory_bytes'] / 1e9:.2f}", "")
    terminal.console().print(table)
    if record["flops"]:
        print(f"formula   {record['flops']['formula']}")


if __name__ == "__main__":
    errors.run(main)
