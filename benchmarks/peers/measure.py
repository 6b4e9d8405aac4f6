"""Slipway beside what a user would pick instead: the same texts, weights and cores, in turn. Ratios with intervals.

Reads the run's bundle, its artifact ort_fp32 and its repository; writes benchmarks/peers.json. Some 10 minutes on 2 cores. Before
anything is timed, answers are compared with the SavedModel's: a server that gives others ends this with exit code 1; so does a peer
that failed, once the others are measured.

    make peers RUN=runs/agnews                                 installs the peers into .tools/peers first
    python -m benchmarks.peers.measure --run runs/agnews       below `taskset --cpu-list 0,1` where there are more cores

Every start brings all servers up anew; within one they are measured in random order, round by round, by one client.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import closed_loop, rounds, subjects
from benchmarks.peers.rounds import Plan, Starts
from benchmarks.peers.subjects import Subject
from export import comparison
from export.variants import VARIANTS, Limits
from train import bundle, errors, manifest, provenance
from train.bundle import Bundle, Golden
from train.errors import ParityError, ServerError
from train.terminal import console, table

RECORD = Path(__file__).parents[1] / "peers.json"
_CHECKING = 16  # texts in flight while answers are compared
_PACKAGES = ("nvidia-pytriton", "fastapi", "uvicorn", "onnxruntime", "tensorflow", "tokenizers")


@dataclass
class Found:
    """Of all starts."""

    subjects: list[Subject] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)  # how each compares with the SavedModel
    missing: dict[str, str] = field(default_factory=dict)  # peers, and why
    starts: Starts = field(default_factory=lambda: defaultdict(list))

    def names(self, ours: bool) -> list[str]:
        return [one.name for one in self.subjects if one.ours == ours and one.name not in self.missing]


def main() -> int:
    arguments, busy = _parse(), os.getloadavg()[0]
    source = bundle.load(arguments.run / "bundle")
    _check_task(source)
    golden = bundle.load_golden(source)
    golden = golden.take(np.arange(min(arguments.texts, len(golden.texts))))
    plan = Plan(arguments.concurrency, arguments.rounds, arguments.seconds)
    found = _measured(arguments.run, source, golden, plan, arguments.starts)
    ours, peers = found.names(ours=True), found.names(ours=False)
    _check_peers(peers, found.missing)
    record = {
        "load_average_before": busy,  # of others: a quiet machine has 0
        **asdict(plan),
        "texts": len(golden.texts),
        "mean_tokens": float(golden.ids.lengths.mean()),
        "starts": arguments.starts,
        "bundle_sha256": source.sha256,
        "answers": found.answers,
        "rows": [rounds.row(*load, found.starts[load]) for load in itertools.product(ours + peers, plan.concurrency)],
        "comparisons": rounds.comparisons((ours, peers), plan.concurrency, found.starts),
        "skipped": found.missing,
        "peer_versions": _peer_versions(),
        **provenance.record("aiohttp", "numpy", "onnxruntime", "tokenizers"),
    }
    manifest.write_json(arguments.out, record)
    _show(record)
    return int(bool(found.missing))


def _measured(run: Path, source: Bundle, golden: Golden, plan: Plan, starts: int) -> Found:
    found = Found()
    # A process of its own: in this one threads read the servers' logs.
    with ProcessPoolExecutor(1, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as client:
        for start in range(starts):
            with subjects.running(run, source) as (found.subjects, skipped):
                print(f"start {start + 1} of {starts}: {'; '.join(one.name for one in found.subjects)}", flush=True)
                found.answers = [_checked(client, one, source, golden) for one in found.subjects]
                measured, failed = rounds.measure(client, found.subjects, golden.texts, plan, random.Random(start))
            found.missing |= skipped | failed
            for load, own in measured.items():
                found.starts[load].append(own)
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/agnews")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64], help="texts in flight")
    parser.add_argument("--starts", type=int, default=2, help="how often all servers are started anew")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often each is measured with each load, a start; 5 in all for verdicts"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--texts", type=int, default=500, help="golden texts sent in turn")
    parser.add_argument("--out", type=Path, default=RECORD, help="the record")
    return parser.parse_args()


def _check_task(source: Bundle) -> None:
    if source.task != "single_text":
        raise ServerError(
            "the peers are applications for single texts",
            expected="a model of single texts",
            found=source.task,
            where=str(source.directory),
            fix="make bench, which measures every task",
        )


def _check_peers(peers: list[str], missing: dict[str, str]) -> None:
    if not peers:
        raise ServerError(
            "not one peer could be measured, so nothing was written",
            expected=", ".join(one.name for one in subjects.PEERS),
            found="; ".join(f"{name}: {why}" for name, why in missing.items()),
            where=str(subjects.ENVIRONMENT),
            fix="make peers RUN=…, which makes their environment",
        )


def _checked(client: ProcessPoolExecutor, subject: Subject, source: Bundle, golden: Golden) -> dict[str, Any]:
    """The subject's answers to all texts, compared with the SavedModel's. Raises ParityError."""
    bodies = [subject.protocol.body(text) for text in golden.texts]
    answers = client.submit(closed_loop.answers, subject.url, bodies, _CHECKING).result()
    logits = np.array([subject.protocol.logits(answer) for answer in answers], np.float32)
    measured = comparison.compare(golden.logits, logits, golden.labels, golden.lengths, source.labels)
    if wrong := beyond(measured, VARIANTS[subject.variant].limits):
        raise ParityError(
            f"{subject.name} gives other answers, so its speed says nothing",
            expected=f"those of the SavedModel, within the limits of {subject.variant}",
            found="; ".join(wrong),
            where=subject.what,
            fix="make verify RUN=…, where it is Slipway",
        )
    kept = ("rows", "flips", "flip_rate_bound", "logit_difference_max")
    return {"subject": subject.name, "what": subject.what, "variant": subject.variant, **{name: measured[name] for name in kept}}


def beyond(measured: dict[str, Any], limits: Limits) -> list[str]:
    """What of a comparison is beyond the limits on what was measured. Its bounds take more rows: the export's gate holds those."""
    checks = [
        ("rows without a number", measured["non_finite_rows"], 0),
        ("flip rate", measured["flips"] / measured["rows"], limits.flip_rate),
    ]
    if limits.logit_difference is not None:
        checks.append(("max |Δlogit|", measured["logit_difference_max"], limits.logit_difference))
    return [f"{what} is {found:.4g}, limit {limit:.4g}" for what, found, limit in checks if not found <= limit]


