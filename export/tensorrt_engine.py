"""ONNX → a strongly typed TensorRT engine, through Polygraphy. The precision is the graph's own; works on TensorRT 10 and 11.

This file is all that speaks to TensorRT. Its plan (profiles) is computed by pure functions.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.ragged import INPUTS

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
    found = [f"lib{name}" for name in _LIBRARIES if not ctypes.util.find_library(name)]
    found += [] if importlib.util.find_spec("tensorrt") else ["Python module tensorrt"]
    return "no " + " and no ".join(found) if found else ""


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
