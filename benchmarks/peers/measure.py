"""Slipway beside what a user would pick instead: the same texts and weights, the same cores, in turn. Ratios with intervals.

Reads the run's bundle, its artifact ort_fp32 and its repository; writes benchmarks/peers.json. Some 8 minutes on 2 cores. Before anything
is timed, answers are compared with the SavedModel's: a server that gives others ends this with exit code 1.

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
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import closed_loop, subjects
from benchmarks.peers.closed_loop import Window
from benchmarks.peers.subjects import Subject
from benchmarks.ratios import ratio
from export import comparison
from export.variants import VARIANTS, Limits
from train import bundle, errors, manifest, provenance
from train.bundle import Bundle, Golden
from train.errors import ParityError, ServerError
from train.terminal import console, table

RECORD = Path(__file__).parents[1] / "peers.json"
_CHECKING = 16  # texts in flight while answers are compared
_PACKAGES = ("nvidia-pytriton", "fastapi", "uvicorn", "onnxruntime", "tensorflow", "tokenizers")
# What of a round is compared, and whether more of it is better.
_MEASURES = (
    ("texts_per_second", lambda one: one.texts_per_second, True),
    ("p99_ms", lambda one: float(np.percentile(one.latencies, 99)), False),
)
Rounds = dict[tuple[str, int], list[Window]]  # by subject and texts in flight
Windows = dict[tuple[str, int], list[list[Window]]]  # the rounds of each start


def main() -> int:
    arguments, busy = _parse(), os.getloadavg()[0]
    source = bundle.load(arguments.run / "bundle")
    _check_task(source)
    golden = bundle.load_golden(source)
    golden = golden.take(np.arange(min(arguments.texts, len(golden.texts))))
    windows: Windows = defaultdict(list)
    missing: dict[str, str] = {}
    # A process of its own: in this one threads read the servers' logs.
    with ProcessPoolExecutor(1, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as client:
        for start in range(arguments.starts):
            with subjects.running(arguments.run, source) as (found, skipped):
                print(f"start {start + 1} of {arguments.starts}: {', '.join(one.name for one in found)}", flush=True)
                checks = [_checked(client, one, source, golden) for one in found]
                rounds, failed = measure(client, found, golden.texts, arguments, random.Random(start))
            missing |= skipped | failed
            for key, measured in rounds.items():
                windows[key].append(measured)
    ours, peers = ([one.name for one in found if one.ours == side and one.name not in missing] for side in (True, False))
    record = {
        "load_average_before": busy,  # of others: a quiet machine has 0
        **{name: getattr(arguments, name) for name in ("concurrency", "starts", "rounds", "seconds")},
        "texts": len(golden.texts),
        "mean_tokens": float(golden.ids.lengths.mean()),
        "bundle_sha256": source.sha256,
        "answers": checks,
        "rows": [row(*load, windows[load]) for load in itertools.product(ours + peers, arguments.concurrency)],
        "comparisons": comparisons((ours, peers), arguments.concurrency, windows),
        "skipped": missing,
        "peer_versions": _peer_versions(),
        **provenance.record("aiohttp", "numpy", "onnxruntime", "tokenizers"),
    }
    manifest.write_json(arguments.out, record)
    _show(record)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/agnews")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64], help="texts in flight")
    parser.add_argument("--starts", type=int, default=2, help="how often all servers are started anew")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured with each load, a start")
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
            mend="make bench, which measures every task",
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
            mend="make verify RUN=…, where it is Slipway",
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


def measure(
    client: ProcessPoolExecutor, found: list[Subject], texts: list[str], arguments: argparse.Namespace, order: random.Random
) -> tuple[Rounds, dict[str, str]]:
    """The rounds of every subject and load, and why a peer has none: it failed under load. Raises ServerError where we do."""
    rounds: Rounds = defaultdict(list)
    failed: dict[str, str] = {}
    for _ in range(arguments.rounds):
        for concurrency in arguments.concurrency:
            for one in order.sample(found, len(found)):
                bodies = [one.protocol.body(text) for text in texts]
                try:
                    asked = client.submit(closed_loop.window, one.url, bodies, concurrency, arguments.seconds)
                    rounds[one.name, concurrency].append(asked.result())
                except ServerError as error:
                    if one.ours:
                        raise
                    failed[one.name] = f"failed with {concurrency} texts in flight: {error.found}"
            found = [one for one in found if one.name not in failed]
    return rounds, failed


def row(name: str, concurrency: int, starts: list[list[Window]]) -> dict[str, Any]:
    """What was measured of one subject under one load: of each start its rounds."""
    pooled = np.concatenate([one.latencies for rounds in starts for one in rounds])
    return {
        "subject": name,
        "concurrency": concurrency,
        "texts_per_second": [[one.texts_per_second for one in rounds] for rounds in starts],
        **{f"p{p}_ms": float(np.percentile(pooled, p)) for p in (50, 99)},
        "requests": int(pooled.size),
        "client_cpu_ms": float(np.median([one.client_cpu_ms for rounds in starts for one in rounds])),
    }


def comparisons(names: tuple[list[str], list[str]], loads: list[int], windows: Windows) -> list[dict[str, Any]]:
    """Each of ours against each peer, under every load: texts/s (above 1 is faster) and the p99 of a round (below 1 is faster)."""
    found = []
    for ours, theirs, concurrency in itertools.product(*names, loads):
        mine, other = windows[ours, concurrency], windows[theirs, concurrency]
        for measure, of, more in _MEASURES:
            compared = ratio(
                [np.array([of(one) for one in rounds]) for rounds in mine],
                [np.array([of(one) for one in rounds]) for rounds in other],
            )
            found.append(
                {
                    "a": ours,
                    "b": theirs,
                    "concurrency": concurrency,
                    "measure": measure,
                    **compared,
                    "verdict": _verdict(compared["interval"], more),
                }
            )
    return found


def _verdict(interval: list[float], more_is_better: bool) -> str:
    low, high = interval
    if low <= 1 <= high:
        return "no difference"
    return "faster" if (low > 1) == more_is_better else "slower"


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
    shown = table(
        "Slipway ÷ peer",
        "Slipway",
        "peer",
        "in flight",
        "of",
        "ratio (95 %)",
        "Slipway is",
        left=("Slipway", "peer", "of", "Slipway is"),
    )
    for one in record["comparisons"]:
        low, high = one["interval"]
        figures = (str(one["concurrency"]), one["measure"], f"{one['ratio']:.3f} ({low:.3f} to {high:.3f})")
        shown.add_row(one["a"], one["b"], *figures, one["verdict"])
    console().print(shown)
    for name, reason in record["skipped"].items():
        print(f"{name}: skipped: {reason}")


if __name__ == "__main__":
    errors.run(main)
