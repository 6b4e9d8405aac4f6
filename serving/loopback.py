"""Where the embedded Triton listens: three ports of this machine, seen by nobody else."""

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
    """Three in a row that nobody has now, below those that Linux gives to connections: one could have them before Triton does."""
    while True:
        first = 10_000 + secrets.randbelow(20_000)
        ports = Ports(first, first + 1, first + 2)
        with contextlib.suppress(ServerError):
            check_ports(ports)
            return ports


def check_ports(ports: Ports) -> None:
    """Raises ServerError that names the first one taken."""
    for what, port in vars(ports).items():
        _check_port(what, port)


def _check_port(what: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServerError(
                f"the {what} port is taken",
                expected=f"{HOST}:{port} free",
                found=error.strerror or str(error),
                where=f"{HOST}:{port}",
                fix=f"stop what listens there (ss -ltnp 'sport = :{port}'), or choose other ports: make serve PORT=9000",
            ) from error
