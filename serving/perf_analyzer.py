"""Drive the real perf_analyzer: one call, one load, and what each request took.

Percentiles and throughput are computed from perf_analyzer's own export of every request, over all of its windows. Whether
a load is stable is for the caller to say, from repeated calls: asked to, perf_analyzer would give up on texts of unequal
length. Its `--request-count` is not used: under load it waits for ever for the last of its threads now and then (2.51).
"""

from __future__ import annotations

import csv
import json
import math
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.connection import PROTOCOLS
from setup import tools
from train.errors import ToolError

_TIME_LIMIT = 180  # seconds for one call
_MOST_WINDOWS = 10  # a window without a single answer, on a busy machine, is followed by others
_MOST_CALLS = 6  # of a load whose export is cut short
_TELLING = 4  # lines of its output
_EXPORT, _SUMMARY = "requests.json", "summary.csv"
_CUT_SHORT = "perf_analyzer ended well, but its export of the requests is cut short"


@dataclass(frozen=True)
class Load:
    """A closed loop: `concurrency` clients, each sending its next text when it has the answer to the last.

    Or, with a `rate`, an open one: texts arrive at random, whether or not those before are answered, as they do from a crowd.
    """

    model: str
    protocol: str  # http, grpc
    address: str
    concurrency: int
    window_ms: int  # of each of the windows it measures: three, or more when one had no answer
    rate: float = 0.0  # texts/s on average, their distances exponential (a Poisson process); 0: the closed loop
    shared_memory: str = "none"  # system, cuda: where inputs and outputs lie; Triton's API for it has to be open
    seed: int = 0  # of the distances at random: perf_analyzer's own are the same in every call


@dataclass(frozen=True)
class Result:
    command: str
    latencies: NDArray[np.float64]  # ms, of the answered requests
    throughput: float  # answered requests per second
    errors: int  # requests sent that got no answer
    failure: str  # "" when perf_analyzer ended well, else its exit status and message
    exit_status: int | None = 0  # None: it did not end, and was ended
    sent: float = 0.0  # requests per second, from the first that was sent to the last
    client_ms: float = 0.0  # of a request, on average: what perf_analyzer itself took to send it and to read its answer

    @property
    def rejected(self) -> int:
        """Requests refused for a full queue that are known of: perf_analyzer ends at the first. Triton's own count misses them."""
        return int("maximum queue size" in self.failure)


def closed_loops(model: str, address: Callable[[str], str], concurrency: Sequence[int], window_ms: int) -> list[Load]:
    """Every protocol with every number of clients. `address` of a protocol is where the server listens."""
    return [Load(model, one, address(one), clients, window_ms) for one in PROTOCOLS for clients in concurrency]


def write_texts(texts: list[Any], task: str, path: Path) -> None:
    """perf_analyzer's input file of golden texts; it sends them in turn, each as it is."""
    path.write_text(json.dumps({"data": [_inputs(text, task) for text in texts]}), "utf-8")


def write_ids(rows: Sequence[NDArray[np.int32]], types: Sequence[NDArray[np.int32]] | None, path: Path) -> None:
    """The input file for a model of ids; rows, and where the model takes them their types, int32 [tokens]."""
    given = {"input_word_ids": rows} | ({"input_type_ids": types} if types else {})
    tensors = {name: [{"content": one.tolist(), "shape": [len(one)]} for one in values] for name, values in given.items()}
    data = [dict(zip(tensors, row, strict=True)) for row in zip(*tensors.values(), strict=True)]
    path.write_text(json.dumps({"data": data}), "utf-8")


def _inputs(text: Any, task: str) -> dict[str, Any]:
    """text_classifier's inputs for one golden text."""
    if task == "tagging":
        return {"words": {"content": text, "shape": [len(text)]}}
    return {"text": [text[0]], "text_b": [text[1]]} if task == "text_pair" else {"text": [text]}


def command(load: Load, inputs: Path, scratch: Path) -> list[str]:
    """The call; when texts arrive at random is written into `scratch`, where its export will be."""
    return [
        str(tools.PERF_ANALYZER),
        *("-m", load.model),
        *("-i", load.protocol),
        *("-u", load.address),
        *("--input-data", str(inputs)),
        *_arrivals(load, scratch / "arrivals.txt"),
        *(("--shared-memory", load.shared_memory) if load.shared_memory != "none" else ()),
        *("--measurement-interval", str(load.window_ms)),
        *("--stability-percentage", "999"),
        *("--max-trials", str(_MOST_WINDOWS)),
        *("-f", str(scratch / _SUMMARY)),
        *("--profile-export-file", str(scratch / _EXPORT)),
    ]


