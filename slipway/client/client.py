"""The client of a running server: texts in, answers out, over HTTP or gRPC.

with Client("127.0.0.1:8000") as server:
    for answer in server.classify(["Oil prices fall"]): print(answer.label)
    for answer in server.classify([("Is it raining?", "It pours.")]): print(answer.label)  # pairs
    for answer in server.tag([["Oil", "prices", "fall"]]): print(answer.labels)            # tagger

async with AsyncClient("grpc://127.0.0.1:8001", Options(deadline=2)) as server:  # many at once
    answers = await asyncio.gather(*(server.classify([text]) for text in texts))
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from functools import partial
from numbers import Real
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from slipway.client import tensors, transport
from slipway.client.tensors import Classification, Tagging, Tensors
from slipway.client.texts import Sentences, Texts, as_list, sentence_rows, text_rows
from slipway.client.transport import Connection, Options, RequestRefused
from slipway.contract.records import MAX_BATCH, TEXT_MODEL
from slipway.errors import ServerError

_T = TypeVar("_T")


class AsyncClient:
    """A client for asyncio. It belongs to the event loop that runs when it is made.

    `address` is `host:port` (HTTP), or a URL with http://, https://, grpc:// or grpcs://; another
    raises ServerError. Nothing is sent before the first call. Close with `async with` or `close`.

    Any number of calls may be in flight; a cancelled call ends its request. Answers come in the
    order of the questions, of which one call takes any number: they travel in requests of up to 32.

    `deadline` is the seconds of a whole call, instead of the options'. Every call raises
    ServerError       when the deadline passes, an answer has not a row for each text, or what was
                      passed is no text: by its place and by what it is, before anything is sent;
    RequestRefused    (a ServerError) when the server will not answer, such as for an empty text;
    Unavailable       (a ServerError) when it is not there, after the options' retries.
    The error names the id under which the server's log has all requests of the call.
    """

    def __init__(self, address: str, options: Options | None = None) -> None:
        self._options = options or Options()
        self._connection = Connection(address, self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def task(self, deadline: float | None = None) -> str:
        """Return the task of text_classifier: "single_text", "text_pair" or "tagging"."""
        [names] = await self._ask([partial(self._connection.names, TEXT_MODEL, "inputs")], deadline)
        return "tagging" if "words" in names else "text_pair" if "text_b" in names else "single_text"

    async def outputs(self, model: str = TEXT_MODEL, deadline: float | None = None) -> set[str]:
        """Return the names of a served model's outputs."""
        [names] = await self._ask([partial(self._connection.names, model, "outputs")], deadline)
        return names

    async def labels(self, deadline: float | None = None, model: str = TEXT_MODEL) -> tuple[str, ...]:
        """Return a classifier's labels in the order of its logits; () where the server has none.

        The server names them with an answer alone, so a text is sent, or a pair.
        """
        task = await self.task(deadline)
        if task == "tagging":
            return ()
        [request] = tensors.text_requests([(b"labels",) * (2 if task == "text_pair" else 1)])
        try:
            [ranked] = await self._ask([partial(self._connection.ranked, model, request)], deadline)
        except RequestRefused:  # by something in between that knows no classification
            return ()
        return tensors.label_names(ranked)

    async def classify(self, texts: Texts, deadline: float | None = None, model: str = TEXT_MODEL) -> list[Classification]:
        """Return one Classification for each text, or for each pair: a list or tuple of two texts.

        One string is one text. Bytes are read as UTF-8. Generators, arrays and columns of tables
        are read as lists are. A text may be longer than the model reads: its beginning is
        classified, and `truncated` set. A mix of texts and pairs raises ServerError unasked.
        """
        parts = await self._infer(model, tensors.text_requests(text_rows(texts)), deadline)
        return [answer for outputs in parts for answer in tensors.classifications(outputs)]

    async def tag(self, sentences: Sentences, deadline: float | None = None, model: str = TEXT_MODEL) -> list[Tagging]:
        """Return one Tagging for each sentence, a sequence of words; each word has its label.

        A sentence that is one string raises ServerError unasked: it has to be split into words.
        """
        rows = sentence_rows(sentences)
        parts = await self._infer(model, tensors.sentence_requests(rows), deadline)
        lengths = iter([len(row) for row in rows])
        return [answer for outputs in parts for answer in tensors.taggings(outputs, [next(lengths) for _ in outputs["label"]])]

    async def logits(
        self, model: str, ids: NDArray[np.int32], types: NDArray[np.int32] | None = None, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Return the logits, float32, of `bert_<variant>` for `ids`, int32 [batch, tokens].

        `ids` are word pieces with [CLS] and [SEP], padded with 0. A classifier's logits are
        [batch, labels], a tagger's [batch, tokens, labels]. A model of text pairs needs `types`
        too, int32 [batch, tokens]: 1 in the second text, else 0. Raises RequestRefused for other
        shapes, or for a model that is not served.
        """
        parts = await self._infer(model, tensors.ids_requests(ids, types), deadline)
        return np.concatenate([outputs["logits"] for outputs in parts])

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _infer(self, model: str, requests: list[Tensors], deadline: float | None) -> list[Tensors]:
        call = secrets.token_hex(8)
        asks = [
            partial(self._connection.infer, model, request, call, number * MAX_BATCH if len(requests) > 1 else None)
            for number, request in enumerate(requests)
        ]
        answers = await self._ask(asks, deadline, call)
        for request, outputs in zip(requests, answers, strict=True):
            tensors.refuse_other_rows(request, outputs, model)
        return answers

    async def _ask(self, requests: Sequence[Callable[[], Awaitable[_T]]], deadline: float | None, call: str = "") -> list[_T]:
        """Send one request after the other, all within the deadline. `call` is their id."""
        seconds = self._options.deadline if deadline is None else deadline
        if not (isinstance(seconds, Real) and seconds > 0):  # also not NaN, which no time would reach
            fix = "pass another deadline"
            raise ServerError(
                "this is no deadline", expected="seconds above 0", found=repr(seconds), where="the argument deadline", fix=fix
            )
        end = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(end):
                return [await transport.persist(request, self._options.retries, end) for request in requests]
        except TimeoutError as error:
            raise self._connection.late(seconds, call) from error


class Client:
    """A client that waits for its answers, for any number of threads.

    Arguments, methods, units and errors are those of AsyncClient; `aio` is one, in a thread of its
    own. Ctrl-C in a call ends its request. Close it with `with` or `close`.
    """

    def __init__(self, address: str, options: Options | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slipway client", daemon=True)
        self._thread.start()
        try:
            self.aio = self._wait(_connected(address, options))
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def task(self, deadline: float | None = None) -> str:
        """Return the task: "single_text", "text_pair" or "tagging"; see AsyncClient.task."""
        return self._wait(self.aio.task(deadline))

    def outputs(self, model: str = TEXT_MODEL, deadline: float | None = None) -> set[str]:
        """Return the names of a model's outputs; see AsyncClient.outputs."""
        return self._wait(self.aio.outputs(model, deadline))

    def labels(self, deadline: float | None = None, model: str = TEXT_MODEL) -> tuple[str, ...]:
        """Return a classifier's labels in the order of its logits; see AsyncClient.labels."""
        return self._wait(self.aio.labels(deadline, model))

    def classify(self, texts: Texts, deadline: float | None = None, model: str = TEXT_MODEL) -> list[Classification]:
        """Return one answer for each text or pair; see AsyncClient.classify."""
        # A generator runs in the thread that calls: it may ask this client itself.
        return self._wait(self.aio.classify(as_list(texts, "texts"), deadline, model))

    def tag(self, sentences: Sentences, deadline: float | None = None, model: str = TEXT_MODEL) -> list[Tagging]:
        """Return one answer for each sentence of words; see AsyncClient.tag."""
        return self._wait(self.aio.tag(sentence_rows(sentences), deadline, model))

    def logits(
        self, model: str, ids: NDArray[np.int32], types: NDArray[np.int32] | None = None, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Return logits, [batch, labels] or [batch, tokens, labels]; see AsyncClient.logits."""
        return self._wait(self.aio.logits(model, ids, types, deadline))

    def start(self, call: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Begin a call such as `server.aio.classify(texts)`, and return its future.

        `.result()` waits for the answer and raises its error, `.cancel()` ends the request.
        """
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def close(self) -> None:
        """End what is still in flight, and close the connection."""
        try:
            self._wait(self._end_calls())
        finally:
            self._stop()

    def _wait(self, call: Coroutine[Any, Any, _T]) -> _T:
        future = self.start(call)
        try:
            return future.result()
        except BaseException:  # Ctrl-C: the answer is not waited for any more
            future.cancel()
            raise

    async def _end_calls(self) -> None:
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self.aio.close()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _connected(address: str, options: Options | None) -> AsyncClient:
    return AsyncClient(address, options)  # in the loop that it belongs to
