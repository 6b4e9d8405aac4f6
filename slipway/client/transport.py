"""A connection over HTTP or gRPC: requests, their failures as errors, and retries.

Only what found no server is asked again, after pauses that differ between clients.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tritonclient.utils import InferenceServerException

from slipway import errors
from slipway.client.tensors import Tensors
from slipway.contract.records import DEADLINE, HOST, NO_ROOM, RETRIES, Ports
from slipway.errors import ServerError

PROTOCOLS = ("http", "grpc")
_SCHEMES = ("", "http", "https", "grpc", "grpcs")  # "": http; s: over TLS
_COME_AGAIN = ("503", "StatusCode.UNAVAILABLE")
_MESSAGE_LIMIT = 2**31 - 1  # bytes of a gRPC message; its own limit is 4 MiB
# aiohttp would ask for compressed answers, and compressing every single answer costs Triton a tenth
# of the CPU time of the client alone.
_UNCOMPRESSED = {"http": {"accept-encoding": "identity"}, "grpc": {}}
# gRPC waits a second and more before it connects anew, and answers "unavailable" meanwhile: our
# retries would all fall into that time. Its least pause is left alone, since that is also how long
# it waits for a connection to be made.
_RECONNECT = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000}
_HEADER_NAME = re.compile("[0-9A-Za-z_.-]+")
_UNTRUSTED = re.compile("certificate.verify.failed", re.IGNORECASE)  # OpenSSL's; gRPC's has _ between the words
_HERE = (HOST, "localhost")  # where `slipway serve` listens
_ALL_CLASSES = 2**16  # Triton gives as many as there are
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds
_Answer = TypeVar("_Answer")


class RequestRefused(ServerError):
    """The server was there and would not answer this request: to ask again is of no use."""


class Unavailable(ServerError):
    """No connection, a lost one, or HTTP's 503 or gRPC's UNAVAILABLE."""


class Busy(Unavailable):
    """The front of `slipway serve` had no room for the request, or its server is starting."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for a connection over TLS."""

    authorities: Path | None = None  # who may sign the server's certificate; None: the library's own
    certificate: Path | None = None  # the client's own, where the server asks for one
    key: Path | None = None  # of the client's certificate


@dataclass(frozen=True)
class Options:
    """Deadline, retries, headers and TLS of all calls of a client.

    Making the client raises ServerError for headers that cannot be sent and TLS files that cannot
    be used.
    """

    deadline: float = DEADLINE  # seconds for a whole call: all its requests, retries and pauses
    retries: int = RETRIES  # of each request, and only when the server is unavailable
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # gRPC: its metadata
    tls: Tls | None = None  # https:// and grpcs:// need none: they default to Tls()


