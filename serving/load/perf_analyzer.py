"""Drive the real perf_analyzer: its input files, and one load a call with each request's latency.

Figures are computed from its export of every request. It is not asked whether a load is stable: it
would give up on texts of unequal length. Its `--request-count` now and then waits for ever (2.51).
"""

from __future__ import annotations

import csv
import json
import math
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway import provenance, tools
from slipway.client.transport import PROTOCOLS, Options
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.records import NO_ROOM
from slipway.contract.tokenizer import Tokenizer
from slipway.errors import ToolError

_TIME_LIMIT = 180  # seconds for one call
_MOST_WINDOWS = 10  # on a busy machine a window without a single answer is followed by others
_MOST_CALLS = 6  # of a load whose export is cut short
_MESSAGE_LINES = 4  # of its output: its threads failed, and only then why
_EXPORT, _SUMMARY = "requests.json", "summary.csv"
_CUT_SHORT = "perf_analyzer ended well, but its export of the requests is cut short"
_FEWEST_TEXTS, _ENOUGH_TEXTS = 16, 128  # of one length: fewer are not used, more are not made
_TLS = {  # its options for the authorities, the client's certificate and the key of that
    "http": ("--ssl-https-ca-certificates-file", "--ssl-https-client-certificate-file", "--ssl-https-private-key-file"),
    "grpc": ("--ssl-grpc-root-certifications-file", "--ssl-grpc-certificate-chain-file", "--ssl-grpc-private-key-file"),
}
_PLAIN = Options()
# (text or ids, "own" or tokens of every text) → perf_analyzer's input file of each round
InputFiles = dict[tuple[str, str | int], list[Path]]


@dataclass(frozen=True)
class Load:
    """A closed loop: `concurrency` clients, each sending its next text when it has the last answer.

    With a `rate` it is an open loop: texts arrive at random, as from a crowd, whether or not those
    before are answered.
    """

    model: str
    protocol: str  # http, grpc
    address: str
    concurrency: int
    window_ms: int  # of each window that it measures: three, or more when one had no answer
    rate: float = 0.0  # texts/s on average, a Poisson process; 0: the closed loop
    shared_memory: str = "none"  # system, cuda: where tensors lie; Triton's API for it has to be open
    seed: int = 0  # of the arrivals: perf_analyzer's own are the same in every call
    connection: Options = field(default=_PLAIN, hash=False)  # its headers and TLS; perf_analyzer knows no deadline and no retries


@dataclass(frozen=True)
class LoadResult:
    """The measurements of one call of perf_analyzer."""

    command: str
    latencies: NDArray[np.float64]  # ms, of the answered requests
    throughput: float  # answered requests per second
    errors: int  # requests sent that got no answer
    failure: str  # its exit status and message; "": it ended well
    exit_status: int | None = 0  # None: it did not end, and was ended
    sent: float = 0.0  # requests per second, from the first that was sent to the last
    client_ms: float = 0.0  # mean time that perf_analyzer took to send a request and read its answer

    @property
    def rejected(self) -> int:
        """Requests known to be refused for want of room: perf_analyzer ends at the first.

        Triton's own count misses them.
        """
        return int(any(words in self.failure for words in ("maximum queue size", NO_ROOM)))


def closed_loops(model: str, address: Callable[[str], str], concurrency: Sequence[int], window_ms: int) -> list[Load]:
    """Return a load for every protocol and number of clients. `address`: protocol → host:port."""
    return [Load(model, protocol, address(protocol), clients, window_ms) for protocol in PROTOCOLS for clients in concurrency]


def command(load: Load, inputs: Path, scratch: Path) -> list[str]:
    """Return the call, which exports into `scratch`; write an open loop's arrivals there."""
    return [
        str(tools.PERF_ANALYZER),
        *("-m", load.model),
        *("-i", load.protocol),
        *_connecting(load),
        *("--input-data", str(inputs)),
        *_arrivals(load, scratch / "arrivals.txt"),
        *(("--shared-memory", load.shared_memory) if load.shared_memory != "none" else ()),
        *("--measurement-interval", str(load.window_ms)),
        *("--stability-percentage", "999"),
        *("--max-trials", str(_MOST_WINDOWS)),
        *("-f", str(scratch / _SUMMARY)),
        *("--profile-export-file", str(scratch / _EXPORT)),
    ]


