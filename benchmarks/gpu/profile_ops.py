"""Where the time of graphs goes, operator by operator, by ONNX Runtime's own profiler: a line of JSON for each shape of each.

A process of its own, since CUDA has to be told before it starts to wait for every kernel: without that, what the profiler
sees of an operator is how long its launch took.

    python -m benchmarks.gpu.profile_ops model.onnx --provider CUDAExecutionProvider --shape 32 128 --shape 1 32
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
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.gpu import libraries
from export.variants import PROVIDER_OPTIONS
from train.errors import ToolError
from train.ragged import Ragged

_RUNS = 10
_ENVIRONMENT = {
    "CUDA_LAUNCH_BLOCKING": "1",
    "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO": "1",  # says on stdout which attention kernel each node took
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--provider", required=True, help="as ONNX Runtime calls it")
    parser.add_argument("--shape", type=int, nargs=2, action="append", required=True, metavar=("BATCH", "TOKENS"))
    arguments = parser.parse_args()
    for model in arguments.models:
        for batch, tokens in arguments.shape:
            try:
                found = _profile(model, arguments.provider, batch, tokens)
            except Exception as error:  # ONNX Runtime's; one graph that fails must not cost what the others have to show
                found = {"failed": f"{type(error).__name__}: {error}"}
            print(json.dumps({"batch": batch, "tokens": tokens, **found}), flush=True)
    return 0


def run(files: Mapping[str, Path], provider: str, shapes: Sequence[tuple[int, int]], limit: float = 120) -> list[dict[str, Any]]:
    """A profile of every file and every shape (batch, tokens) of full rows, with the attention kernels that ONNX Runtime named.

    Where it could not be taken, "failed" says why. Raises ToolError, also after `limit` seconds.
    """
    command = [sys.executable, "-m", "benchmarks.gpu.profile_ops", *map(str, files.values()), "--provider", provider]
    for shape in shapes:
        command += ["--shape", *map(str, shape)]
    checkout = Path(__file__).parents[2]
    environment = {**os.environ, **_ENVIRONMENT}
    try:
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise _failed(command, f"no end within {limit:.0f} s") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise _failed(command, said[-1] if said else f"exit status {done.returncode}")
    names = [name for name in files for _ in shapes]
    return [{"variant": name, **found} for name, found in zip(names, parsed(done.stdout), strict=True)]


def parsed(output: str) -> list[dict[str, Any]]:
    """The profiles out of what `main` printed. The kernels of a profile are named in the lines before it."""
    found: list[dict[str, Any]] = []
    kernels: set[str] = set()
    for line in output.splitlines():
        kernels |= {" ".join(names) for names in re.findall(r"Operator=(\w+).*?SdpaKernel=(\w+)", line)}
        if line.startswith("{"):
            found.append({**json.loads(line), "attention_kernels": sorted(kernels)})
            kernels = set()
    return found


def _failed(command: list[str], found: str) -> ToolError:
    return ToolError(
        "the profile could not be taken",
        expected="a profile of ONNX Runtime",
        found=found,
        where=" ".join(command),
        fix="run that command",
    )


def _profile(model: Path, provider: str, batch: int, tokens: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(scratch) / "profile")
        options.log_severity_level = 4
        if provider.startswith("CUDA"):
            libraries.load()
        given = [(provider, PROVIDER_OPTIONS.get(provider, {}))]
        session = onnxruntime.InferenceSession(str(model), options, providers=given)
        if (taken := session.get_providers()[0]) != provider:  # ONNX Runtime prints why, and goes on
            raise RuntimeError(f"expected {provider}, found {taken}")
        ids = np.random.default_rng(0).integers(1, 100, (batch, tokens), np.int32)
        feed = Ragged.of(ids).padded()
        for _ in range(_RUNS):
            session.run(None, {node.name: feed[node.name] for node in session.get_inputs()})
        return summary(json.loads(Path(session.end_profiling()).read_text("utf-8")))


def summary(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Operators by share of the time; a node's time is its median over the runs. From ONNX Runtime's profile, microseconds."""
    times: dict[str, list[float]] = defaultdict(list)
    facts: dict[str, tuple[str, str]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"]].append(event["dur"])
            facts[event["name"]] = event["args"]["op_name"], event["args"]["provider"]
    rows: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, found in times.items():
        rows[facts[name]].append(float(np.median(found)))
    total = sum(sum(found) for found in rows.values())
    operators = [
        {"operator": kind, "provider": provider, "nodes": len(found), "us": sum(found), "share": sum(found) / total}
        for (kind, provider), found in rows.items()
    ]
    return {"nodes": len(times), "us": total, "operators": sorted(operators, key=lambda row: -float(row["us"]))}


if __name__ == "__main__":
    sys.exit(main())
