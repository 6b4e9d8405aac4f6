"""Requests whose ids, parameters, names, headers and texts are of bytes that nobody expects, drawn
by a seed.
"""

from __future__ import annotations

import contextlib
import random
import socket

from tritonclient.grpc import service_pb2 as pb

from serving.server.triton import Server
from slipway.contract.records import HOST
from tests.serving.backend.bad_input.bad_input import Reply, over_grpc
from tests.serving.backend.bad_input.bad_requests import GOOD

_SECONDS = 20  # for an answer
# In place of @: as JSON's strings have them, what is no UTF-8, and what a log, a path or a format
# would take apart.
_STRINGS = (
    *(b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf", b"\\u0000", b"\\ud83d\\ude00", "é".encode() * 70),
    *("\ufeff\u202e".encode(), b'\\n{\\"level\\": 1}', b"%s%n", b"../../x", b"[request id: ", b"x" * 9000, b""),
)
# In place of #.
_VALUES = (b"-1", b"0", b"1e308", b"18446744073709551615", b"true", b"null", b"[]", b'"@"')
_INPUT = b'"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["good"]'
_BODIES = (
    b'{"id": "@", "inputs": [{%s}]}' % _INPUT,
    b'{"id": "@", "inputs": [{%s}]}' % _INPUT.replace(b"[1, 1]", b"[2, 1]"),
    b'{"parameters": {"@": #}, "inputs": [{%s}]}' % _INPUT,
    b'{"parameters": {"sequence_id": #}, "inputs": [{%s}]}' % _INPUT,
    b'{"parameters": {"timeout": #, "@": "@"}, "inputs": [{%s}]}' % _INPUT,
    b'{"inputs": [{%s, "parameters": {"@": #}}]}' % _INPUT,
    b'{"inputs": [{%s}]}' % _INPUT.replace(b'"text"', b'"@"'),
    b'{"inputs": [{%s}]}' % _INPUT.replace(b"BYTES", b"@"),
    b'{"inputs": [{%s}]}' % _INPUT.replace(b"good", b"good @"),
    b'{"inputs": [{%s}], "outputs": [{"name": "@"}]}' % _INPUT,
    b'{"inputs": [{%s}], "outputs": [{"name": "label", "parameters": {"@": #}}]}' % _INPUT,
    b'{"inputs": [{%s}], "outputs": [{"name": "label", "parameters": {"classification": 1}}]}' % _INPUT,
)
_HEADERS = (b"Inference-Header-Content-Length", b"triton-request-id", b"traceparent", b"Content-Type", b"slipway-key")


def send_over_http(server: Server, dice: random.Random) -> Reply:
    """Return status and body, both "" for what is no HTTP. Raises UnicodeDecodeError for another
    answer that is not UTF-8.
    """
    body = dice.choice(_BODIES).replace(b"#", dice.choice(_VALUES)).replace(b"@", dice.choice(_STRINGS))
    header = b"%s: %s\r\n" % (dice.choice(_HEADERS), dice.choice(_STRINGS)) if dice.random() < 0.2 else b""
    model = b"%%%s" % dice.choice(_STRINGS) if dice.random() < 0.1 else b"text_classifier"
    with socket.create_connection((HOST, server.ports.http), timeout=_SECONDS) as connection:
        head = b"POST /v2/models/%s/infer HTTP/1.1\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n"
        connection.sendall(head % (model, header, len(body)) + body)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # for what is no HTTP
            while chunk := connection.recv(1 << 16):
                answer += chunk
    status, _, said = answer.partition(b"\r\n\r\n")
    return status[9:12].decode(), said.decode("utf-8")


def send_over_grpc(server: Server, dice: random.Random) -> Reply:
    """Return status and message of such a request; the strings of a message have to be UTF-8."""
    request = pb.ModelInferRequest()
    request.CopyFrom(GOOD.message())
    texts = [string.decode("utf-8", "replace").replace("\\u0000", "\0") for string in dice.choices(_STRINGS, k=4)]
    request.id = texts[0]
    if dice.random() < 0.2:
        request.inputs[0].name = texts[1]
    output = request.outputs.add(name="label")
    name = dice.choice(("sequence_id", "timeout", "priority", "classification", "binary_data_output", texts[2]))
    kind, value = dice.choice((("double_param", float("nan")), ("string_param", texts[3]), ("int64_param", 1), ("uint64_param", 9)))
    setattr(dice.choice((request, request.inputs[0], output)).parameters[name], kind, value)
    return over_grpc(request, wait=_SECONDS)(server)
