"""A page whose server asks a made-up client."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.page import web_server
from serving.page.answers import ServedModel
from slipway.client.tensors import Classification, Tagging
from slipway.client.transport import RequestRefused, Unavailable
from slipway.contract.tokenizer import Tokenizer

LABELS = ("Business", "Sports", "World")
ABOUT = {"expected": "an answer", "where": "127.0.0.1:1", "fix": "none"}


class FakeClient:
    """Answers every text and word with the same logits; refuses some, and may be away."""

    def __init__(self) -> None:
        self.served: tuple[float, ...] = (2.0, 1.0, 0.0)
        self.fp32 = self.served
        self.tagging = self.away = False
        self.asked: list[Any] = []

    def task(self, deadline: float) -> str:
        if self.away:
            raise Unavailable("no answer from the server", found="connection refused", **ABOUT)
        return "single_text"

    def classify(self, texts: list[Any], deadline: float) -> list[Classification]:
        self._ask(texts)
        label = LABELS[int(np.argmax(self.served))]
        return [Classification(label, 0.5, self.served, "long" in str(text), 7) for text in texts]

    def tag(self, sentences: list[list[str]], deadline: float) -> list[Tagging]:
        self._ask(sentences)
        label = LABELS[int(np.argmax(self.served))]
        labels = [tuple("" if word == "unread" else label for word in words) for words in sentences]
        return [Tagging(names, (0.5,) * len(names), np.array([self.served] * len(names)), False, 7) for names in labels]

    def logits(self, name: str, ids: Any, types: Any, deadline: float) -> Any:
        assert (name, ids.shape[0], types is None or types.shape == ids.shape) == ("bert_onnx_fp32", 1, True)
        return np.broadcast_to(self.fp32, (*(ids.shape if self.tagging else ids.shape[:1]), len(self.fp32)))

    def _ask(self, texts: list[Any]) -> None:
        self.asked += texts
        if "away" in str(texts):
            raise Unavailable("no answer from the server", found="connection reset", **ABOUT)
        if "refused" in str(texts):
            raise RequestRefused("the server refused the request", found="text 0 is empty", **ABOUT)


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def model(tmp_path: Path) -> ServedModel:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "oil", "prices", "fall"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = Tokenizer(tmp_path / "vocab.txt", lower_case=True, max_seq_len=16)
    return ServedModel("single_text", LABELS, "ort_int8", "bert_onnx_fp32", 16, ("oil prices fall", "oil"), tokenizer)


@pytest.fixture
def pairs(model: ServedModel) -> ServedModel:
    return replace(model, task="text_pair", examples=(("oil", "prices"),))


@pytest.fixture
def tagger(model: ServedModel, client: FakeClient) -> ServedModel:
    client.tagging = True
    return replace(model, task="tagging")


@pytest.fixture
def many_labels(model: ServedModel, client: FakeClient) -> ServedModel:
    """A model of 30 labels; FP32 says the last, which is the least probable of what is served."""
    client.served = (2.0, *(1.0 - number / 100 for number in range(1, 30)))
    client.fp32 = (*([0.0] * 29), 2.0)
    return replace(model, labels=(*LABELS, *(f"label {number}" for number in range(3, 30))))


@pytest.fixture
def opened(client: FakeClient) -> Callable[[ServedModel], AbstractContextManager[str]]:
    """A model → a block with its page, at an address of the system's choice."""
    return partial(web_server.opened, client=client, port=0)


@pytest.fixture
def address(model: ServedModel, opened: Any) -> Iterator[str]:
    with opened(model) as place:
        yield place.removeprefix("http://").rstrip("/")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]