class Connection:
    """A connection to one server, for any number of requests at a time.

    Raises ServerError for an address or TLS files that cannot be used.
    """

    def __init__(self, address: str, options: Options) -> None:
        self._address = address
        self._protocol, self._host, secure = parse_address(address)
        self._headers = _UNCOMPRESSED[self._protocol] | _own_headers(options)
        tls = options.tls or (Tls() if secure else None)
        settings = _http_settings(tls) if self._protocol == "http" else _grpc_settings(tls)
        self._api: Any = importlib.import_module(f"tritonclient.{self._protocol}.aio")
        self._server = self._api.InferenceServerClient(self._host, **settings)

    async def infer(self, model: str, inputs: Tensors, call: str, first: int | None = None) -> Tensors:
        """Return all outputs of the request `call`. Raise RequestRefused, Unavailable.

        `first` is the number of its first row, if the call has other requests: the server counts
        the rows of each request from 0.
        """
        tensors = self._tensors(inputs)
        with self._failures(model, call if first is None else f"{call}, whose row 0 is row {first} of the call"):
            result = await self._server.infer(model, tensors, request_id=call, headers=dict(self._headers))
            return {name: result.as_numpy(name) for name in self._names(result.get_response(), "outputs")}

    async def ranked(self, model: str, inputs: Tensors) -> list[bytes]:
        """Return the logits of the request's first row by Triton's classification extension: each
        `logit:number`, and `:label` where the repository names them. Raise as `infer`.
        """
        output, tensors = self._api.InferRequestedOutput("logits", class_count=_ALL_CLASSES), self._tensors(inputs)
        with self._failures(model):
            result = await self._server.infer(model, tensors, outputs=[output], headers=dict(self._headers))
            return list(result.as_numpy("logits")[0])

    async def names(self, model: str, kind: str) -> set[str]:
        """Return the names of a model's "inputs" or "outputs". Raise as `infer`."""
        with self._failures(model):
            metadata = await self._server.get_model_metadata(model, headers=dict(self._headers))
            return set(self._names(metadata, kind))

    async def metadata(self, model: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the server says of itself, {} where a proxy forbids to ask that, and of a
        model, as JSON. Raise as `infer`.
        """
        as_json = {"as_json": True} if self._protocol == "grpc" else {}
        of_server: dict[str, Any] = {}
        with suppress(RequestRefused), self._failures("the server's metadata"):
            of_server = await self._server.get_server_metadata(headers=dict(self._headers), **as_json)
        with self._failures(model):
            return of_server, await self._server.get_model_metadata(model, headers=dict(self._headers), **as_json)

    async def close(self) -> None:
        await self._server.close()

    def late(self, seconds: float, call: str) -> ServerError:
        """Return the error of a call that had no answer within its deadline of `seconds`."""
        return ServerError(
            "no answer in time",
            expected=f"the whole answer within {seconds:g} s",
            found="none yet; the request was cancelled",
            where=self._place(call),
            fix="a longer deadline or fewer texts at once, or more of the server",
        )

    def _tensors(self, inputs: Tensors) -> list[Any]:
        tensors = []
        for name, values in inputs.items():
            kind = "BYTES" if values.dtype == object else "INT32"
            tensors.append(self._api.InferInput(name, list(values.shape), kind))
            tensors[-1].set_data_from_numpy(values)
        return tensors

    def _names(self, message: Any, kind: str) -> list[str]:
        """Return the names of a message's inputs or outputs: HTTP's are JSON, gRPC's protobuf."""
        if self._protocol == "http":
            return [tensor["name"] for tensor in message[kind]]
        return [tensor.name for tensor in getattr(message, kind)]

    @contextmanager
    def _failures(self, model: str, call: str = "") -> Iterator[None]:
        if not isinstance(model, str) or not model or "/" in model:
            raise ServerError(
                "this is no model's name",
                expected="the name of a served model, such as text_classifier",
                found=repr(model),
                where="the argument model",
                fix="pass its name, or none: texts are answered by text_classifier",
            )
        try:
            yield
        except _failures() as error:
            raise self._failure(error, model, call) from error

    def _failure(self, error: Exception, model: str, call: str) -> ServerError:
        import aiohttp

        if isinstance(error, InferenceServerException):
            message, again = error.message(), error.status() in _COME_AGAIN
        else:
            lost = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
            message, again = str(error), isinstance(error, lost) and not isinstance(error, aiohttp.ClientSSLError)
        facts = {"expected": "an answer", "found": message.strip() or type(error).__name__, "where": self._place(call)}
        if isinstance(error, aiohttp.ClientResponseError):  # by tritonclient only of what cannot be parsed
            facts["found"] = "no HTTP: another protocol's port"
            where = self._address.rpartition("://")[2]
            return RequestRefused("the answer is not HTTP's", **facts, fix=f"if it is gRPC's port, the address is grpc://{where}")
        if _UNTRUSTED.search(message):
            fix = "name a file with who signed it (Tls.authorities, or --authorities FILE), and ask by the name that it is for"
            return RequestRefused("the server's certificate is not trusted", **facts, fix=fix)
        if again and NO_ROOM in message:
            fix = "a longer deadline, fewer requests at a time, or more of the server; if it does not start, its log says why"
            return Busy("the server has no room for the request", **facts, fix=fix)
        if again:
            fix = f"look whether a server listens at {self._address}, and whether something between closes the way to it"
            if self._host.rpartition(":")[0] in _HERE:
                http = int(self._host.rpartition(":")[2]) - PROTOCOLS.index(self._protocol)
                port = [] if http == Ports.http else ["--port", http]
                fix = f"{errors.command('serve', 'RUN', *port)}, in another terminal"
            if "Socket closed" in message:
                fix += f"; if this is HTTP's port, the address is http://{self._address.rpartition('://')[2]}"
            return Unavailable("no answer from the server", **facts, fix=fix)
        return RequestRefused(f"the server refused the request to {model}", **facts, fix="correct the input and ask again")

    def _place(self, call: str) -> str:
        return f"{self._address}, request {call}" if call else self._address


def parse_address(address: str) -> tuple[str, str, bool]:
    """Return protocol, host:port, and whether TLS is asked for. Raises ServerError."""
    scheme, _, host = address.rpartition("://") if isinstance(address, str) else ("", "", "")
    if "@" in host or "?" in host:
        raise ServerError(
            "an address has no user, password or key: it is shown and recorded",
            expected="a header that says who asks, from a file: --headers FILE, or Options.headers",
            found="something before an @, or behind a ?",
            where=f"the client's address, {host.rpartition('@')[2].partition('?')[0]}",
            fix="Authorization: Basic BASE64-OF-user:password as a line of that file",
        )
    if scheme not in _SCHEMES or not host or not _has_good_port(host):
        raise ServerError(
            "this is no server's address",
            expected="host:port, http://host:port or grpc://host:port; over TLS https:// or grpcs://",
            found=repr(address),
            where="the client's address",
            fix=f"{HOST}:{Ports.http} is where `slipway serve` listens",
        )
    return scheme.removesuffix("s") or "http", host.rstrip("/"), scheme.endswith("s")


def _has_good_port(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").port != 0  # None: the protocol's own
    except ValueError:  # no number, or beyond 65535
        return False


def _own_headers(options: Options) -> dict[str, str]:
    """Return the options' headers with small letters, since gRPC takes no capitals.

    Raises ServerError for what HTTP and gRPC do not both take. It does not show the value.
    """
    for name, value in options.headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name) and isinstance(value, str) and _is_sent(value)):
            raise ServerError(
                "this header cannot be sent",
                expected="a name of letters, digits, - _ and ., and a string of printable ASCII characters",
                found=f"{type(value).__name__} under the name {name!r}",
                where="the option headers",
                fix="correct it",
            )
    return {name.lower(): value for name, value in options.headers.items()}