def _peer_versions() -> dict[str, str]:
    """Of what the peers are made of, as their environment says. Empty without one."""
    python = subjects.ENVIRONMENT / "bin" / "python"
    program = f"import importlib.metadata as m, json; print(json.dumps({{name: m.version(name) for name in {_PACKAGES!r}}}))"
    if not python.exists():
        return {}
    versions: dict[str, str] = json.loads(
        subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout
    )
    return versions


def _show(record: dict[str, Any]) -> None:
    columns = ("Slipway", "peer", "in flight", "texts/s, ratio (95 %)", "it is")
    shown = table("Slipway ÷ peer", *columns, left=("Slipway", "peer", "it is"))
    for one in record["comparisons"]:
        if one["measure"] == "texts_per_second":
            ratio = "{:.3f} ({:.3f} to {:.3f})".format(one["ratio"], *one["interval"]) if one["ratio"] else "–"
            shown.add_row(one["a"], one["b"], str(one["concurrency"]), ratio, one["verdict"])
    console().print(shown)
    for why in dict.fromkeys(one["why"] for one in record["comparisons"] if one["verdict"] == "invalid run"):
        print(f"invalid: {why}")
    for name, why in record["skipped"].items():
        print(f"skipped: {name}: {why}")


if __name__ == "__main__":
    errors.run(main)
