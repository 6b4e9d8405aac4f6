"""Where a graph's time goes, operator by operator, by ONNX Runtime's own profiler: one line of JSON.

A process of its own, since CUDA has to be told before it starts to wait for every kernel: without that, what the profiler
sees of an operator is how long its launch took.

    python -m benchmarks.gpu.profile_ops model.onnx --provider cuda --batch 32 --tokens 128
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
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from export.variants import PROVIDER_OPTIONS
from train.errors import ToolError
from train.ragged import Ragged

_RUNS = 10
_ENVIRONMENT = {
    "CUDA_LAUNCH_BLOCKING": "1",
    "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO": "1",  # says on stdout which attention kernel each node took
}
_LIMIT = 120  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("model", type=Path)
    parser.add_argument("--provider", required=True, help="as ONNX Runtime calls it")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    arguments = parser.parse_args()
    print(json.dumps(_profile(arguments.model, arguments.provider, arguments.batch, arguments.tokens)))
    return 0


def run(model: Path, provider: str, batch: int, tokens: int) -> dict[str, Any]:
    """The profile of a batch of full rows, and the attention kernels that ONNX Runtime named. Raises ToolError."""
    command = [sys.executable, "-m", "benchmarks.gpu.profile_ops", str(model), "--provider", provider]
    command += ["--batch", str(batch), "--tokens", str(tokens)]
    checkout = Path(__file__).parents[2]
    environment = {**os.environ, **_ENVIRONMENT}
    try:
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise _failed(command, f"no end within {_LIMIT} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise _failed(command, said[-1] if said else f"exit status {done.returncode}")
    kernels = sorted({" ".join(found) for found in re.findall(r"Operator=(\w+).*?SdpaKernel=(\w+)", done.stdout)})
    return {**json.loads(lines[-1]), "attention_kernels": kernels}


def _failed(command: list[str], found: str) -> ToolError:
    return ToolError(
        "the profile could not be taken",
        expected="a profile of ONNX Runtime",
        found=found,
        where=" ".join(command),
        mend="run that command",
    )


def _profile(model: Path, provider: str, batch: int, tokens: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(scratch) / "profile")
        options.log_severity_level = 4
        if provider.startswith("CUDA"):
            onnxruntime.preload_dlls()
        given = [(provider, PROVIDER_OPTIONS.get(provider, {}))]
        session = onnxruntime.InferenceSession(str(model), options, providers=given)
        ids = np.random.default_rng(0).integers(1, 100, (batch, tokens), np.int32)
        feed = Ragged.of(ids).padded()
        for _ in range(_RUNS):
            session.run(None, {node.name: feed[node.name] for node in session.get_inputs()})
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return {"batch": batch, "tokens": tokens, **summary(events)}


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