def _connecting(load: Load) -> list[str]:
    """Return the options for address, headers and TLS. Its help says otherwise, but -H goes with
    gRPC's requests too.
    """
    headers = [word for name, value in load.connection.headers.items() for word in ("-H", f"{name}:{value}")]
    tls = load.connection.tls
    if tls is None:
        return ["-u", load.address, *headers]
    authorities = tls.authorities or ssl.get_default_verify_paths().cafile  # None: those it finds itself
    own = (tls.certificate, tls.key or tls.certificate) if tls.certificate else (None, None)
    files = [
        word for name, file in zip(_TLS[load.protocol], (authorities, *own), strict=True) if file for word in (name, str(file))
    ]
    secure = ["-u", f"https://{load.address}"] if load.protocol == "http" else ["-u", load.address, "--ssl-grpc-use-ssl", "true"]
    return [*secure, *files, *headers]


def _arrivals(load: Load, file: Path) -> list[str]:
    if not load.rate:
        return ["--concurrency-range", str(load.concurrency)]
    requests = math.ceil(load.rate * _MOST_WINDOWS * load.window_ms / 1000)
    gaps = np.random.default_rng(load.seed).exponential(1e6 / load.rate, max(requests, 100))  # µs
    file.write_text("".join(f"{gap:.0f}\n" for gap in gaps), "utf-8")
    # Asynchronous: a waiting answer holds up no thread that the next request needs.
    return ["--request-intervals", str(file), "--async"]


def run(load: Load, inputs: Path) -> LoadResult:
    """Send the load. A failed call returns its `failure`; ToolError: perf_analyzer is not there.

    With shared memory the export shows memory that holds no outputs any more, and ends where that
    reads as NaN: empty in 3 of 40 calls, or after a multiple of 65,536 bytes, whatever was
    measured. Such a call is made again.
    """
    for _ in range(_MOST_CALLS):
        result = _run(load, inputs)
        if result.failure != _CUT_SHORT:
            break
    return result


