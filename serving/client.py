"""Ask a running server: texts in, answers out, over HTTP or gRPC. Imports neither TensorFlow nor ONNX Runtime.

with client.connect("127.0.0.1:8000", "http") as server:
    for answer in server.classify(["Oil prices fall"]): print(answer.label)
    for answer in server.classify([("Is it raining?", "It pours.")]): print(answer.label)      # a model of text pairs
    for answer in server.tag([["Oil", "prices", "fall"]]): print(answer.labels)                # a tagger

async with client.connect_async("127.0.0.1:8001", "grpc", Options(deadline=2)) as server:      # many at once, cancelled as any task
    answers = await asyncio.gather(*(server.classify([text]) for text in texts))
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving import answers, retries
from serving.answers import Answer, Tagged, Tensors, utf8
from serving.connection import PROTOCOLS, Connection, Options, Refused, Tls, Unavailable
from serving.records import TEXT_MODEL

__all__ = [
    "PROTOCOLS",
    "Answer",
    "AsyncClient",
    "Client",
    "Options",
    "Refused",
    "Tagged",
    "Tls",
    "Unavailable",
    "connect",
    "connect_async",
    "utf8",
]
Texts = Sequence[str] | Sequence[Sequence[str]]  # or pairs
_T = TypeVar("_T")


class AsyncClient:
    """Answers in the order of the questions. Any number of calls may be in flight; a cancelled one ends its request.

    `deadline` is the seconds of a whole call, instead of the options'. All raise ServerError when it passes, Refused (such a
    ServerError) when the server will not answer, Unavailable when it is not there, retries included. The error names the id that
    all requests of the call had, under which the server's log has them.
    """

    def __init__(self, address: str, protocol: str, options: Options) -> None:
        self._connection, self._options = Connection(address, protocol, options), options

    async def task(self, deadline: float | None = None) -> str:
        """What the server's model does, one of bundle.TASKS, by the inputs it takes."""
        [names] = await self._ask([partial(self._connection.inputs, TEXT_MODEL)], deadline)
        return "tagging" if "words" in names else "text_pair" if "text_b" in names else "single_text"

    async def classify(self, texts: Texts, deadline: float | None = None, model: str = TEXT_MODEL) -> list[Answer]:
        """One answer per text or pair."""
        parts = await self._infer(model, answers.of_texts(texts), deadline)
        return [answer for outputs in parts for answer in answers.classified(outputs)]

    async def tag(self, sentences: Sequence[Sequence[str]], deadline: float | None = None, model: str = TEXT_MODEL) -> list[Tagged]:
        """One answer per sentence, each split into words."""
        parts = await self._infer(model, answers.of_sentences(sentences), deadline)
        words = iter([len(sentence) for sentence in sentences])
        return [one for outputs in parts for one in answers.tagged(outputs, [next(words) for _ in outputs["label"]])]

    async def logits(
        self, model: str, ids: NDArray[np.int32], types: NDArray[np.int32] | None = None, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Logits [batch, labels] of `bert_<variant>` for ids int32 [batch, tokens], 0 for padding.

        A tagger's are [batch, tokens, labels]. A model of text pairs wants `types` too, like the ids: 1 in the second text, else 0.
        """
        inputs: Tensors = {"input_word_ids": ids} | ({} if types is None else {"input_type_ids": types})
        return np.concatenate([outputs["logits"] for outputs in await self._infer(model, answers.batches(inputs), deadline)])

    async def _infer(self, model: str, requests: list[Tensors], deadline: float | None) -> list[Tensors]:
        call = secrets.token_hex(8)
        return await self._ask([partial(self._connection.infer, model, one, call) for one in requests], deadline, call)

    async def _ask(self, requests: list[Callable[[], Awaitable[_T]]], deadline: float | None, call: str = "") -> list[_T]:
        """The requests' answers, one after the other, all within the deadline. `call` is their id."""
        seconds = self._options.deadline if deadline is None else deadline
        end = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(end):
                return [await retries.persist(request, self._options.retries, end) for request in requests]
        except TimeoutError as error:
            raise self._connection.late(seconds, call) from error

    async def close(self) -> None:
        await self._connection.close()


class Client:
    """The same, waiting: `aio` is an AsyncClient in a thread of its own. May be used by several threads at once."""

    def __init__(self, address: str, protocol: str, options: Options) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slipway client", daemon=True)
        self._thread.start()
        try:
            self.aio = self._wait(_made(address, protocol, options))
        except BaseException:
            self._end()
            raise

    def task(self, deadline: float | None = None) -> str:
        return self._wait(self.aio.task(deadline))

    def classify(self, texts: Texts, deadline: float | None = None, model: str = TEXT_MODEL) -> list[Answer]:
        return self._wait(self.aio.classify(texts, deadline, model))

    def tag(self, sentences: Sequence[Sequence[str]], deadline: float | None = None, model: str = TEXT_MODEL) -> list[Tagged]:
        return self._wait(self.aio.tag(sentences, deadline, model))

    def logits(
        self, model: str, ids: NDArray[np.int32], types: NDArray[np.int32] | None = None, deadline: float | None = None
    ) -> NDArray[np.float32]:
        return self._wait(self.aio.logits(model, ids, types, deadline))

    def start(self, call: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Begin a call such as `server.aio.classify(texts)`; `.result()` waits for its answer, `.cancel()` ends its request."""
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def close(self) -> None:
        """Ends what is still in flight."""
        try:
            self._wait(self._close())
        finally:
            self._end()

    def _wait(self, call: Coroutine[Any, Any, _T]) -> _T:
        future = self.start(call)
        try:
            return future.result()
        except BaseException:  # Ctrl-C: the answer is not waited for any more
            future.cancel()
            raise

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for one in others:
            one.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.aio.close()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _made(address: str, protocol: str, options: Options) -> AsyncClient:
    return AsyncClient(address, protocol, options)  # belongs to the loop it is made in


@contextmanager
def connect(address: str, protocol: str, options: Options | None = None) -> Iterator[Client]:
    """A client for the block. `protocol` is http or grpc; nothing is sent before the first question."""
    server = Client(address, protocol, options or Options())
    try:
        yield server
    finally:
        server.close()


@asynccontextmanager
async def connect_async(address: str, protocol: str, options: Options | None = None) -> AsyncIterator[AsyncClient]:
    """As `connect`, in a running event loop."""
    server = AsyncClient(address, protocol, options or Options())
    try:
        yield server
    finally:
        await server.close()
