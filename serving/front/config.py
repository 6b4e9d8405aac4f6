"""The front's limits, out of a run's tuning.json or this machine's cores, and HAProxy's
configuration of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.repository import embedded
from slipway import tools
from slipway.contract.records import HOST, MAX_BATCH, NO_ROOM, TEXT_MODEL, TUNING, Ports

FRONT_METRICS = "/front"  # on the port of the metrics, beside Triton's /metrics
_FEWEST_A_CORE = 4  # a sweep that ended at its first loads has measured next to nothing
_STREAMS_A_CORE = 16  # 32 on two cores kept 84 to 92 % of the capacity under overload (docs/log/serving.md)
_ENOUGH = 0.97  # of the most texts/s that were measured: fewer clients who wait are worth the rest
_QUEUE_SECONDS = 0.02  # then a request is refused: an answer could come in time, but a refusal has to
_BUFFER = 128 << 10  # bytes of a request that are read before Triton hears of it
_LARGEST = 2 * MAX_BATCH << 20  # bytes of a body: a full batch of the longest texts, with JSON's escapes
_LONGEST_HEAD = 8000  # bytes of all headers, or of a path: Triton closes the connection at 8192 of one
_CONNECTIONS = 4000  # each takes two open files at most
_RESERVED_FILES = 100
_WHY = {  # of each status that HAProxy answers itself
    400: "this is no valid request",
    403: "this is not allowed here",
    408: "the request did not arrive in time",
    413: f"the request is larger than {_LARGEST >> 20} MiB: ask for fewer texts at a time",
    500: "the front failed",
    502: "the connection to the server was lost; the request may have ended it",
    503: NO_ROOM,
    504: "no answer from the server in time",
}
_GRPC_CODES = {  # INVALID_ARGUMENT, PERMISSION_DENIED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE
    **{400: 3, 403: 7, 408: 4, 413: 8},
    **{500: 14, 502: 14, 503: 14, 504: 14},
}


@dataclass(frozen=True)
class Limits:
    """What the front lets through, for each of the protocols."""

    streams: int  # inferences that Triton has at a time
    queue: int  # inferences that wait in the front
    queue_seconds: float = _QUEUE_SECONDS  # the longest wait there
    body_seconds: float = 5.0  # for a client to send a request it began
    idle_seconds: float = 60.0  # for a connection on which nothing happens


def limits(run: Path | None = None, built: Mapping[str, Any] | None = None) -> Limits:
    """Return the limits for a run whose repository has the manifest `built`: the fewest clients who
    got nearly the most texts/s in tuning.json, or where that has no such configuration, a number
    for each core.
    """
    cores = embedded.cores()
    tuned = _tuned(run, built) if run and built else 0
    streams = max(tuned, _FEWEST_A_CORE * cores) if tuned else _STREAMS_A_CORE * cores
    return Limits(streams, math.ceil(streams / 4))


def _tuned(run: Path, built: Mapping[str, Any]) -> int:
    """Return the clients of that load; 0 where nothing like this was measured."""
    try:
        record = json.loads((run / TUNING).read_text("utf-8"))
        engine = {"engine": built[TEXT_MODEL]} | {name: built["built_with"][name] for name in ("instances", "threads")}
        levels = [level for way in record["candidates"] if engine.items() <= way.items() for level in way.get("levels", [])]
        most = max((float(level["texts_per_second"]) for level in levels), default=0.0)
        enough = [int(level["clients"]) for level in levels if level["texts_per_second"] >= _ENOUGH * most > 0]
        return min(enough, default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # damaged, or of another version: it is a hint
        return 0


def render(ports: Ports, triton: Ports, limits: Limits) -> str:
    """Return HAProxy's configuration: it listens on `ports`, Triton on the ports `triton`."""
    # Triton takes HTTP's trailers for the next request on a connection: it is one client's alone.
    sections = [_process(), _defaults(limits, _json_errors(), "never"), _http(ports, triton, limits), _metrics(ports, triton)]
    sections += [_defaults(limits, _grpc_errors(), "always"), _grpc(ports, triton, limits)]
    return "\n".join(line for section in sections for line in section) + "\n"


