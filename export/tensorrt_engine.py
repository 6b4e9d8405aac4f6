"""ONNX → a strongly typed TensorRT engine, through Polygraphy. The precision is the graph's own; works on TensorRT 10 and 11.

This file is all that speaks to TensorRT. Its plan (profiles) is computed by pure functions.
"""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.ragged import INPUTS, Feed

_LIBRARIES = ("nvinfer", "cuda")  # the TensorRT runtime and the GPU's driver
_MULTIPLE = 16  # tokens; engines like lengths that fill a tile


@dataclass(frozen=True)
class Profile:
    """One optimization profile: the (batch, sequence) corners TensorRT builds kernels for."""

    least: tuple[int, int]
    best: tuple[int, int]
    most: tuple[int, int]


def plan_profiles(lengths: NDArray[np.int64], max_seq_len: int, max_batch: int) -> list[Profile]:
    """A profile for single texts and one for batches, each tuned for the corpus' median length."""
    median = min(max_seq_len, -(-int(np.median(lengths)) // _MULTIPLE) * _MULTIPLE)
    return [
        Profile((1, 1), (1, median), (1, max_seq_len)),
        Profile((1, 1), (max_batch, median), (max_batch, max_seq_len)),
    ]


def missing() -> str:
    """ "" when an engine can be built here, else what is not there."""
    found = [name for name in _LIBRARIES if not ctypes.util.find_library(name)]
    return "no " + " and no ".join(f"lib{name}" for name in found) if found else ""


def convert(source: Path, target: Path, profiles: list[Profile]) -> str:
    """Build the engine for this machine's GPU; returns how."""
    import tensorrt
    from polygraphy.backend import trt

    wanted = []
    for profile in profiles:
        shapes = trt.Profile()
        for name in INPUTS:
            shapes.add(name, min=profile.least, opt=profile.best, max=profile.most)
        wanted.append(shapes)
    network = trt.network_from_onnx_path(str(source), strongly_typed=True)
    engine = trt.engine_from_network(network, config=trt.CreateConfig(profiles=wanted))
    trt.save_engine(engine, str(target))
    return f"strongly typed engine, TensorRT {tensorrt.__version__}, {len(profiles)} profiles"


@contextmanager
def open_engine(path: Path, profile: int) -> Iterator[Engine]:
    """The engine, with the optimization profile of that number."""
    from polygraphy.backend import trt
    from polygraphy.backend.common import BytesFromPath

    with trt.TrtRunner(trt.EngineFromBytes(BytesFromPath(str(path))), optimization_profile=profile) as runner:
        yield Engine(runner)


class Engine:
    """`infer` takes int32 [batch, sequence] arrays and gives float32 [batch, labels]."""

    def __init__(self, runner: object) -> None:
        self._runner = runner

    def infer(self, feed: Feed) -> NDArray[np.float32]:
        outputs = self._runner.infer(feed, copy_outputs_to_host=True)  # type: ignore[attr-defined]
        logits: NDArray[np.float32] = np.asarray(outputs["logits"], np.float32)
        return logits
