"""An ONNX file in ONNX Runtime: `with open_onnx(path) as session: session.infer(feed)`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import onnxruntime

from slipway.contract.ragged import Feed, Logits
from slipway.contract.variants import PROVIDER_OPTIONS


class Session(Protocol):
    """A loaded model, in whatever runtime."""

    @property
    def provider(self) -> str:
        """The processor and library it runs on, as its runtime names them."""

    def infer(self, feed: Feed) -> Logits:
        """Return float32 logits of int32 [batch, sequence] arrays.

        classifier: [batch, labels]; tagger: [batch, sequence, labels].
        """


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int, providers: tuple[str, ...]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # errors are raised; they need not be printed too
        available = onnxruntime.get_available_providers()
        names = [name for name in providers if name in available] or ["CPUExecutionProvider"]
        chosen = [(name, PROVIDER_OPTIONS.get(name, {})) for name in names]
        self._session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
        self.provider: str = self._session.get_providers()[0]
        self._inputs = {node.name for node in self._session.get_inputs()}

    def infer(self, feed: Feed) -> Logits:
        logits: Logits = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        return logits


@contextmanager
def open_onnx(path: Path, threads: int = 0, providers: tuple[str, ...] = ("CPUExecutionProvider",)) -> Iterator[Session]:
    """Load an ONNX file, to run on `threads` threads (0: every core this process may use)."""
    yield _OnnxRuntime(path, threads or len(os.sched_getaffinity(0)), providers)
