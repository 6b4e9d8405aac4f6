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

from serving import control, live_server, loopback, publication, supervisor, triton
from serving.loopback import Ports
from serving.publication import Registry
from serving.triton import Server
from train import errors

_LAST_PORT = 65535
_DEVELOPMENT = (
    "for one machine and development: this Triton is of October 2024, and one request can end it.\n"
    "           Production wants Triton 26.06 or newer behind a proxy (docs/architecture.md)"
)


def main() -> int:
    arguments = _parse()
    registry = Registry(arguments.published) if arguments.published else None
    state = registry.state if registry else arguments.run
    repository, log = registry.repository if registry else arguments.run / "model_repository", state / "triton.log"
    ports = Ports(arguments.port, arguments.port + 1, arguments.port + 2)
    key = control.new_key()

    def start() -> Server:
        if registry:
            live_server.clear_candidates(registry)
        server = triton.start(repository, ports, log, key, registry.candidates if registry else None)
        _greet(server, repository)
        return server

    if registry:
        publication.read_published(registry)
    loopback.check_ports(ports)
    where = {"http": f"{loopback.HOST}:{ports.http}", "grpc": f"{loopback.HOST}:{ports.grpc}"}
    with control.record(state, {**where, "header": control.HEADER, "key": key}):
        log.unlink(missing_ok=True)
        drained = supervisor.keep(start, lambda message: print(message, flush=True))
    print("stopped" if drained else "stopped; some requests in flight were cut off")
    return 0 if drained else 1


def _greet(server: Server, repository: Path) -> None:
    port = [] if server.ports.http == Ports.http else ["--port", server.ports.http]
    metrics = f"http://{loopback.HOST}:{server.ports.metrics}/metrics"
    print(f"Triton is ready ({server.ready_seconds:.1f} s) on {repository}")
    print(f"  HTTP     http://{server.http}    gRPC  {server.grpc}    metrics  {metrics}")
    print(f"  log      {server.log}")
    print(f"  ask it   {errors.command('ask', 'Oil prices fall as OPEC raises output', *port)}")
    print(f"  only     {_DEVELOPMENT}")
    print("  stop it  Ctrl-C", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, help="the run's directory, for example runs/demo")
    what.add_argument(
        "--published", type=Path, metavar="REPOSITORY", help="instead: where versions were published, as model_repository"
    )
    parser.add_argument("--port", type=int, default=Ports.http, help="HTTP; gRPC and metrics are the next two")
    arguments = parser.parse_args()
    if not 0 < arguments.port <= _LAST_PORT - 2:
        parser.error(f"--port: expected 1 to {_LAST_PORT - 2}, found {arguments.port}")
    return arguments


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    errors.run(main)
