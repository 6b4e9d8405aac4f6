"""The page's own HTTP server, on loopback, in threads of the process that serves the model.

GET / is the page, GET /model what it says of the model, POST /ask the answers to
{"texts": [...]}. What another site in the same browser might send is refused: under a name of its
own for this address (DNS rebinding), from its own pages, or as a form.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from serving.page import answers
from serving.page.answers import Row, ServedModel, Text
from slipway.client.client import Client
from slipway.client.transport import Options
from slipway.contract.records import HOST, Ports
from slipway.errors import ServerError

PORT_OFFSET = 3  # from HTTP's: gRPC and metrics lie between
MOST_TEXTS = 64  # of a request
LARGEST_BODY = 2**20  # bytes
_LAST_PORT = 65535
_DISCARDED = 2**24  # bytes of a larger one that are read all the same
_PATIENCE = 30  # seconds for a browser to send what it began
_LOOK_EVERY = 0.05  # seconds, whether it is to end
_RETRIES = 5  # long enough to outlive most restarts of Triton, which take a second or two


@contextmanager
def running(model: ServedModel, ports: Ports) -> Iterator[str]:
    """Serve the page for the block, and yield its address; the model is asked at `ports.grpc`.

    Triton may come later, and again. Raises ServerError when the page's port is taken.
    """
    # Over HTTP, Triton would wait for the idle connection when it is stopped.
    client = Client(f"grpc://{HOST}:{ports.grpc}", Options(retries=_RETRIES))
    with client, opened(model, client, ports.http + PORT_OFFSET) as address:
        yield address


@contextmanager
def opened(model: ServedModel, client: Client, port: int) -> Iterator[str]:
    """Serve the page at `port` for the block, answered by `client`; yield its address.

    Raises ServerError when the port is taken.
    """
    server = _listen(model, client, port)
    thread = threading.Thread(target=server.serve_forever, args=(_LOOK_EVERY,), name="page", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def _listen(model: ServedModel, client: Client, port: int) -> _PageServer:
    def refused(summary: str, error: Exception, fix: str) -> ServerError:
        found = getattr(error, "strerror", None) or str(error)
        return ServerError(summary, expected=f"{HOST}:{port} free", found=found, where=f"{HOST}:{port}", fix=fix)

    try:
        return _PageServer(port, model, lambda texts: answers.answer(client, model, texts))
    except OverflowError as error:
        raise refused("there is no such page port", error, f"--port {_LAST_PORT - PORT_OFFSET}, or one below it") from error
    except OSError as error:
        another = f"choose another with --port: the page's is {PORT_OFFSET} above it"
        raise refused(
            "the page port is taken", error, f"stop what listens there (ss -ltnp 'sport = :{port}'), or {another}"
        ) from error


class _PageServer(ThreadingHTTPServer):
    def __init__(self, port: int, model: ServedModel, answer: Callable[[list[Text]], list[Row]]) -> None:
        super().__init__((HOST, port), _Handler)
        self.answer, self.strings = answer, 2 if model.task == "text_pair" else 1
        page = Path(__file__).with_name("page.html").read_text("utf-8")
        facts = {**model.facts(), "most_texts": MOST_TEXTS}
        self.pages = {"/": ("text/html; charset=utf-8", page.encode()), "/model": ("application/json", _json(facts))}
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.headers = {
            "Content-Security-Policy": _policy(page),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _PageServer
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not self._is_asked_by_name():
            self._refuse(HTTPStatus.FORBIDDEN, "this page is not served under that name")
        elif path in self.server.pages:
            self._send(HTTPStatus.OK, *self.server.pages[path])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        length, kind = self.headers.get("Content-Length", ""), self.headers.get("Content-Type", "")
        if not self._is_asked_by_name() or self.headers.get("Origin") not in (None, f"http://{self.headers['Host']}"):
            self._refuse(HTTPStatus.FORBIDDEN, "only the page itself may ask")
        elif kind.partition(";")[0].strip().lower() != "application/json":
            self._refuse(HTTPStatus.FORBIDDEN, "only application/json is answered")
        elif self.path != "/ask":
            self._refuse(HTTPStatus.NOT_FOUND, "texts are asked for at /ask")
        elif not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "how long the request is has to be said")
        elif len(length) > len(str(LARGEST_BODY)) or int(length) > LARGEST_BODY:
            self._discard(length)
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "these texts are more than 1 MiB: ask for fewer at a time")
        else:
            self._answer(self.rfile.read(int(length)))

    def _answer(self, body: bytes) -> None:
        try:
            texts = _texts(body, self.server.strings)
        except (ValueError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._send(HTTPStatus.OK, "application/json", _json({"rows": self.server.answer(texts)}))

    def _is_asked_by_name(self) -> bool:
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 and hosts[0] in self.server.hosts

    def _discard(self, length: str) -> None:
        """Read a body that is not much too large: many a browser reads no answer before."""
        left = int(length) if len(length) <= len(str(_DISCARDED)) else 0
        while 0 < left <= _DISCARDED and (read := self.rfile.read(min(left, 2**16))):
            left -= len(read)

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self.close_connection = True  # what was not read would be taken for the next request
        self._send(status, "application/json", _json({"error": sentence}))

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        return "slipway"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""


def _texts(body: bytes, strings: int) -> list[Text]:
    """Return the texts of a request, each a string, or of a model of pairs two.

    Raises ValueError with a sentence, and RecursionError, for what is no such request.
    """
    request = json.loads(body)
    texts = request.get("texts") if isinstance(request, dict) else None
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST_TEXTS:
        raise ValueError(f'expected {{"texts": [...]}} with 1 to {MOST_TEXTS} texts')
    for text in texts:
        parts = text if strings == 2 else [text]
        if not isinstance(parts, list) or len(parts) != strings or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"expected of each text {'a list of two strings' if strings == 2 else 'a string'}")
    return texts


def _policy(page: str) -> str:
    """Return the policy that lets the page's own script and style run, and nothing else."""
    [script], [style] = (re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL) for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
