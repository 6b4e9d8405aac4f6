"""The time of graphs, operator by operator, from ONNX Runtime's profiler, as lines of JSON.

A process of its own, since CUDA has to be told before it starts to wait for every kernel: without
that, the profiler sees how long an operator's launch took.

    python -m benchmarks.gpu.profile model.onnx --provider CUDAExecutionProvider --shape 32 128
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.gpu.device import load_libraries
from slipway.contract.ragged import Ragged
from slipway.contract.records import from_json
from slipway.contract.variants import PROVIDER_OPTIONS
from slipway.errors import ToolError

_RUNS = 10
_ENVIRONMENT = {
    "CUDA_LAUNCH_BLOCKING": "1",
    "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO": "1",  # prints which attention kernel each node took
}


@dataclass(frozen=True)
class OperatorTime:
    operator: str
    provider: str
    nodes: int
    us: float
    share: float


@dataclass(frozen=True)
class GraphProfile:
    """One graph on one shape of full rows. Where it `failed`, there are no times."""

    variant: str
    batch: int
    tokens: int
    nodes: int = 0
    us: float = 0.0
    operators: tuple[OperatorTime, ...] = ()  # by share of the time
    attention_kernels: tuple[str, ...] = ()  # that ONNX Runtime named
    failed: str = ""  # why


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--provider", required=True, help="as ONNX Runtime calls it")
    parser.add_argument("--shape", type=int, nargs=2, action="append", required=True, metavar=("BATCH", "TOKENS"))
    arguments = parser.parse_args()
    for model in arguments.models:
        for batch, tokens in arguments.shape:
            profile = GraphProfile("", batch, tokens)
            try:
                profile = _profile(profile, model, arguments.provider)
            except Exception as error:  # ONNX Runtime's; one graph that fails must not cost the others' profiles
                profile = replace(profile, failed=f"{type(error).__name__}: {error}")
            print(json.dumps(asdict(profile)), flush=True)
    return 0


def run(files: Mapping[str, Path], provider: str, shapes: Sequence[tuple[int, int]], limit: float = 120) -> list[GraphProfile]:
    """Profile every file on every shape (batch, tokens) of full rows, in a child process.

    Raises ToolError when the process fails, or takes more than `limit` seconds.
    """
    command = [sys.executable, "-m", "benchmarks.gpu.profile", *map(str, files.values()), "--provider", provider]
    for shape in shapes:
        command += ["--shape", *map(str, shape)]
    checkout = Path(__file__).parents[2]
    environment = {**os.environ, **_ENVIRONMENT}
    try:
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise _failed(command, f"no end within {limit:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise _failed(command, lines[-1] if lines else f"exit status {done.returncode}")
    names = [name for name in files for _ in shapes]
    return [replace(profile, variant=name) for name, profile in zip(names, parsed(done.stdout), strict=True)]


def parsed(output: str) -> list[GraphProfile]:
    """Return the profiles that `main` printed.

    The kernels of a profile are named in the lines before it.
    """
    profiles: list[GraphProfile] = []
    kernels: set[str] = set()
    for line in output.splitlines():
        kernels |= {" ".join(names) for names in re.findall(r"Operator=(\w+).*?SdpaKernel=(\w+)", line)}
        if line.startswith("{"):
            profile = from_json(GraphProfile, json.loads(line))
            profiles.append(replace(profile, attention_kernels=tuple(sorted(kernels))))
            kernels = set()
    return profiles


def _failed(command: list[str], message: str) -> ToolError:
    return ToolError(
        "the profile could not be taken",
        expected="a profile of ONNX Runtime",
        found=message,
        where=" ".join(command),
        fix="run that command",
    )


def _profile(profile: GraphProfile, model: Path, provider: str) -> GraphProfile:
    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(scratch) / "profile")
        options.log_severity_level = 4
        if provider.startswith("CUDA"):
            load_libraries()
        given = [(provider, PROVIDER_OPTIONS.get(provider, {}))]
        session = onnxruntime.InferenceSession(str(model), options, providers=given)
        if (taken := session.get_providers()[0]) != provider:  # ONNX Runtime prints why, and goes on
            raise RuntimeError(f"expected {provider}, found {taken}")
        ids = np.random.default_rng(0).integers(1, 100, (profile.batch, profile.tokens), np.int32)
        feed = Ragged.of(ids).padded()
        for _ in range(_RUNS):
            session.run(None, {node.name: feed[node.name] for node in session.get_inputs()})
        return summary(profile, json.loads(Path(session.end_profiling()).read_text("utf-8")))


def summary(profile: GraphProfile, events: list[Any]) -> GraphProfile:
    """Add the times (µs) of ONNX Runtime's profile; a node's is its median over the runs."""
    times: dict[str, list[float]] = defaultdict(list)
    kinds: dict[str, tuple[str, str]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"]].append(event["dur"])
            kinds[event["name"]] = event["args"]["op_name"], event["args"]["provider"]
    by_kind: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, durations in times.items():
        by_kind[kinds[name]].append(float(np.median(durations)))
    total = sum(map(sum, by_kind.values()))
    operators = [
        OperatorTime(kind, provider, len(nodes), sum(nodes), sum(nodes) / total) for (kind, provider), nodes in by_kind.items()
    ]
    operators.sort(key=lambda operator: -operator.us)
    return replace(profile, nodes=len(times), us=total, operators=tuple(operators))


if __name__ == "__main__":
    sys.exit(main())