def _is_sent(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _http_settings(tls: Tls | None) -> dict[str, Any]:
    # The deadline is the call's, and who calls decides how many connections there are.
    settings: dict[str, Any] = {"conn_timeout": None, "conn_limit": 0, "ssl": tls is not None}
    return settings | ({"ssl_context": _ssl_context(tls)} if tls else {})


def _grpc_settings(tls: Tls | None) -> dict[str, Any]:
    limits = {f"grpc.max_{way}_message_length": _MESSAGE_LIMIT for way in ("send", "receive")}
    settings: dict[str, Any] = {"channel_args": list((limits | _RECONNECT).items()), "ssl": tls is not None}
    if tls:
        _ssl_context(tls)  # gRPC itself would only write to stderr that it cannot read a file
        settings |= {"root_certificates": tls.authorities, "certificate_chain": tls.certificate, "private_key": tls.key}
    return settings


def _ssl_context(tls: Tls) -> ssl.SSLContext:
    """Return the context of these files. Raise ServerError for files that cannot be used."""
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


async def persist(ask: Callable[[], Awaitable[_Answer]], retries: int, end: float) -> _Answer:
    """Ask up to 1 + `retries` times; no pause goes beyond the event loop's time `end`.

    A server that is busy is asked again until then, if there are retries at all: it refuses at
    once what others would let wait. Any length up to a pause's longest is equally likely ("full
    jitter"), so clients that lost their server together do not come back together. Raises what
    `ask` raises; Unavailable once there is no retry or no time left.
    """
    longest, left = _FIRST_PAUSE, retries
    while True:
        try:
            return await ask()
        except Unavailable as error:
            left -= not isinstance(error, Busy)
            pause = random.uniform(0, longest) if retries and left >= 0 else math.inf
            if asyncio.get_running_loop().time() + pause >= end:
                raise
        longest = min(_LONGEST_PAUSE, 2 * longest)
        await asyncio.sleep(pause)


def _failures() -> tuple[type[Exception], ...]:
    """Return what a request that failed raises. ValueError: no JSON."""
    import aiohttp  # 0.4 s, which no command shall take that asks nobody

    return InferenceServerException, aiohttp.ClientError, OSError, ValueError
