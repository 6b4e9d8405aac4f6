"""The rows of docs/bad_input.md that only HTTP has: bodies, headers, verbs and paths."""

from __future__ import annotations

import gzip
import json
from typing import Any

from tests.serving.backend.bad_input.bad_input import Case, over_http, strings
from tests.serving.backend.bad_input.bad_requests import ANSWER, EMPTY, INPUTS, LOGITS, NO_CLASSES

INFER = "/v2/models/text_classifier/infer"
IDS = "/v2/models/ids/infer"
GENERATE = "/v2/models/text_classifier/generate"
LENGTH = "Inference-Header-Content-Length"
NOT_JSON = "failed to parse the request JSON buffer: …"
NOT = "Unable to parse '{}': attempt to access JSON non-{}"
NONE = "Unable to parse '{}': attempt to access non-existing object member '{}'"
NO_STRING = "Unable to parse JSON bytes array: attempt to access JSON non-string as string"
NO_INTEGER = NOT.format("data", "signed-integer as signed-integer")
NO_SIZE = NOT.format("{}", "unsigned-integer as unsigned-integer")
HEADER = "inference header size should be in range (0, …), got: {}"
NO_NUMBER = f"expected a number of bytes in the header {LENGTH}, found 'x' (request …)"
ONE_FIELD = "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', …"
NOT_UTF8 = "expected no parameters, found some that are not UTF-8 (request …)"
CLASSES = b'{"name": "label", "parameters": {"classification": 1}}'
NO_PARAMETER = "expected no parameters, found 'top' (request …)"
CLOSED = "This API is restricted, expecting header 'slipway-key'"
REGION = {"shared_memory_region": "nope", "shared_memory_byte_size": 8}
NO_REGION = "Unable to find shared memory region: 'nope'"


def body(**fields: Any) -> bytes:
    """A good request, but for these fields of its input; None leaves one out."""
    given = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["good oil"]} | fields
    return json.dumps({"inputs": [{name: value for name, value in given.items() if value is not None}]}).encode()


def ids(*row: Any, shape: list[int] | None = None) -> bytes:
    return body(name="input_word_ids", datatype="INT32", shape=shape or [1, len(row)], data=row)


def post(what: str, sent: bytes, status: str, message: str, path: str = INFER, **headers: str) -> Case:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Case(what, "http", over_http(path, sent, named), status, message)


def verb(method: str, path: str, status: str, message: str) -> Case:
    return Case(f"{method} {path[:60]}", "http", over_http(path, b"", method=method), status, message)


def binary(what: str, size: Any, status: str, message: str, length: str = "", more: bytes = b"") -> Case:
    """A text as binary data of 12 bytes: its JSON says `size`, its header `length`, unless that is
    empty.
    """
    head = body(data=None, parameters={"binary_data_size": size})
    sent = head + strings("good oil") + more
    return Case(what, "http", over_http(INFER, sent, {LENGTH: length or str(len(head))}), status, message)


