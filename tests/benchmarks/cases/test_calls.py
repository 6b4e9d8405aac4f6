from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from email.message import Message
from urllib.error import HTTPError

import pytest
from tritonclient.utils import InferenceServerException

from benchmarks.cases import calls
from benchmarks.cases.calls import Call
from serving.server import triton
from slipway.errors import ServerError
from tests.support.serving import tiny_repository
from tests.support.serving.tiny_repository import Parts

_LONGEST = 8  # tokens, and labels


def raising(error: Exception) -> Callable[[], list[str]]:
    def send() -> list[str]:
        raise error

    return send


def http_error(body: str) -> HTTPError:
    return HTTPError("http://127.0.0.1:1/v2", 500, "", Message(), io.BytesIO(body.encode()))


@pytest.mark.parametrize(("labels", "good"), [(["a", "b"], True), (["a"], False), (["b", "a"], False), (["a", "b", "b"], False)])
def test_labels_are_good_that_are_the_texts_own(labels: list[str], good: bool) -> None:
    assert Call("case", lambda: labels, ["a", "b"]).answer().good is good


def test_an_answer_is_not_good_where_a_refusal_is() -> None:
    assert Call("case", lambda: ["a"], "no text").answer().good is False


@pytest.mark.parametrize(
    ("error", "good"),
    [
        (InferenceServerException("expected BYTES"), True),
        (InferenceServerException("expected FP32"), False),
        (ServerError("this is no text", expected="expected BYTES", found="7", where="texts[0]", fix="pass strings"), True),
        (http_error('{"error": "expected BYTES"}'), True),
        (http_error('{"error": "expected BYTES at /srv/models/text_classifier"}'), False),
        (InferenceServerException("expected BYTES\nTraceback (most recent call last)"), False),
        (TypeError("expected BYTES"), False),
    ],
)
def test_a_refusal_is_good_that_is_a_sentence_with_the_reason_and_no_trace(error: Exception, good: bool) -> None:
    assert Call("case", raising(error), "expected BYTES").answer().good is good


def test_a_refusal_is_not_good_where_labels_are() -> None:
    assert Call("case", raising(InferenceServerException("expected BYTES")), ["a"]).answer().good is False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.Server]:
    """It answers every word with its id, of which the largest names the label."""
    parts = Parts(tiny_repository.mirror(_LONGEST), ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "oil"), "abcdefgh", _LONGEST)
    run = tiny_repository.served(tmp_path_factory.mktemp("calls") / "run", parts)
    with triton.running(run / "model_repository") as served:
        yield served


def test_every_call_that_people_make_has_its_good_answer(server: triton.Server) -> None:
    answers = list(calls.answers(server.http, server.grpc))
    assert len(answers) == 38
    assert [answer for answer in answers if not answer.good] == []
