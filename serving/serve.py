"""Run the embedded Triton on a run's repository until Ctrl-C or SIGTERM. For one machine and development: loopback only.

python -m serving.serve --run runs/demo
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from serving import triton
from serving.triton import Ports
from train import errors
from train.errors import ServerError

_LAST_PORT = 65535


def main() -> int:
    arguments = _parse()
    repository = arguments.run / "model_repository"
    ports = Ports(arguments.port, arguments.port + 1, arguments.port + 2)
    server = triton.start(repository, ports, arguments.run / "triton.log")
    print(f"Triton is ready ({server.ready_seconds:.1f} s) on {repository}")
    print(f"  HTTP     http://{server.http}    gRPC  {server.grpc}    metrics  http://{triton.HOST}:{ports.metrics}/metrics")
    print(f'  ask it   make ask TEXT="Oil prices fall as OPEC raises output"{_port_hint(arguments.port)}')
    print("  stop it  Ctrl-C     (for development: it listens on loopback only)", flush=True)
    try:
        status = server.process.wait()
    except KeyboardInterrupt:
        print("\nstopping: waiting for requests in flight", flush=True)
        drained = triton.stop(server)
        print("stopped" if drained else "stopped; some requests in flight were cut off")
        return 0 if drained else 1
    triton.stop(server)
    raise ServerError(
        "Triton ended by itself",
        expected="a server that runs until it is stopped",
        found=f"exit status {status}",
        where=str(server.log),
        mend=f"make serve RUN={arguments.run}",
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    parser.add_argument("--port", type=int, default=Ports.http, help="HTTP; gRPC and metrics are the next two")
    arguments = parser.parse_args()
    if not 0 < arguments.port <= _LAST_PORT - 2:
        parser.error(f"--port: expected 1 to {_LAST_PORT - 2}, found {arguments.port}")
    return arguments


def _port_hint(port: int) -> str:
    return "" if port == Ports.http else f" PORT={port}"


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    errors.run(main)
