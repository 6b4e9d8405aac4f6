"""The real Triton under good and bad input: right answers, clear refusals, and it lives on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from serving.server import triton
from serving.server.triton import Server
from slipway.client import client
from slipway.client.client import Client
from slipway.contract import bundle
from slipway.contract.records import HOST, Ports
from slipway.errors import ServerError
from tests.support.command import slipway


@pytest.fixture(scope="module")
def server(finished_run: Path) -> Iterator[Server]:
    with triton.running(finished_run / "model_repository") as running:
        yield running


def test_texts_get_labels_probabilities_and_token_counts(connection: Client, finished_run: Path) -> None:
    golden = bundle.load_golden(bundle.load(finished_run / "bundle"))
    answers = connection.classify(golden.texts[:100])
    assert [answer.tokens for answer in answers] == golden.ids.lengths[:100].tolist()
    for answer in answers:
        assert answer.probability == pytest.approx(np.exp(answer.logits).max() / np.exp(answer.logits).sum(), rel=1e-4)


def test_a_long_text_is_answered_and_flagged(connection: Client) -> None:
    [short, long] = connection.classify(["The coach won", "The coach won " * 70_000])
    assert (short.truncated, long.truncated, long.tokens) == (False, True, 48)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_refused_and_the_server_lives_on(connection: Client, text: str) -> None:
    with pytest.raises(ServerError, match="text 1 is empty"):
        connection.classify(["The coach won", text])
    assert connection.classify(["The coach won"])


def test_a_text_that_is_not_utf8_is_refused_with_byte_and_offset(server: Server) -> None:
    tensor = tritonclient.http.InferInput("text", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[b"ab\xffcd"]], object))
    connection = tritonclient.http.InferenceServerClient(server.http)
    with pytest.raises(InferenceServerException, match="byte 0xff at offset 2"):
        connection.infer("text_classifier", [tensor])
    connection.close()


@pytest.mark.parametrize(
    ("ids", "message"), [([[9999]], "expected ids from 0"), ([[-1]], "expected ids from 0"), ([[1] * 49], "1 to 48 tokens")]
)
def test_ids_the_model_cannot_take_are_refused(connection: Client, ids: list[list[int]], message: str) -> None:
    with pytest.raises(ServerError, match=message):
        connection.logits("bert_ort_fp32", np.array(ids, np.int32))


def test_padding_by_the_client_does_not_change_the_answer(connection: Client, finished_run: Path) -> None:
    golden = bundle.load_golden(bundle.load(finished_run / "bundle"))
    row = golden.ids[int(golden.ids.lengths.argmin())][None, :]
    padded = np.pad(row, ((0, 0), (0, 20)))
    np.testing.assert_array_equal(connection.logits("bert_ort_fp32", padded), connection.logits("bert_ort_fp32", row))


def test_a_port_in_use_is_named(finished_run: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"{HOST}:{port}"):
            triton.start(finished_run / "model_repository", Ports(port, port, port), finished_run / "port.log", "key")


def test_no_texts_get_no_answers(connection: Client) -> None:
    assert connection.classify([]) == []


def test_a_connection_cut_in_the_middle_is_a_server_error() -> None:
    listening = socket.create_server((HOST, 0))
    address = f"{HOST}:{listening.getsockname()[1]}"

    def cut() -> None:
        listening.accept()[0].close()
        listening.close()

    cutting = threading.Thread(target=cut)
    cutting.start()
    with client.Client(f"http://{address}") as connection, pytest.raises(ServerError, match="no answer from the server"):
        connection.classify(["The coach won"])
    cutting.join()


def test_a_command_line_that_is_not_utf8_is_refused() -> None:
    done = slipway("ask", b"ab\xff".decode("utf-8", "surrogateescape"))
    assert done.returncode == 8
    assert "the text is not Unicode" in done.stderr


def test_without_a_server_the_client_says_how_to_start_one() -> None:
    done = slipway("ask", "--port", triton.free_ports().http, "The coach won")
    assert done.returncode == 8
    assert "slipway serve" in done.stderr
