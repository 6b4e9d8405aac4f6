"""What the page's server answers, and what it refuses from other pages in the same browser."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any

import pytest

from serving.page import web_server
from serving.page.answers import ServedModel
from slipway.errors import ServerError

ASKED = json.dumps({"texts": ["oil prices fall"]}).encode()


def send(address: str, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, Any]:
    """Status, headers and body; `headers` are named with _ for -."""
    connection = http.client.HTTPConnection(address, timeout=10)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, ({"Content-Type": "application/json"} if body else {}) | given)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, response.headers, json.loads(text) if response.headers["Content-Type"] == "application/json" else text


def ask(address: str, body: bytes = ASKED, **headers: str) -> tuple[int, Any]:
    status, _, answer = send(address, "POST", "/ask", body, **headers)
    return status, answer


def test_the_page_is_html_whose_script_and_style_are_its_policys(address: str) -> None:
    status, headers, page = send(address, "GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.startswith("<!doctype html>")
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-\S+'; style-src 'sha256-\S+'; img-src data:; connect-src 'self'; "
        r"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        headers["Content-Security-Policy"],
    )


@pytest.mark.parametrize("path", ["/", "/model", "/nothing"])
def test_every_answer_is_kept_by_no_cache_and_read_as_what_it_is(address: str, path: str) -> None:
    headers = send(address, "GET", path)[1]
    names = ("Cache-Control", "X-Content-Type-Options", "Referrer-Policy")
    assert [headers[name] for name in names] == ["no-store", "nosniff", "no-referrer"]


def test_the_facts_are_the_models(address: str) -> None:
    facts = send(address, "GET", "/model")[2]
    assert facts == {
        "task": "single_text",
        "labels": ["Business", "Sports", "World"],
        "variant": "ort_int8",
        "precision": "int8",
        "fp32": "bert_onnx_fp32",
        "longest": 16,
        "examples": ["oil prices fall", "oil"],
        "most_texts": 64,
    }


def test_the_page_itself_may_ask(address: str) -> None:
    status, answer = ask(address, Origin=f"http://{address}")
    assert (status, len(answer["rows"])) == (200, 1)


def test_localhost_is_a_name_of_it(address: str) -> None:
    port = address.partition(":")[2]
    assert ask(address, Host=f"localhost:{port}", Origin=f"http://localhost:{port}")[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "127.0.0.1", ""])
def test_another_name_for_this_address_is_refused(address: str, client: Any, method: str, host: str) -> None:
    body = ASKED if method == "POST" else None
    assert send(address, method, "/ask" if body else "/model", body, Host=host)[0] == 403
    assert client.asked == []


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://{}", "http://127.0.0.1:1"])
def test_another_page_may_not_ask(address: str, client: Any, origin: str) -> None:
    assert ask(address, Origin=origin.format(address))[0] == 403
    assert client.asked == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_may_not_ask(address: str, client: Any, kind: str) -> None:
    assert ask(address, Content_Type=kind)[0] == 403
    assert client.asked == []


def test_no_other_page_is_allowed_to_send_json(address: str) -> None:
    status, headers, _ = send(address, "OPTIONS", "/ask", Origin="http://evil.example", Access_Control_Request_Method="POST")
    assert status == 501
    assert "Access-Control-Allow-Origin" not in headers


def test_a_body_above_a_mebibyte_is_refused_with_a_sentence(address: str) -> None:
    status, answer = ask(address, json.dumps({"texts": ["x" * 2**20]}).encode())
    assert status == 413
    assert "more than 1 MiB" in answer["error"]


def test_a_body_of_a_mebibyte_is_answered(address: str) -> None:
    body = json.dumps({"texts": ["x" * 2**19]}).encode().ljust(2**20)
    assert ask(address, body)[0] == 200


@pytest.mark.parametrize("length", ["-1", "x", "²", "9" * 5000])
def test_a_length_that_is_none_is_refused(address: str, length: str) -> None:
    assert send(address, "POST", "/ask", None, Content_Type="application/json", Content_Length=length)[0] in (411, 413)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'{"texts": "oil"}', b'{"texts": []}', b'{"texts": [1]}', b'{"texts": [["a", "b"]]}'),
        *(b"\xff", b"[" * 100_000, json.dumps({"texts": ["oil"] * 65}).encode()),
    ],
)
def test_what_is_no_request_is_refused_with_a_sentence(address: str, body: bytes) -> None:
    status, answer = ask(address, body, Content_Type="application/json")
    assert (status, bool(answer["error"])) == (400, True)


def test_64_texts_are_answered_at_a_time(address: str) -> None:
    assert len(ask(address, json.dumps({"texts": ["oil"] * 64}).encode())[1]["rows"]) == 64


def test_a_pair_is_two_strings(pairs: ServedModel, opened: Any) -> None:
    with opened(pairs) as place:
        address = place.removeprefix("http://").rstrip("/")
        statuses = [ask(address, json.dumps({"texts": [text]}).encode())[0] for text in (["oil", "fall"], "oil", ["oil"])]
    assert statuses == [200, 400, 400]


def test_a_server_that_is_away_is_a_sentence_in_a_good_answer(address: str, client: Any) -> None:
    client.away = True
    status, answer = ask(address)
    assert status == 200
    assert answer["rows"] == [{"error": "Triton does not answer. It may be starting again: ask again in a few seconds."}]


def test_nothing_is_logged(address: str, client: Any, capfd: pytest.CaptureFixture[str]) -> None:
    ask(address)
    ask(address, b"{")
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("kind", ["taken", "none"])
def test_a_port_that_cannot_be_had_is_named(model: ServedModel, client: Any, taken: int, kind: str) -> None:
    port = taken if kind == "taken" else 65536
    with pytest.raises(ServerError, match=f"127.0.0.1:{port} free"), web_server.opened(model, client, port):
        pass
