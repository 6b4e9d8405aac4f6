"""Where the embedded Triton listens: three ports of this machine, reachable from nowhere else."""

from __future__ import annotations

import contextlib
import secrets
import socket
from dataclasses import dataclass

from train.errors import ServerError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


def free_ports() -> Ports:
    """Find three free ports in a row, below those that Linux gives to connections."""
    while True:
        first = 10_000 + secrets.randbelow(20_000)
        ports = Ports(first, first + 1, first + 2)
        with contextlib.suppress(ServerError):
            check_ports(ports)
            return ports


def check_ports(ports: Ports) -> None:
    """Raise a ServerError that names the first port that is taken."""
    for name, port in vars(ports).items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise ServerError(
                    f"the {name} port is taken",
                    expected=f"{HOST}:{port} free",
                    found=error.strerror or str(error),
                    where=f"{HOST}:{port}",
                    fix=f"stop what listens there (ss -ltnp 'sport = :{port}'), or choose another with --port",
                ) from error
