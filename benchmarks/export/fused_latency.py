"""Is ort_fp32 as fast as the same weights exported from PyTorch and fused by ONNX Runtime?

Ratios, run interleaved.

Reads our fused graph and the peers that benchmarks/export/pytorch_peer.py made; writes
benchmarks/records/fused_latency.json. Takes 8 minutes:

    python -m benchmarks.models --directory runs/fused_latency
    .tools/pytorch/bin/python -m benchmarks.export.pytorch_peer \\
        --canonical runs/fused_latency/canonical.onnx --directory runs/fused_latency
    python -m benchmarks.export.fused_latency \\
        --ours runs/fused_latency/fused.onnx --peers runs/fused_latency

Every row of a batch has all its tokens (a full mask), since the shapes are fixed; no runtime here
skips padding anyway.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from benchmarks import harness
from benchmarks.harness import Signed, Table
from benchmarks.models import PeerFiles
from export.session import Session, open_onnx
from slipway import errors, provenance
from slipway.contract.ragged import Feed, Ragged
from slipway.statistics import Floats, Ratio, ratio

SHAPES = ((1, 16), (1, 64), (8, 32), (8, 128), (32, 64), (1, 256))  # batch, tokens
LIMIT = 1e-4  # largest |Δlogit| between ours and a peer
# Each model is loaded anew this often: where a load's memory lies makes the same file up to 4 %
# faster or slower.
_LOADS = 6
_BUDGET = 10.0  # seconds a shape and load, when the least number of rounds takes less
_OURS = "ours"
_FUSED = ("EmbedLayerNormalization", "Attention", "MultiHeadAttention", "SkipLayerNormalization", "BiasGelu", "FastGelu")
Shape = tuple[int, int]  # batch, tokens
Seconds = dict[str, list[Floats]]  # model → for each load, [rounds]: duration of a run


@dataclass(frozen=True)
class PeerLatency(Ratio):
    """One peer at one shape: ours ÷ peer."""

    peer_ms: float


@dataclass(frozen=True)
class LatencyRow(PeerLatency):
    """One shape, compared with the peer to which our ratio is highest."""

    batch: int
    tokens: int
    rounds: int
    ours_ms: float
    strongest_peer: str
    verdict: str
    peers: dict[str, PeerLatency]


@dataclass(frozen=True)
class FusedLatency(Signed):
    rows: list[LatencyRow]
    threads: int
    loads: int
    masks: str
    operators: dict[str, dict[str, int]]  # model → fused operator → how often its file has it
    peers: PeerFiles


def main() -> int:
    arguments = _parse()
    peers = _peers(arguments.peers)
    files = {_OURS: arguments.ours} | {peer.kind: arguments.peers / peer.file for peer in peers.peers}
    record = FusedLatency(
        rows=measure(files, SHAPES, arguments.rounds, arguments.threads),
        threads=arguments.threads,
        loads=_LOADS,
        masks="full: every row has all its tokens",
        operators={name: operators(path) for name, path in files.items()},
        peers=peers,
        **provenance.record("onnx", "onnxruntime", "numpy"),
    )
    harness.finish(arguments.record, record, table(record))
    return int(any(row.verdict == "slower" for row in record.rows))


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "fused_latency.json", rounds=30)
    parser.add_argument("--ours", type=Path, required=True, help="the model file of ort_fp32")
    parser.add_argument("--peers", type=Path, required=True, help="the directory that pytorch_peer wrote")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def _peers(directory: Path) -> PeerFiles:
    try:
        return harness.read(PeerFiles, directory / "peers.json")
    except FileNotFoundError:
        raise errors.ToolError(
            "there is nothing to compare with",
            expected="peers.json and the files it names",
            found="no peers.json",
            where=str(directory),
            fix="make the environment of requirements/pytorch.txt and run benchmarks.export.pytorch_peer in it",
        ) from None


def measure(files: dict[str, Path], shapes: tuple[Shape, ...], rounds: int, threads: int) -> list[LatencyRow]:
    """Return one row a shape, of at least `rounds` rounds.

    Raises ParityError when a peer's logits differ from ours.
    """
    seconds: dict[Shape, Seconds] = {shape: {name: [] for name in files} for shape in shapes}
    random = np.random.default_rng(0)
    for _ in range(_LOADS):
        with ExitStack() as stack:
            order = random.permutation(list(files))
            sessions = {str(name): stack.enter_context(open_onnx(files[name], threads)) for name in order}
            _check_agreement(sessions)
            for shape, by_model in seconds.items():
                timed = _interleaved(sessions, _feed([shape[1]] * shape[0]), math.ceil(rounds / _LOADS))
                for name, times in timed.items():
                    by_model[name].append(times)
        del sessions  # and their memory, before the next load
    return [_row(shape, by_model) for shape, by_model in seconds.items()]


def _feed(lengths: list[int]) -> Feed:
    random = np.random.default_rng(0)
    return Ragged.of([random.integers(1, 100, length, np.int32) for length in lengths]).padded()


def _check_agreement(sessions: dict[str, Session]) -> None:
    logits = {name: session.infer(_feed([3, 16, 9])) for name, session in sessions.items()}
    differences = {name: float(np.abs(answer - logits[_OURS]).max()) for name, answer in logits.items()}
    if not max(differences.values()) <= LIMIT:
        raise errors.ParityError(
            "the models answer differently, so their speeds say nothing",
            expected=f"|Δlogit| ≤ {LIMIT}",
            found=str(differences),
            where="random rows of 3, 16 and 9 tokens",
            fix="run benchmarks.export.pytorch_peer again on the canonical file of the same model",
        )


def _interleaved(sessions: dict[str, Session], feed: Feed, rounds: int) -> dict[str, Floats]:
    """Time one run of each model a round, in random order: `rounds`, or more within _BUDGET.

    One run is short: most rounds of small shapes are not interrupted, and the medians are theirs.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    random = np.random.default_rng()
    end = time.perf_counter() + _BUDGET
    while len(seconds[_OURS]) < rounds or time.perf_counter() < end:
        for name in random.permutation(list(sessions)):
            seconds[name].append(_timed(sessions[name], feed))
    return {name: np.array(times) for name, times in seconds.items()}