def _arrivals(load: Load, file: Path) -> list[str]:
    if not load.rate:
        return ["--concurrency-range", str(load.concurrency)]
    requests = math.ceil(load.rate * _MOST_WINDOWS * load.window_ms / 1000)
    microseconds = np.random.default_rng(load.seed).exponential(1e6 / load.rate, max(requests, 100))
    file.write_text("".join(f"{one:.0f}\n" for one in microseconds), "utf-8")
    # Asynchronous: a waiting answer holds up no thread that the next request needs.
    return ["--request-intervals", str(file), "--async"]


def run(load: Load, inputs: Path) -> Result:
    """Send the load. A failed run is a Result with its failure; ToolError when perf_analyzer is not there.

    With shared memory its export shows memory that holds no outputs any more, and ends where that reads as a float that is no
    number: empty in 3 of 40 calls, or after a multiple of 65,536 bytes, whatever was measured. Such a call is made again.
    """
    for _ in range(_MOST_CALLS):
        result = _run(load, inputs)
        if result.failure != _CUT_SHORT:
            break
    return result


def _run(load: Load, inputs: Path) -> Result:
    if not tools.PERF_ANALYZER_LIBRARIES.is_dir() or not tools.PERF_ANALYZER.exists():
        raise ToolError(
            "perf_analyzer is not there",
            expected="the program out of the tritonclient wheel and its two libraries",
            found="no such file",
            where=f"{tools.PERF_ANALYZER}, {tools.PERF_ANALYZER_LIBRARIES}",
            fix="make setup",
        )
    with tempfile.TemporaryDirectory() as scratch:
        arguments, export = command(load, inputs, Path(scratch)), Path(scratch) / _EXPORT
        environment = tools.environment(tools.PERF_ANALYZER_LIBRARIES)
        try:
            done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=_TIME_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return _failed(arguments, f"no end within {_TIME_LIMIT} s", None)
        if done.returncode != 0 or not export.exists():
            return _failed(arguments, f"exit status {done.returncode}: {_said(done.stderr + done.stdout)}", done.returncode)
        exported = _exported(export)
        if exported is None:
            return _failed(arguments, _CUT_SHORT, 0)
        return replace(_read(arguments, exported), client_ms=_client_ms(export.with_name(_SUMMARY)))


def _exported(file: Path) -> Any:
    """What it wrote of its requests; None where that is cut short. Of the outputs, which may be any bytes, nothing is used."""
    with suppress(json.JSONDecodeError):
        return json.loads(file.read_text("utf-8", errors="replace"))
    return None


def _client_ms(summary: Path) -> float:
    """0 where it does not tell: what the client took is then part of the network's."""
    with suppress(OSError, KeyError, TypeError, ValueError), summary.open(encoding="utf-8", newline="") as file:
        [found] = csv.DictReader(file)
        return (float(found["Client Send"]) + float(found["Client Recv"])) / 1000
    return 0.0


def _said(output: str) -> str:
    """What of its output says why: that its threads failed comes first, why they did only after that."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " ".join(dict.fromkeys(lines[:_TELLING])) or "no message"


def _failed(arguments: list[str], why: str, exit_status: int | None) -> Result:
    failed = Result(_shown(arguments), np.zeros(0), 0.0, 0, why, exit_status)
    return replace(failed, errors=failed.rejected)


def _read(arguments: list[str], exported: dict[str, Any]) -> Result:
    requests = [one for experiment in exported["experiments"] for one in experiment["requests"]]
    answered = [one for one in requests if one["response_timestamps"]]
    if not answered:
        return replace(_failed(arguments, "not one request was answered", 0), errors=len(requests))
    starts = np.array([one["timestamp"] for one in answered], np.int64)  # ns
    ends = np.array([one["response_timestamps"][-1] for one in answered], np.int64)
    throughput = len(answered) / ((ends.max() - starts.min()) / 1e9)
    sending = np.ptp(np.array([one["timestamp"] for one in requests], np.int64)) / 1e9  # s
    sent = float((len(requests) - 1) / sending) if sending else 0.0
    return Result(_shown(arguments), (ends - starts) / 1e6, throughput, len(requests) - len(answered), "", sent=sent)


def _shown(arguments: list[str]) -> str:
    return shlex.join(["perf_analyzer", *arguments[1:-4]])  # where it writes is of no use
