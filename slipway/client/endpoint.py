"""Where a command asks: its options --address, headers and TLS → addresses and client options; and
what the server there says of itself.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway import errors
from slipway.client import transport
from slipway.client.transport import Connection, Options, Tls
from slipway.contract.records import HOST, TEXT_MODEL, Ports
from slipway.errors import ServerError, StorageError, UsageError

_OF_A_CONNECTION = ("header", "headers", "tls", "authorities", "certificate", "key")


@dataclass(frozen=True)
class Endpoint:
    """A server's address, and how it is asked there."""

    protocol: str  # one of transport.PROTOCOLS
    host: str  # host:port
    options: Options

    @property
    def address(self) -> str:
        """The address as Client takes it."""
        return f"{self.protocol}{'s' if self.options.tls else ''}://{self.host}"


@dataclass(frozen=True)
class Described:
    """What a server says of itself and of its text_classifier; "" and () where it does not say."""

    server: str
    server_version: str
    model_versions: tuple[str, ...]  # that are served
    platform: str
    inputs: tuple[str, ...]


def describe(place: Endpoint) -> Described:
    """Ask a server what it is. Raises ServerError, as a client's call."""
    return asyncio.run(_describe(place))


async def _describe(place: Endpoint) -> Described:
    connection, seconds = Connection(place.address, place.options), place.options.deadline
    end = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(end):
            server, model = await transport.persist(lambda: connection.metadata(TEXT_MODEL), place.options.retries, end)
    except TimeoutError as error:
        raise connection.late(seconds, "metadata") from error
    finally:
        await connection.close()
    return Described(
        server=server.get("name", ""),
        server_version=server.get("version", ""),
        model_versions=tuple(model.get("versions", ())),
        platform=model.get("platform", ""),
        inputs=tuple(tensor["name"] for tensor in model.get("inputs", ())),
    )


def single(arguments: argparse.Namespace) -> Endpoint:
    """Return where `classify` asks: --address, over --protocol. Raises ServerError."""
    given, protocol = arguments.address, arguments.protocol
    if not given:
        protocol = protocol or "http"
        return Endpoint(protocol, f"{HOST}:{getattr(Ports, protocol)}", _options(arguments))
    if "://" not in given:
        given = f"{protocol or 'http'}://{given}"
    [endpoint] = elsewhere([given], arguments)
    if protocol and protocol != endpoint.protocol:
        raise ServerError(
            "address and protocol contradict each other",
            expected=f"an address of {protocol}, or no --protocol",
            found=given,
            where="the options --address and --protocol",
            fix=errors.command("classify", arguments.file, "--address", given),
        )
    return endpoint


def elsewhere(addresses: Sequence[str], arguments: argparse.Namespace) -> list[Endpoint]:
    """Return the addresses as endpoints with the command's options. Raises ServerError."""
    options = _options(arguments)
    return [_endpoint(address, options) for address in addresses]


def refuse_without_address(arguments: argparse.Namespace) -> None:
    """Raise UsageError for options of a connection where the command starts a server of its own."""
    given = [f"--{name}" for name in _OF_A_CONNECTION if getattr(arguments, name)]
    if given and not arguments.address:
        raise UsageError(
            f"{', '.join(given)} and no address: this command then starts a server of its own, which takes none of them",
            expected="--address URL with them, or none of them",
            found="no --address",
            where="the command line",
            fix=f"{errors.command(*sys.argv[1:], '--address')} URL",
        )


def local(ports: Ports, arguments: argparse.Namespace) -> list[Endpoint]:
    """Return where `slipway serve` listens, over each protocol."""
    options = _options(arguments)
    return [Endpoint(protocol, f"{HOST}:{getattr(ports, protocol)}", options) for protocol in transport.PROTOCOLS]


def _endpoint(address: str, options: Options) -> Endpoint:
    protocol, host, secure = transport.parse_address(address)
    tls = options.tls or (Tls() if secure else None)
    return Endpoint(protocol, host, Options(options.deadline, options.retries, options.headers, tls))


def _options(arguments: argparse.Namespace) -> Options:
    files = (arguments.authorities, arguments.certificate, arguments.key)
    tls = Tls(*files) if arguments.tls or any(files) else None
    headers = _headers(_lines(arguments.headers), str(arguments.headers)) if arguments.headers else {}
    return Options(arguments.deadline, arguments.retries, headers | _headers(arguments.header, "the option --header"), tls)


def _headers(lines: list[str], where: str) -> dict[str, str]:
    pairs = [line.partition(":") for line in lines if line.strip()]
    if not all(name.strip() and colon for name, colon, _ in pairs):
        raise ServerError(
            "these are no headers",
            expected="Name: value",
            found="a line without a name or without a colon",  # not the line: it may hold a key
            where=where,
            fix="write each as Name:value",
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise StorageError(
            "the file of headers cannot be read",
            expected="a file of lines `Name: value`",
            found=error.strerror or str(error),
            where=str(path),
            fix="name another with --headers",
        ) from error