CASES: dict[str, list[Case]] = {
    "HTTP: JSON": [
        post("half of a body", body()[:-20], "500", NOT_JSON),
        post("no JSON", b"\0\1", "500", NOT_JSON),
        post("something behind the JSON", body() + b"}", "500", NOT_JSON),
        post("an array", b"[]", "500", NONE.format("inputs", "inputs")),
        post("a number", b"3", "500", NONE.format("inputs", "inputs")),
        post("1,000 arrays in each other", b'{"inputs":' + b"[" * 1000 + b"]" * 1000 + b"}", "400", ONE_FIELD),
        post("half a surrogate pair, escaped", body().replace(b"good", b"\\ud800"), "500", NOT_JSON),
        post("no name", body(name=None), "500", NONE.format("name", "name")),
        post("no shape", body(shape=None), "500", NONE.format("shape", "shape")),
        post("no type", body(datatype=None), "500", NONE.format("datatype", "datatype")),
        post("no data", body(data=None), "400", ONE_FIELD),
        post("an unknown type", body(datatype="TEXT"), "400", "invalid datatype for input text"),
        post("a negative dimension", body(shape=[-1, 1]), "500", NO_SIZE.format("shape")),
        post("a dimension of 2⁶⁴", body(shape=[2**64, 1]), "500", NO_SIZE.format("shape")),
        post("a dimension with a point", body(shape=[1.0, 1]), "500", NO_SIZE.format("shape")),
        post("a number for a text", body(data=[7]), "500", NO_STRING),
        post("null for a text", body(data=[None]), "500", NO_STRING),
        post("an object for a text", body(data=[{"text": "good"}]), "500", NO_STRING),
        post("a text instead of an array", body(data="good oil"), "500", NOT.format("data", "array as array")),
        post("ids with a point", ids(2, 4.5, 3), "500", NO_INTEGER, IDS),
        post("ids as texts", ids("2", "4", "3"), "500", NO_INTEGER, IDS),
        post("fewer ids than the shape says", ids(2, 3, shape=[1, 3]), "500", "Unable to parse 'data': Shape does not match…", IDS),
        post("a request id that is a number", body()[:-1] + b', "id": 7}', "500", NOT.format("id", "string as string")),
        post("a request id that is not UTF-8", body()[:-1] + b', "id": "\xff"}', "400", "the request id is not UTF-8"),
        post("a name that is not UTF-8", body().replace(b'"text"', b'"\xff"'), "400", "unexpected inference input '?' for model…"),
        post("a parameter that is not UTF-8", body()[:-1] + b', "parameters": {"\xff": 1}}', "400", NOT_UTF8),
        post("the classes of a label", body()[:-1] + b', "outputs": [%s]}' % CLASSES, "400", NO_CLASSES),
        post("a parameter that is an object", body()[:-1] + b', "parameters": {"x": {}}}', "400", "parameter 'x' has invalid…"),
    ],
    "HTTP: binary data": [
        binary("the size says more", 100, "400", "unexpected size for input 'text', expecting 88 additional bytes for model…"),
        binary("the size says less", 7, "400", "unexpected additional input data for model 'text_classifier'"),
        binary("something behind the data", 12, "400", "unexpected additional input data for model…", more=b"xyz"),
        binary("a negative size", -1, "500", NO_SIZE.format("binary_data_size")),
        binary("a size of 2⁶³", 2**63, "400", "unexpected size for input 'text', expecting 9223372036854775796 additional bytes…"),
        binary("the header says more than there is", 12, "400", HEADER.format(99999), "99999"),
        binary("the header says less", 12, "500", NOT_JSON, length="5"),
        binary("a negative header", 12, "400", HEADER.format(-1), length="-1"),
        binary(
            "a header that is no number",
            12,
            "400",
            NO_NUMBER,
            "x",
        ),
        post("no header", body(data=None, parameters={"binary_data_size": 12}) + strings("good oil"), "500", NOT_JSON),
        post("data twice", body(parameters={"binary_data_size": 12}), "400", ONE_FIELD),
        post("a shared memory that is not registered", body(data=None, parameters=REGION), "404", NO_REGION),
    ],
    "HTTP: compressed": [
        post("no gzip", body(), "400", EMPTY.format("text 0"), Content_Encoding="gzip"),
        post("half of a gzip", gzip.compress(body())[:-20], "500", NOT_JSON, Content_Encoding="gzip"),
        post("no deflate", body(), "400", EMPTY.format("text 0"), Content_Encoding="deflate"),
        post("an encoding Triton does not know", body(), "501", "Unsupported compression type", Content_Encoding="br"),
        post("gzip, but not said so", gzip.compress(body()), "500", NOT_JSON),
        post("no body", b"", "400", EMPTY.format("text 0")),
        post("no body, for ids", b"", "400", "expected 1 to 8 tokens, found 0 (request …)", IDS),
    ],
    "HTTP: verbs and paths": [
        *(verb(method, INFER, "405", "Method Not Allowed") for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW")),
        verb("POST", "/v2/health/ready", "405", "Method Not Allowed"),
        verb("GET", "/", "404", "Not Found"),
        verb("GET", "/v2/models/../../etc/passwd", "404", "Not Found"),
        verb("POST", "/v2/models/%2e%2e/infer", "404", "Request for unknown model: '%2e%2e' is not found"),
        verb("POST", "/v2/models/text_classifier/versions/x/infer", "404", "Not Found"),
        verb("POST", "/v2/models/text_classifier/versions/-1/infer", "404", "Not Found"),
        *(verb("POST", f"/v2/repository/{path}", "403", CLOSED) for path in ("index", "models/ids/load", "models/ids/unload")),
        verb("POST", "/v2/systemsharedmemory/region/x/register", "403", CLOSED),
        *(verb("GET", path, "403", CLOSED) for path in ("/v2/systemsharedmemory/status", "/v2/trace/setting", "/v2/logging")),
        post("the wrong key", b"{}", "403", CLOSED, "/v2/repository/index", slipway_key="wrong"),
    ],
    "HTTP: `generate`": [
        post("no text", b"{}", "400", INPUTS.format(1, 0, "text_classifier"), GENERATE),
        post("a number for a text", b'{"text": 7}', "500", NO_STRING, GENERATE),
        post("an empty text", b'{"text": ""}', "400", EMPTY.format("text 0"), GENERATE),
        post("another field", b'{"text": "good", "top": 3}', "400", NO_PARAMETER, GENERATE),
        post("no JSON", b"{", "500", NOT_JSON, GENERATE),
    ],
    "HTTP: answered, though it should not be": [
        post("data in arrays that do not fit the shape: only their number counts", body(data=[[["good oil"]]]), "200", ANSWER),
        post("a field twice: the first counts", body().replace(b'"data"', b'"data": ["good oil"], "data"'), "200", ANSWER),
        post("a field that nobody knows", body(dtype="FP32"), "200", ANSWER),
        post("gzip with a wrong checksum", gzip.compress(body())[:-8] + bytes(8), "200", ANSWER, Content_Encoding="gzip"),
        post("an id of 2³³ + 4, which becomes 4", ids(2, 2**33 + 4, 1, 3), "200", LOGITS, IDS),
    ],
}
