"""A way to a server that can be closed: with TLS or without, and with what clients send on it."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.server.triton import Server
from slipway.client.transport import Tls
from slipway.contract.records import HOST


@contextmanager
def forwarding(target: str, port: int = 0, tls: ssl.SSLContext | None = None, seen: bytearray | None = None) -> Iterator[str]:
    """The address of a server that passes everything on to `target`; what clients send is added to
    `seen`.
    """
    loop = asyncio.new_event_loop()
    writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray | None = None) -> None:
        while data := await reader.read(65536):
            if kept is not None:
                kept += data
            writer.write(data)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, number = target.partition(":")
        from_target, to_target = await asyncio.open_connection(host, int(number))
        writers.extend((writer, to_target))
        await asyncio.gather(copy(reader, to_target, seen), copy(from_target, writer), return_exceptions=True)

    async def end() -> None:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(forward, HOST, port, ssl=tls))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def self_signed(directory: Path) -> Tls:
    """A certificate that signed itself: server, client and authority in one."""
    key, made = directory / "key.pem", directory / "certificate.pem"
    subject = ["-subj", "/CN=slipway", "-addext", f"subjectAltName=IP:{HOST}", "-days", "1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    subprocess.run([*command, "-keyout", key, "-out", made], check=True, capture_output=True)
    return Tls(authorities=made, certificate=made, key=key)


@contextmanager
def over_tls(server: Server, protocol: str, certificate: Tls, seen: bytearray | None = None) -> Iterator[str]:
    """The server behind TLS that wants the client's certificate too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate.authorities)
    assert certificate.certificate
    context.load_cert_chain(certificate.certificate, certificate.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"] if protocol == "grpc" else ["http/1.1"])
    with forwarding(server.address(protocol), tls=context, seen=seen) as where:
        yield where
