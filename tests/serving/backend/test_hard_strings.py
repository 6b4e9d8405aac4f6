"""Two hundred hard strings through the real Triton: the ids the model is fed are those of an
independent WordPiece.

The model answers with the ids themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.server import triton
from serving.server.triton import Server
from slipway.client.client import Client
from slipway.client.transport import RequestRefused
from slipway.contract.tokenizer import Tokenizer
from tests.support import wordpiece
from tests.support.serving import tiny_repository

pytestmark = pytest.mark.experiment("text parity")

TEXTS = wordpiece.hard_strings(seed=5)
PIECES = wordpiece.vocabulary(TEXTS, seed=5)
LONGEST = 48


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = [f"id {number}" for number in range(LONGEST)]
    return tiny_repository.served(
        tmp_path_factory.mktemp("hard") / "run", tiny_repository.Parts(tiny_repository.mirror(LONGEST), PIECES, labels, LONGEST)
    )


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    with triton.running(run / "model_repository") as running:
        yield running


@pytest.fixture(scope="module")
def expected() -> list[list[int]]:
    numbers = {piece: number for number, piece in enumerate(PIECES)}
    return [wordpiece.ids(text, numbers, True, LONGEST) for text in TEXTS]


def test_a_text_reaches_the_model_as_the_published_algorithms_ids(connection: Client, expected: list[list[int]]) -> None:
    read = [number for number, ids in enumerate(expected) if len(ids) > 2]
    assert len(read) > 190
    small = [number for number in read if len(TEXTS[number]) < 10_000]
    answers = connection.classify([TEXTS[number] for number in small])
    answers += [connection.classify([TEXTS[number]])[0] for number in read[len(small) :]]  # 1 MB each
    for number, answer in zip(read, answers, strict=True):
        assert list(answer.logits[: answer.tokens]) == expected[number], ascii(TEXTS[number][:200])
        assert not any(answer.logits[answer.tokens :])


def test_a_text_of_which_nothing_is_left_is_refused(connection: Client, expected: list[list[int]]) -> None:
    unread = [text for text, ids in zip(TEXTS, expected, strict=True) if len(ids) == 2]
    for text in (*unread, "\0\u200b", "\u0301"):
        with pytest.raises(RequestRefused, match="text 0 is empty"):
            connection.classify([text])


def test_a_client_that_tokenizes_feeds_the_model_the_same_ids(connection: Client, run: Path, expected: list[list[int]]) -> None:
    vocabulary = run / "model_repository/text_classifier/1/vocab.txt"
    ids = [tokens.ids for tokens in Tokenizer(vocabulary, lower_case=True, max_seq_len=LONGEST)(TEXTS)]
    padded = np.array([row + [0] * (LONGEST - len(row)) for row in ids], np.int32)
    np.testing.assert_array_equal(connection.logits("ids", padded), [row + [0] * (LONGEST - len(row)) for row in expected])