def _process() -> list[str]:
    connections = max(10, min(_CONNECTIONS, (tools.most_open_files() - _RESERVED_FILES) // 2))
    return [
        "global",
        f"    maxconn {connections}",
        "    nbthread 1",  # a core of it refuses some 25,000 requests a second; the others are the engines'
        "    noreuseport",
        "    hard-stop-after 3s",
        f"    tune.bufsize {_BUFFER}",
        f"    tune.memory.hot-size {64 * _BUFFER}",  # or the kernel gives and takes most of them, each time
        # Of one connection. With fewer, gRPC clients keep a queue of their own that nobody bounds.
        "    tune.h2.fe.max-concurrent-streams 2000",
        # One request at a time on a connection: clients who give up end the others' on theirs.
        "    tune.h2.be.max-concurrent-streams 1",
    ]


def _defaults(limits: Limits, errors: Iterator[str], reuse: str) -> list[str]:
    return [
        "defaults",
        "    mode http",
        "    option dontlognull",
        "    option abortonclose",  # what a client has given up does not go to Triton
        "    option clitcpka",
        f"    http-reuse {reuse}",
        "    retries 3",  # of connections alone, a second apart: Triton is back by then, and nothing is asked twice
        "    timeout connect 2s",
        f"    timeout client {_ms(limits.idle_seconds)}",
        f"    timeout http-keep-alive {_ms(limits.idle_seconds)}",
        f"    timeout http-request {_ms(limits.body_seconds)}",
        "    timeout server 10m",  # whoever waits for less gives up by itself
        f"    timeout queue {_ms(limits.queue_seconds)}",
        *errors,
    ]


def _json_errors() -> Iterator[str]:
    for status, why in _WHY.items():
        again = " hdr Retry-After 1" if status == 503 else ""
        yield f"    http-error status {status} content-type application/json string '{json.dumps({'error': why})}'{again}"


def _grpc_errors() -> Iterator[str]:
    """A gRPC client reads code and sentence from headers; a page would be taken for a message."""
    for status, why in _WHY.items():
        yield f"    http-error status {status} hdr grpc-status {_GRPC_CODES[status]} hdr grpc-message '{why}'"


def _http(ports: Ports, triton: Ports, limits: Limits) -> list[str]:
    return [
        "frontend http",
        f"    bind {HOST}:{ports.http}",
        "    acl inference path_end /infer /generate /generate_stream",
        f"    http-request deny deny_status 413 if {{ req.hdr_val(content-length) gt {_LARGEST} }}",
        f"    http-request return status 431 content-type application/json string '{_too_long_a_head()}'"
        f" if {{ req.hdrs,length gt {_LONGEST_HEAD} }} or {{ url,length gt {_LONGEST_HEAD} }}",
        # A slow client holds none of Triton's places, and chunks of a byte end here.
        f"    http-request wait-for-body time {_ms(limits.body_seconds)} if METH_POST",
        f"    http-request return status 411 content-type application/json string '{_too_many_chunks()}'"
        f" if {{ req.hdr(transfer-encoding) -m found }} {{ req.body_size ge {_BUFFER // 2} }}",
        "    use_backend http_inferences if inference",
        "    default_backend http_others",
        *_bounded("http_inferences", f"{HOST}:{triton.http}", limits),
        *_others("http_others", f"{HOST}:{triton.http}"),
    ]


def _grpc(ports: Ports, triton: Ports, limits: Limits) -> list[str]:
    return [
        "frontend grpc",
        f"    bind {HOST}:{ports.grpc} proto h2",
        "    timeout client 10m",  # of a stream on which nothing happens; idle connections have the other one
        "    acl inference path_end /ModelInfer",
        f"    http-request wait-for-body time {_ms(limits.body_seconds)} if inference",
        # Where Triton hears of deadlines, calls past theirs and calls beside them end as "refused"
        # or "lost" (docs/log/serving.md). Who gives up resets the stream itself.
        "    http-request del-header grpc-timeout if inference",
        # What HAProxy answers itself is said in gRPC's way: 200, and the code of `_grpc_errors`.
        "    http-after-response set-header content-type application/grpc if { status 400:599 }",
        "    http-after-response set-status 200 if { status 400:599 }",
        "    use_backend grpc_inferences if inference",
        "    default_backend grpc_others",
        *_bounded("grpc_inferences", f"{HOST}:{triton.grpc} proto h2", limits),
        *_others("grpc_others", f"{HOST}:{triton.grpc} proto h2"),
    ]


def _bounded(name: str, address: str, limits: Limits) -> list[str]:
    return [
        f"backend {name}",
        f"    http-request deny deny_status 503 if {{ queue({name}) ge {limits.queue} }}",
        f"    server triton {address} maxconn {limits.streams}",
    ]


def _others(name: str, address: str) -> list[str]:
    """What is no single inference: health, metadata, the closed APIs, and gRPC's streams."""
    return [f"backend {name}", f"    server triton {address}"]


def _metrics(ports: Ports, triton: Ports) -> list[str]:
    return [
        "frontend metrics",
        f"    bind {HOST}:{ports.metrics}",
        f"    http-request use-service prometheus-exporter if {{ path {FRONT_METRICS} }}",
        "    default_backend metrics",
        *_others("metrics", f"{HOST}:{triton.metrics}"),
    ]


def _too_many_chunks() -> str:
    return json.dumps({"error": f"a body in chunks may have {_BUFFER // 2 >> 10} KiB: name the length of a larger one"})


def _too_long_a_head() -> str:
    return json.dumps({"error": f"all headers together may have {_LONGEST_HEAD} bytes, and a path as many"})


def _ms(seconds: float) -> str:
    return f"{round(1000 * seconds)}ms"
