"""Run the embedded Triton on a run's repository until Ctrl-C, and restart what is killed.

For one machine and development: it listens on loopback only. Model control, shared memory, trace
and log APIs are closed without the key that lies in RUN/serving.json while this runs. The log is
RUN/triton.log, JSON Lines.

    slipway serve runs/demo
    slipway serve --published model_repository    # where promote and rollback switch versions
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from serving.registry import registry as publication
from serving.registry import rollout
from serving.registry.registry import Registry
from serving.server import control, supervisor, triton
from serving.server.triton import Ports, Server
from slipway import errors

_DEVELOPMENT = (
    "for one machine and development: this Triton is of October 2024, and one request can end it.\n"
    "           Production wants Triton 26.06 or newer behind a proxy (docs/architecture.md)"
)


def serve(arguments: argparse.Namespace) -> int:
    if (arguments.run is None) == (arguments.published is None):
        raise errors.UsageError(
            "there is nothing to serve" if arguments.run is None else "there are two things to serve",
            expected="RUN, or --published",
            found="neither" if arguments.run is None else "both",
            where="the command line",
            fix=f"{errors.command('serve', arguments.run or 'RUN')}, or {errors.command('serve', '--published')}",
        )
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    registry = Registry(arguments.published) if arguments.published else None
    state = registry.state if registry else arguments.run
    repository, log = registry.repository if registry else arguments.run / "model_repository", state / "triton.log"
    ports = Ports(arguments.port, arguments.port + 1, arguments.port + 2)
    key = control.new_key()

    def start() -> Server:
        if registry:
            rollout.clear_candidates(registry)
        server = triton.start(repository, ports, log, key, registry.candidates if registry else None)
        _greet(server, repository)
        return server

    if registry:
        publication.read_published(registry)
    triton.check_ports(ports)
    where = {"http": f"{triton.HOST}:{ports.http}", "grpc": f"{triton.HOST}:{ports.grpc}"}
    with control.record(state, {**where, "header": control.HEADER, "key": key}):
        log.unlink(missing_ok=True)
        drained = supervisor.keep(start, lambda message: print(message, flush=True))
    print("stopped" if drained else "stopped; some requests in flight were cut off")
    return 0 if drained else 1


def _greet(server: Server, repository: Path) -> None:
    port = [] if server.ports.http == Ports.http else ["--port", server.ports.http]
    metrics = f"http://{triton.HOST}:{server.ports.metrics}/metrics"
    print(f"Triton is ready ({server.ready_seconds:.1f} s) on {repository}")
    print(f"  HTTP     http://{server.http}    gRPC  {server.grpc}    metrics  {metrics}")
    print(f"  log      {server.log}")
    print(f"  ask it   {errors.command('ask', 'Oil prices fall as OPEC raises output', *port)}")
    print(f"  only     {_DEVELOPMENT}")
    print("  stop it  Ctrl-C", flush=True)