def _timed(session: Session, feed: Feed) -> float:
    session.infer(feed)  # not timed: it brings this model's weights and threads back into the caches
    return harness.seconds_of(partial(session.infer, feed))


def _row(shape: Shape, seconds: Seconds) -> LatencyRow:
    ours = seconds[_OURS]
    peers = {
        name: PeerLatency(**vars(ratio(ours, times)), peer_ms=_milliseconds(times))
        for name, times in seconds.items()
        if name != _OURS
    }
    strongest = max(peers, key=lambda name: peers[name].ratio)
    low, high = peers[strongest].interval
    return LatencyRow(
        **vars(peers[strongest]),
        batch=shape[0],
        tokens=shape[1],
        rounds=sum(map(len, ours)),
        ours_ms=_milliseconds(ours),
        strongest_peer=strongest,
        verdict="faster" if high < 1 else "slower" if low > 1 else "no significant difference",
        peers=peers,
    )


def _milliseconds(seconds: list[Floats]) -> float:
    return round(float(np.median(np.concatenate(seconds))) * 1e3, 3)


def operators(path: Path) -> dict[str, int]:
    """Count the fused operators of a file."""
    kinds = Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
    return {kind: kinds[kind] for kind in _FUSED if kinds[kind]}


def table(record: FusedLatency) -> Table:
    return Table(
        "ort_fp32 ÷ the strongest peer",
        ("batch × tokens", "ort_fp32 ÷ strongest peer (95 %)", "peer", ""),
        [(f"{row.batch} × {row.tokens}", row.text(3), row.strongest_peer, row.verdict) for row in record.rows],
        f"Latency; below 1 is faster. {record.signature}",
    )


if __name__ == "__main__":
    errors.run(main)
