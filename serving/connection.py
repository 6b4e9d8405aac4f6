"""One server over HTTP or gRPC: arrays in, arrays out, and every failure one of two kinds. Lives in a running event loop.

`Unavailable`: nobody answered, or asked to come again, so that asking again may help. `Refused`: it would not.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tritonclient.utils import InferenceServerException

from serving.answers import Tensors
from train.errors import ServerError

PROTOCOLS = ("http", "grpc")
_COME_AGAIN = ("503", "StatusCode.UNAVAILABLE")
_LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
_LARGEST = 2**31 - 1  # bytes of a gRPC message; its own limit is 4 MiB
# aiohttp would ask for compressed answers, and Triton would compress every single one: a tenth of the CPU time of the client alone.
_PLAIN = {"http": {"accept-encoding": "identity"}, "grpc": {}}
# gRPC waits a second and more before it connects anew, and answers "unavailable" meanwhile: our retries would all fall into that.
# Its least pause is left alone, since that is also how long it waits for a connection to be made.
_RECONNECT = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000}


class Refused(ServerError):
    """The server was there and would not answer this request."""


class Unavailable(ServerError):
    """No connection, a lost one, or HTTP's 503 or gRPC's UNAVAILABLE."""


@dataclass(frozen=True)
class Tls:
    authorities: Path | None = None  # PEM: who may have signed the server's certificate; None: whom HTTP's or gRPC's library trusts
    certificate: Path | None = None  # PEM: the client's own, where the server asks for one
    key: Path | None = None  # of that certificate


@dataclass(frozen=True)
class Options:
    deadline: float = 60.0  # seconds for a whole call, with all its requests, retries and pauses
    retries: int = 3  # of each request, and only when the server is unavailable
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # sent with every request; of gRPC its metadata
    tls: Tls | None = None


class Connection:
    def __init__(self, address: str, protocol: str, options: Options) -> None:
        self._where, self._protocol = f"{protocol}://{address}", protocol
        self._headers = _PLAIN[protocol] | {name.lower(): value for name, value in options.headers.items()}  # gRPC takes no other
        self._api: Any = importlib.import_module(f"tritonclient.{protocol}.aio")
        settings = _http_settings(options.tls) if protocol == "http" else _grpc_settings(options.tls)
        self._server = self._api.InferenceServerClient(address, **settings)

    async def infer(self, model: str, inputs: Tensors, call: str) -> Tensors:
        """All outputs of one request, whose id is `call`. Raises Refused, Unavailable."""
        tensors = []
        for name, values in inputs.items():
            tensors.append(self._api.InferInput(name, list(values.shape), "BYTES" if values.dtype == object else "INT32"))
            tensors[-1].set_data_from_numpy(values)
        with self._failures(model, call):
            result = await self._server.infer(model, tensors, request_id=call, headers=dict(self._headers))
            response = result.get_response()
            names = [one["name"] for one in response["outputs"]] if self._protocol == "http" else [o.name for o in response.outputs]
            return {name: result.as_numpy(name) for name in names}

    async def inputs(self, model: str) -> set[str]:
        """The names of a model's inputs. Raises as `infer`."""
        with self._failures(model):
            found = await self._server.get_model_metadata(model, headers=dict(self._headers))
            return {one["name"] for one in found["inputs"]} if self._protocol == "http" else {one.name for one in found.inputs}

    async def close(self) -> None:
        await self._server.close()

    def late(self, seconds: float, call: str) -> ServerError:
        return ServerError(
            "no answer in time",
            expected=f"the whole answer within {seconds:g} s",
            found="none yet; the request was cancelled",
            where=self._place(call),
            fix="a longer deadline or fewer texts at once, or more of the server",
        )

    @contextmanager
    def _failures(self, model: str, call: str = "") -> Iterator[None]:
        try:
            yield
        except (InferenceServerException, aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: an answer of no JSON
            raise self._failure(error, model, call) from error

    def _failure(self, error: Exception, model: str, call: str) -> ServerError:
        if isinstance(error, InferenceServerException):
            found, again = error.message(), error.status() in _COME_AGAIN
        else:
            found, again = str(error), isinstance(error, _LOST) and not isinstance(error, aiohttp.ClientSSLError)
        found = found.strip() or type(error).__name__
        where = self._place(call)
        if again:
            return Unavailable(
                "no answer from the server", expected="an answer", found=found, where=where, fix="make serve, in another terminal"
            )
        return Refused(
            f"the server refused the request to {model}",
            expected="an answer",
            found=found,
            where=where,
            fix="correct the input and ask again",
        )

    def _place(self, call: str) -> str:
        return f"{self._where}, request {call}" if call else self._where


def _http_settings(tls: Tls | None) -> dict[str, Any]:
    # The deadline is the call's, and how many connections there are is up to who calls.
    settings: dict[str, Any] = {"conn_timeout": None, "conn_limit": 0, "ssl": tls is not None}
    return settings | ({"ssl_context": _context(tls)} if tls else {})


def _grpc_settings(tls: Tls | None) -> dict[str, Any]:
    limits = {"grpc.max_send_message_length": _LARGEST, "grpc.max_receive_message_length": _LARGEST}
    settings: dict[str, Any] = {"channel_args": list((limits | _RECONNECT).items()), "ssl": tls is not None}
    if tls:
        _context(tls)  # gRPC itself would only write to stderr that it cannot read a file
        settings |= {"root_certificates": tls.authorities, "certificate_chain": tls.certificate, "private_key": tls.key}
    return settings


def _context(tls: Tls) -> ssl.SSLContext:
    """Raises ServerError for files that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.authorities)
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one too
        raise ServerError(
            "the files for TLS cannot be used",
            expected="certificates, and the key of the client's own, as PEM",
            found=str(error),
            where=str(tls),
            fix="openssl x509 -noout -in FILE says whether it is a certificate",
        ) from error
    return context
