"""Slipway beside what a user would pick instead: the same texts, weights and cores, in turn.

Ratios with intervals.

Reads the run's bundle, its artifact ort_fp32 and its repository; writes
benchmarks/records/peers.json. Takes 10 minutes on 2 cores. Before anything is timed, answers are
compared with the SavedModel's: a server whose answers differ ends this with exit code 1; so does a
peer that failed, once the others are measured.

    make peers RUN=runs/agnews                             installs the peers first
    python -m benchmarks.peers.measure --run runs/agnews   on two cores: taskset --cpu-list 0,1

Every start brings all servers up anew; within one they are measured in random order, round by
round, by one client.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.peers import closed_loop, rounds, subjects
from benchmarks.peers.rounds import LoadPlan, Starts
from benchmarks.peers.subjects import MeasuredServer
from benchmarks.peers.table import AnswerCheck, PeersRecord, table
from slipway import errors, provenance
from slipway.contract import bundle
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.parity import comparison
from slipway.contract.parity.comparison import Comparison
from slipway.contract.variants import VARIANTS, Limits
from slipway.errors import ParityError, ServerError

_CHECKING = 16  # texts in flight while answers are compared
_PACKAGES = ("nvidia-pytriton", "fastapi", "uvicorn", "onnxruntime", "tensorflow", "tokenizers")


@dataclass
class Measurements:
    """The outcome of all starts so far."""

    servers: list[MeasuredServer] = field(default_factory=list)
    answers: list[AnswerCheck] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # peer → why
    starts: Starts = field(default_factory=lambda: defaultdict(list))

    def names(self, ours: bool) -> list[str]:
        return [server.name for server in self.servers if server.ours == ours and server.name not in self.missing]


def main() -> int:
    arguments, load_average = _parse(), os.getloadavg()[0]
    source = bundle.load(arguments.run / "bundle")
    harness.require_single_text(source, errors.command("bench", arguments.run))
    golden = bundle.load_golden(source)
    golden = golden.take(np.arange(min(arguments.texts, len(golden.texts))))
    plan = LoadPlan(arguments.concurrency, arguments.rounds, arguments.seconds)
    measured = _measured(arguments.run, source, golden, plan, arguments.starts)
    ours, peers = measured.names(ours=True), measured.names(ours=False)
    _check_peers(peers, measured.missing)
    record = PeersRecord(
        load_average_before=load_average,
        **asdict(plan),
        texts=len(golden.texts),
        mean_tokens=float(golden.ids.lengths.mean()),
        starts=arguments.starts,
        bundle_sha256=source.sha256,
        answers=measured.answers,
        rows=[rounds.row(*load, measured.starts[load]) for load in itertools.product(ours + peers, plan.concurrency)],
        comparisons=rounds.comparisons((ours, peers), plan.concurrency, measured.starts),
        skipped=measured.missing,
        peer_versions=_peer_versions(),
        **provenance.record("aiohttp", "numpy", "onnxruntime", "tokenizers"),
    )
    harness.finish(arguments.record, record, table(record))
    return int(bool(measured.missing))


def _measured(run: Path, source: Bundle, golden: Golden, plan: LoadPlan, starts: int) -> Measurements:
    measured = Measurements()
    with harness.client_process() as client:
        for start in range(starts):
            with subjects.running(run, source) as (measured.servers, skipped):
                print(f"start {start + 1} of {starts}: {'; '.join(server.name for server in measured.servers)}", flush=True)
                measured.answers = [_checked(client, server, source, golden) for server in measured.servers]
                by_load, failed = rounds.measure(client, measured.servers, golden.texts, plan, random.Random(start))
            measured.missing |= skipped | failed
            for load, own in by_load.items():
                measured.starts[load].append(own)
    return measured


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "peers.json", rounds=3)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/agnews")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64], help="texts in flight")
    parser.add_argument(
        "--starts", type=int, default=2, help="times all servers are started anew, for --rounds each; verdicts take 5 rounds"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--texts", type=int, default=500, help="golden texts sent in turn")
    return parser.parse_args()


def _check_peers(peers: list[str], missing: dict[str, str]) -> None:
    if not peers:
        raise ServerError(
            "not one peer could be measured, so nothing was written",
            expected=", ".join(peer.name for peer in subjects.PEERS),
            found="; ".join(f"{name}: {why}" for name, why in missing.items()),
            where=str(subjects.ENVIRONMENT),
            fix="make peers RUN=…, which makes their environment",
        )


def _checked(client: ProcessPoolExecutor, server: MeasuredServer, source: Bundle, golden: Golden) -> AnswerCheck:
    """Compare the server's answers to all texts with the SavedModel's. Raises ParityError."""
    bodies = [server.protocol.body(text) for text in golden.texts]
    answers = client.submit(closed_loop.answers, server.url, bodies, _CHECKING).result()
    logits = np.array([server.protocol.logits(answer) for answer in answers], np.float32)
    measured = comparison.compare_golden(golden, logits, source.labels)
    if failures := beyond(measured, VARIANTS[server.variant].limits):
        raise ParityError(
            f"{server.name} gives other answers, so its speed says nothing",
            expected=f"those of the SavedModel, within the limits of {server.variant}",
            found="; ".join(failures),
            where=server.what,
            fix=f"{errors.command('verify', source.directory.parent)}, where it is Slipway",
        )
    return AnswerCheck(
        subject=server.name,
        what=server.what,
        variant=server.variant,
        rows=measured.rows,
        flips=measured.flips,
        flip_rate_bound=measured.flip_rate_bound,
        logit_difference_max=measured.logit_difference_max,
    )


def beyond(measured: Comparison, limits: Limits) -> list[str]:
    """Return which limits on measured values are not held.

    Those on bounds take more rows: the export's gate holds them.
    """
    checks = [
        ("rows without a number", measured.non_finite_rows, 0),
        ("flip rate", measured.flips / measured.rows, limits.flip_rate),
    ]
    if limits.logit_difference is not None:
        checks.append(("max |Δlogit|", measured.logit_difference_max, limits.logit_difference))
    return [f"{what} is {value:.4g}, limit {limit:.4g}" for what, value, limit in checks if not value <= limit]


def _peer_versions() -> dict[str, str]:
    """Return the versions of the peers' packages, from their environment; none without one."""
    python = subjects.ENVIRONMENT / "bin" / "python"
    program = f"import importlib.metadata as m, json; print(json.dumps({{name: m.version(name) for name in {_PACKAGES!r}}}))"
    if not python.exists():
        return {}
    versions: dict[str, str] = json.loads(
        subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout
    )
    return versions


if __name__ == "__main__":
    errors.run(main)
