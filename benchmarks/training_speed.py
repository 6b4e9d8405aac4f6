"""How much faster training is than the same model fed as the example that this project replaces; and LazyAdam against AdamW.

That example padded every text to 256 tokens and did not sort by length; it also had AdamW, FP16 compression and dense gradients of
the embeddings. All settings have the same cores, ranks and longest sequence; every round runs them in random order. Some 7 minutes:

    python -m benchmarks.training_speed                   → benchmarks/training_speed.json
    python -m benchmarks.training_speed --quick           → runs/training_speed.json, to see that it works
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from benchmarks import training_runs
from benchmarks.training_runs import Effort, Setting, Times, setting
from train import errors, flags, manifest, provenance, terminal
from train.corpus import Corpus
from train.job import Job
from train.ranks import Ranks

RECORD = Path(__file__).parent / "training_speed.json"
_FULL, _QUICK = Effort(rounds=2, rows=256, epochs=2), Effort(rounds=1, rows=64, epochs=2)
_LONGEST = 256  # tokens, as the example's
_STEPS_AS_EXAMPLE = 3  # all are of one shape, so few will do; the first is not timed
_OURS, _FED, _EXAMPLE = "ours", "fed as the example", "all as the example"
_ADAMW, _BFLOAT16 = "AdamW", "bfloat16"


def main() -> int:
    arguments = _parse()
    effort = _QUICK if arguments.quick else _FULL
    found = training_runs.sampled(flags.corpus_of(arguments), effort.rows)
    job = flags.job_of(arguments, found, checkpoints="", evaluate=False)
    chosen = settings(found, job, flags.ranks_of(arguments), effort)
    times = training_runs.run(chosen, effort.rounds)
    rows = training_runs.rows(chosen, times)
    record = {
        "effort": dataclasses.asdict(effort),
        "ratios": ratios(times),
        "targets": targets(times, rows),
        "rows": rows,
        "job": dataclasses.asdict(job),
        "generated_corpus": found.generated,
        **provenance.record("tensorflow", "tf_keras", "horovod", "numpy"),
    }
    out = arguments.out or (Path("runs/training_speed.json") if arguments.quick else RECORD)
    out.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_json(out, record)
    _show(record)
    print(f"record    {out}")
    return int(not all(one["met"] for one in record["targets"]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="few steps, one round: no result, only a try")
    parser.add_argument("--out", type=Path, help="the record; default: of record, or of a quick try under runs/")
    flags.add(parser)
    parser.set_defaults(max_seq_len=_LONGEST)
    return parser.parse_args()


def settings(found: Corpus, job: Job, ranks: Ranks, effort: Effort) -> list[Setting]:
    """Ours is the job as it is given; the example's feeding is all that differs from it in the second."""
    fed = dataclasses.replace(job, padding="fixed", batches="shuffled", epochs=effort.epochs, max_steps=_STEPS_AS_EXAMPLE)
    example = dataclasses.replace(fed, optimizer="adamw", compression="fp16", sparse_as_dense=True)
    return [
        setting(_OURS, found, job, ranks, effort),
        Setting(_FED, found, fed, ranks, untimed=1),
        Setting(_EXAMPLE, found, example, ranks, untimed=1),
        setting(_ADAMW, found, dataclasses.replace(job, optimizer="adamw"), ranks, effort),
        setting(_BFLOAT16, found, dataclasses.replace(job, amp="bfloat16"), ranks, effort),
    ]


def ratios(times: Times) -> list[dict[str, Any]]:
    compared = [(one, _FED) for one in (_OURS, _EXAMPLE, _ADAMW, _BFLOAT16)] + [(_OURS, _EXAMPLE), (_OURS, _ADAMW)]
    return [{"ours": ours, "theirs": theirs, **training_runs.faster(times, ours, theirs)} for ours, theirs in compared]


def targets(times: Times, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was promised, what was found, and whether that meets it. The ratio's whole interval has to."""
    ours = next(row for row in rows if row["setting"] == _OURS)
    faster = training_runs.faster(times, _OURS, _FED)
    outside, memory = ours["outside_tensorflow"], ours["peak_memory_bytes"]
    return [
        {"target": "≥ 6 × the examples/s of the example's feeding", "found": faster["ratio"], "met": faster["interval"][0] >= 6},
        {"target": "< 5 % of the step time outside TensorFlow", "found": outside, "met": outside < 0.05},
        {"target": "≤ 3 GB of memory a rank", "found": memory / 1e9, "met": memory <= 3e9},
    ]


def _show(record: dict[str, Any]) -> None:
    columns = ("setting", "examples/s", "waste", "outside TensorFlow", "GB a rank")
    table = terminal.table("Training speed", *columns, left=("setting",))
    for row in record["rows"]:
        shares = f"{row['padding_waste']:.1%}", f"{row['outside_tensorflow']:.2%}"
        memory = f"{row['peak_memory_bytes'] / 1e9:.2f}"
        table.add_row(row["setting"], f"{row['examples_per_second']['median']:.2f}", *shares, memory)
    terminal.console().print(table)
    for row in record["ratios"]:
        low, high = row["interval"]
        print(f"{row['ours']} ÷ {row['theirs']}: {row['ratio']:.2f} ({low:.2f} to {high:.2f})")
    for one in record["targets"]:
        print(f"{'met' if one['met'] else 'MISSED'}  {one['target']}: {one['found']:.3f}")


if __name__ == "__main__":
    errors.run(main)
