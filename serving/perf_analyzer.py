"""Drive the real perf_analyzer: one call, one load, and what each request took.

Percentiles and throughput are computed from perf_analyzer's own export of every request: with a fixed number of
requests, its summary divides them by whole seconds.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from setup import tools
from train.errors import ToolError

_TIME_LIMIT = 180  # seconds for one call


@dataclass(frozen=True)
class Load:
    """A closed loop: `concurrency` clients, each sending its next text when it has the answer to the last."""

    model: str
    protocol: str  # http, grpc
    address: str
    concurrency: int
    requests: int


@dataclass(frozen=True)
class Result:
    command: str
    latencies: NDArray[np.float64]  # ms, of the answered requests
    throughput: float  # answered requests per second
    errors: int  # requests that were to be sent and got no answer
    failure: str  # "" when perf_analyzer ended well, else its exit status and message


def write_texts(texts: list[str], path: Path) -> None:
    """perf_analyzer's input file; it sends the texts in turn, each as it is."""
    path.write_text(json.dumps({"data": [{"text": [text]} for text in texts]}), "utf-8")


def command(load: Load, inputs: Path, export: Path) -> list[str]:
    return [
        str(tools.PERF_ANALYZER),
        *("-m", load.model),
        *("-i", load.protocol),
        *("-u", load.address),
        *("--input-data", str(inputs)),
        *("--concurrency-range", str(load.concurrency)),
        *("--request-count", str(load.requests)),
        *("--profile-export-file", str(export)),
    ]


def run(load: Load, inputs: Path) -> Result:
    """Send the load. A failed run is a Result with its failure; ToolError when perf_analyzer is not there."""
    if not tools.PERF_ANALYZER_LIBRARIES.is_dir() or not tools.PERF_ANALYZER.exists():
        raise ToolError(
            "perf_analyzer is not there",
            expected="the program out of the tritonclient wheel and its two libraries",
            found="no such file",
            where=f"{tools.PERF_ANALYZER}, {tools.PERF_ANALYZER_LIBRARIES}",
            mend="make setup",
        )
    with tempfile.TemporaryDirectory() as scratch:
        export = Path(scratch) / "requests.json"
        arguments = command(load, inputs, export)
        environment = tools.environment(tools.PERF_ANALYZER_LIBRARIES)
        try:
            done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=_TIME_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return _failed(load, arguments, f"no end within {_TIME_LIMIT} s")
        if done.returncode != 0 or not export.exists():
            lines = (done.stderr + done.stdout).strip().splitlines()
            return _failed(load, arguments, f"exit status {done.returncode}: {lines[0] if lines else 'no message'}")
        return _read(load, arguments, json.loads(export.read_text("utf-8")))


def _failed(load: Load, arguments: list[str], why: str) -> Result:
    return Result(_shown(arguments), np.zeros(0), 0.0, load.requests, why)


def _read(load: Load, arguments: list[str], exported: dict[str, list[dict[str, list[dict[str, list[int]]]]]]) -> Result:
    requests = [one for experiment in exported["experiments"] for one in experiment["requests"] if one["response_timestamps"]]
    sent = np.array([one["timestamp"] for one in requests], np.int64)  # ns
    answered = np.array([one["response_timestamps"][-1] for one in requests], np.int64)
    if not len(requests):
        return _failed(load, arguments, "not one request was answered")
    seconds = (answered.max() - sent.min()) / 1e9
    return Result(_shown(arguments), (answered - sent) / 1e6, len(requests) / seconds, max(0, load.requests - len(requests)), "")


def _shown(arguments: list[str]) -> str:
    return shlex.join(["perf_analyzer", *arguments[1:-2]])
