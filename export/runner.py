"""Run an artifact in its runtime: `with open_artifact(artifact) as session: session.infer(feed)`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import onnxruntime

from export import precision, safety, tensorrt_engine, tftrt
from export.artifact import Artifact
from export.engine_plan import Fingerprint
from export.variants import PROVIDER_OPTIONS
from train.ragged import Feed, Logits


class Session(Protocol):
    """A loaded model: int32 [batch, sequence] arrays → float32 logits [batch, labels], of a tagger [batch, sequence, labels]."""

    @property
    def provider(self) -> str:
        """What it runs on, as its runtime calls it."""

    def infer(self, feed: Feed) -> Logits: ...


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int, providers: tuple[str, ...]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # errors are raised; they need not be printed too
        here = [name for name in providers if name in onnxruntime.get_available_providers()] or ["CPUExecutionProvider"]
        chosen = [(name, PROVIDER_OPTIONS.get(name, {})) for name in here]
        self._session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
        self.provider: str = self._session.get_providers()[0]
        self._inputs = {node.name for node in self._session.get_inputs()}

    def infer(self, feed: Feed) -> Logits:
        logits: Logits = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        return logits


@contextmanager
def open_onnx(path: Path, threads: int = 0, providers: tuple[str, ...] = ("CPUExecutionProvider",)) -> Iterator[Session]:
    """An ONNX file in ONNX Runtime, on `threads` threads (0: every core this process may use)."""
    yield _OnnxRuntime(path, threads or len(os.sched_getaffinity(0)), providers)


@contextmanager
def open_artifact(artifact: Artifact) -> Iterator[Session]:
    """An artifact in its variant's runtime. Raises ConversionError when it is not safe to load, or was built elsewhere."""
    runtime = artifact.variant.runtime
    if runtime == "tensorrt":
        with tensorrt_engine.open_engine(artifact.model, _fingerprint(artifact)) as engine:
            yield engine
    elif runtime == "tf-trt":
        with tftrt.open_saved_model(artifact.model) as segments:
            yield segments
    else:
        safety.check_onnx(artifact.model)
        with open_onnx(artifact.model, providers=artifact.variant.providers) as session:
            yield session


def prove(artifact: Artifact) -> dict[str, Any]:
    """What the artifact really computes in, read out of it: "weights" is a share for each type."""
    if artifact.variant.runtime == "tensorrt":
        return tensorrt_engine.proof(artifact.model, _fingerprint(artifact))
    return tftrt.proof(artifact.model) if artifact.variant.runtime == "tf-trt" else precision.proof(artifact.model)


def _fingerprint(artifact: Artifact) -> Fingerprint:
    return Fingerprint.of(artifact.facts.get("fingerprint", {}))
