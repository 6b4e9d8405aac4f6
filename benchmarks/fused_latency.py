"""Is ort_fp32 as fast as the same weights exported from PyTorch and fused by ONNX Runtime? Ratios, run interleaved.

Reads our fused graph and the peers of benchmarks/pytorch/export_peer.py; writes benchmarks/fused_latency.json. Some eight minutes:

    python -m benchmarks.random_bert --directory runs/fused_latency
    .tools/pytorch/bin/python -m benchmarks.pytorch.export_peer --canonical runs/fused_latency/canonical.onnx \\
        --directory runs/fused_latency
    python -m benchmarks.fused_latency --ours runs/fused_latency/fused.onnx --peers runs/fused_latency

Every row of a batch has all its tokens (a full mask), since the shapes are fixed; no runtime here skips padding anyway.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.ratios import Floats, ratio
from export import runner
from train import errors, manifest, provenance
from train.ragged import Feed, Ragged
from train.terminal import console, table

RECORD = Path(__file__).parent / "fused_latency.json"
SHAPES = ((1, 16), (1, 64), (8, 32), (8, 128), (32, 64), (1, 256))  # batch, tokens
LIMIT = 1e-4  # largest |Δlogit| between ours and a peer
# Every model is loaded anew this often: where a load's memory lies alone makes the same file up to 4 % faster or slower.
_LOADS = 6
_BUDGET = 10.0  # seconds a shape and load, when the least number of rounds takes less
_OURS = "ours"
_FUSED = ("EmbedLayerNormalization", "Attention", "MultiHeadAttention", "SkipLayerNormalization", "BiasGelu", "FastGelu")
Seconds = dict[str, list[Floats]]  # model → for each load, [rounds]: what one run took


def main() -> int:
    arguments = _parse()
    made = _peers(arguments.peers)
    files = {_OURS: arguments.ours} | {peer["kind"]: arguments.peers / peer["file"] for peer in made["peers"]}
    rows = measure(files, SHAPES, arguments.rounds, arguments.threads)
    record = {
        "rows": rows,
        "threads": arguments.threads,
        "loads": _LOADS,
        "masks": "full: every row has all its tokens",
        "operators": {name: operators(path) for name, path in files.items()},
        "peers": made,
        **provenance.record("onnx", "onnxruntime", "numpy"),
    }
    manifest.write_json(RECORD, record)
    show(record)
    return int(any(row["verdict"] == "slower" for row in rows))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--ours", type=Path, required=True, help="the model file of ort_fp32")
    parser.add_argument("--peers", type=Path, required=True, help="the directory that export_peer wrote")
    parser.add_argument("--rounds", type=int, default=30, help="of every shape, at least")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def _peers(directory: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((directory / "peers.json").read_text("utf-8"))
    except FileNotFoundError:
        raise errors.ToolError(
            "there is nothing to compare with",
            expected="peers.json and the files it names",
            found="no peers.json",
            where=str(directory),
            fix="make the environment of benchmarks/pytorch/requirements.txt and run benchmarks.pytorch.export_peer in it",
        ) from None
    return found


def measure(files: dict[str, Path], shapes: tuple[tuple[int, int], ...], rounds: int, threads: int) -> list[dict[str, Any]]:
    """One row a shape, of at least `rounds` rounds. Raises ParityError when a peer's logits are not ours."""
    seconds: dict[tuple[int, int], Seconds] = {shape: {name: [] for name in files} for shape in shapes}
    random = np.random.default_rng(0)
    for _ in range(_LOADS):
        with ExitStack() as stack:
            order = random.permutation(list(files))
            sessions = {str(name): stack.enter_context(runner.open_onnx(files[name], threads)) for name in order}
            _agree(sessions)
            for shape, found in seconds.items():
                timed = _interleaved(sessions, _feed([shape[1]] * shape[0]), math.ceil(rounds / _LOADS))
                for name, times in timed.items():
                    found[name].append(times)
        del sessions  # and their memory, before the next load
    return [_row(shape, found) for shape, found in seconds.items()]


def _feed(lengths: list[int]) -> Feed:
    random = np.random.default_rng(0)
    return Ragged.of([random.integers(1, 100, length, np.int32) for length in lengths]).padded()


def _agree(sessions: dict[str, runner.Session]) -> None:
    logits = {name: session.infer(_feed([3, 16, 9])) for name, session in sessions.items()}
    differences = {name: float(np.abs(found - logits[_OURS]).max()) for name, found in logits.items()}
    if not max(differences.values()) <= LIMIT:
        raise errors.ParityError(
            "the models answer differently, so their speeds say nothing",
            expected=f"|Δlogit| ≤ {LIMIT}",
            found=str(differences),
            where="random rows of 3, 16 and 9 tokens",
            fix="run benchmarks.pytorch.export_peer again on the canonical file of the same model",
        )


def _interleaved(sessions: dict[str, runner.Session], feed: Feed, rounds: int) -> dict[str, Floats]:
    """Every round times one run of every model, in random order: at least `rounds`, and more while _BUDGET lasts.

    One run is a short sample: on a busy machine most rounds of the small shapes are not interrupted, and medians keep to those.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    random = np.random.default_rng()
    end = time.perf_counter() + _BUDGET
    while len(seconds[_OURS]) < rounds or time.perf_counter() < end:
        for name in random.permutation(list(sessions)):
            seconds[name].append(_timed(sessions[name], feed))
    return {name: np.array(found) for name, found in seconds.items()}


def _timed(session: runner.Session, feed: Feed) -> float:
    session.infer(feed)  # not timed: caches and threads are this model's own afterwards
    start = time.perf_counter()
    session.infer(feed)
    return time.perf_counter() - start


def _row(shape: tuple[int, int], seconds: Seconds) -> dict[str, Any]:
    """The strongest peer is the one to which our ratio is highest; the verdict is about that one."""
    ours = seconds[_OURS]
    peers = {name: {"peer_ms": _milliseconds(theirs), **ratio(ours, theirs)} for name, theirs in seconds.items() if name != _OURS}
    strongest = max(peers, key=lambda name: peers[name]["ratio"])
    low, high = peers[strongest]["interval"]
    verdict = "faster" if high < 1 else "slower" if low > 1 else "no significant difference"
    of_strongest = {"strongest_peer": strongest, **peers[strongest], "verdict": verdict}
    return {
        "batch": shape[0],
        "tokens": shape[1],
        "rounds": sum(map(len, ours)),
        "ours_ms": _milliseconds(ours),
        **of_strongest,
        "peers": peers,
    }


def _milliseconds(seconds: list[Floats]) -> float:
    return round(float(np.median(np.concatenate(seconds))) * 1e3, 3)


def operators(path: Path) -> dict[str, int]:
    """The fused operators of a file, counted."""
    kinds = Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
    return {kind: kinds[kind] for kind in _FUSED if kinds[kind]}


def show(record: dict[str, Any]) -> None:
    shown = table("ort_fp32 ÷ the strongest peer", "batch × tokens", "ms", "peer", "ms", "ratio", "95 % interval", "verdict")
    for row in record["rows"]:
        low, high = row["interval"]
        times = f"{row['ours_ms']:.2f}", row["strongest_peer"], f"{row['peer_ms']:.2f}"
        shown.add_row(
            f"{row['batch']} × {row['tokens']}", *times, f"{row['ratio']:.3f}", f"{low:.3f} to {high:.3f}", row["verdict"]
        )
    console().print(shown)


if __name__ == "__main__":
    errors.run(main)