def _run(load: Load, inputs: Path) -> LoadResult:
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
        # Our clients take no proxy from the environment; it would, even on the way to loopback.
        inherited = tools.environment(tools.PERF_ANALYZER_LIBRARIES)
        environment = {name: value for name, value in inherited.items() if not name.lower().endswith("_proxy")}
        try:
            done = subprocess.run(
                arguments, capture_output=True, text=True, env=environment, umask=tools.UMASK, timeout=_TIME_LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            return _failed(arguments, f"no end within {_TIME_LIMIT} s", None)
        if done.returncode != 0 or not export.exists():
            message = _message(done.stderr + done.stdout)
            return _failed(arguments, f"exit status {done.returncode}: {message}", done.returncode)
        exported = _exported(export)
        if exported is None:
            return _failed(arguments, _CUT_SHORT, 0)
        return replace(_read(arguments, exported), client_ms=_client_ms(export.with_name(_SUMMARY)))


def _exported(file: Path) -> Any:
    """Return the export, whatever bytes its outputs are; None where it is cut short."""
    with suppress(json.JSONDecodeError):
        return json.loads(file.read_text("utf-8", errors="replace"))
    return None


def _client_ms(summary: Path) -> float:
    """Return `LoadResult.client_ms`; 0, and so part of the network's, where it is not told."""
    with suppress(OSError, KeyError, TypeError, ValueError), summary.open(encoding="utf-8", newline="") as file:
        [figures] = csv.DictReader(file)
        return (float(figures["Client Send"]) + float(figures["Client Recv"])) / 1000
    return 0.0


def _message(output: str) -> str:
    if NO_ROOM in output:  # as each of its threads says
        return NO_ROOM
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " ".join(dict.fromkeys(lines[:_MESSAGE_LINES])) or "no message"


def _failed(arguments: list[str], why: str, exit_status: int | None) -> LoadResult:
    failed = LoadResult(_shown(arguments), np.zeros(0), 0.0, 0, why, exit_status)
    return replace(failed, errors=failed.rejected)


def _read(arguments: list[str], exported: dict[str, Any]) -> LoadResult:
    requests = [request for experiment in exported["experiments"] for request in experiment["requests"]]
    answered = [request for request in requests if request["response_timestamps"]]
    if not answered:
        return replace(_failed(arguments, "not one request was answered", 0), errors=len(requests))
    starts = np.array([request["timestamp"] for request in answered], np.int64)  # ns
    ends = np.array([request["response_timestamps"][-1] for request in answered], np.int64)
    throughput = len(answered) / ((ends.max() - starts.min()) / 1e9)
    sending = np.ptp(np.array([request["timestamp"] for request in requests], np.int64)) / 1e9  # s
    sent = float((len(requests) - 1) / sending) if sending else 0.0
    latencies = ((ends - starts) / 1e6).round(3)
    return LoadResult(_shown(arguments), latencies, throughput, len(requests) - len(answered), "", sent=sent)


def _shown(arguments: list[str]) -> str:
    return provenance.shown(["perf_analyzer", *arguments[1:-4]])  # without the files that it writes


def write_inputs(directory: Path, source: Bundle, golden: Golden, count: int, lengths: set[int], rounds: int = 1) -> InputFiles:
    """Write the input files of `count` golden texts; each round begins with other ones."""
    golden = golden.take(np.arange(min(count, len(golden.texts))))
    texts: dict[str | int, list[Any]] = {"own": golden.texts}
    for tokens in sorted(lengths) if source.task == "single_text" else ():
        texts[tokens] = texts_of_length(golden.texts, source, tokens)
    files: InputFiles = {}
    for length, rows in texts.items():
        if length == "own" or len(rows) >= _FEWEST_TEXTS:
            files["text", length] = [directory / f"texts-{length}-{number}.json" for number in range(rounds)]
            for number, file in enumerate(files["text", length]):
                first = len(rows) * number // rounds
                write_texts([*rows[first:], *rows[:first]], source.task, file)
    files["ids", "own"] = [directory / f"ids-{number}.json" for number in range(rounds)]
    for number, file in enumerate(files["ids", "own"]):
        ids = golden.ids.take(np.roll(np.arange(len(golden.texts)), -(len(golden.texts) * number // rounds)))
        types = [ids.types[start:end] for start, end in pairwise(ids.offsets)] if source.task == "text_pair" else None
        write_ids([ids[row] for row in range(len(ids))], types, file)
    return files


def lengths_left_out(lengths: Iterable[int], written: Container[str | int], source: Bundle) -> dict[str, str]:
    """Return why there are no texts of some `lengths`: texts of so many tokens → why."""
    most = source.max_seq_len
    why = "too few golden words" if source.task == "single_text" else "only single texts are cut to a length"
    return {
        f"texts of {tokens} tokens": f"the model takes {most} at most" if tokens > most else why
        for tokens in lengths
        if tokens not in written
    }


def texts_of_length(texts: list[str], source: Bundle, tokens: int) -> list[str]:
    """Return texts of exactly so many tokens, with [CLS] and [SEP], of the words of `texts`."""
    tokenizer = Tokenizer.of(source.vocabulary, source.facts)
    words = [word for text in texts for word in text.split()][: _ENOUGH_TEXTS * tokens]
    cut, taken, left = [], [], tokens - 2
    for word, tokenized in zip(words, tokenizer(words), strict=True):
        pieces = len(tokenized.ids) - 2
        if 0 < pieces <= left:
            taken.append(word)
            left -= pieces
        if not left:
            cut.append(" ".join(taken))
            taken, left = [], tokens - 2
    pairs = zip(cut, tokenizer(cut), strict=True)
    return [text for text, tokenized in pairs if len(tokenized.ids) == tokens and not tokenized.truncated]


def write_texts(texts: list[Any], task: str, path: Path) -> None:
    """Write perf_analyzer's input file of golden texts. It sends them in turn, each as it is."""
    path.write_text(json.dumps({"data": [_text_inputs(text, task) for text in texts]}), "utf-8")


def _text_inputs(text: Any, task: str) -> dict[str, Any]:
    """Return text_classifier's inputs for one golden text."""
    if task == "tagging":
        return {"words": {"content": text, "shape": [len(text)]}}
    return {"text": [text[0]], "text_b": [text[1]]} if task == "text_pair" else {"text": [text]}


def write_ids(rows: Sequence[NDArray[np.int32]], types: Sequence[NDArray[np.int32]] | None, path: Path) -> None:
    """Write an ids model's input file: rows int32 [tokens], and types where it takes them."""
    inputs = {"input_word_ids": rows} | ({"input_type_ids": types} if types else {})
    tensors = {name: [{"content": row.tolist(), "shape": [len(row)]} for row in tensor] for name, tensor in inputs.items()}
    requests = [dict(zip(tensors, request, strict=True)) for request in zip(*tensors.values(), strict=True)]
    path.write_text(json.dumps({"data": requests}), "utf-8")
