"""SavedModel → SavedModel with TensorRT segments, by TensorFlow's own converter. The legacy leg, for TensorFlow up to 2.17."""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.tensorrt_engine import Profile
from train.ragged import INPUTS


def missing() -> str:
    """ "" when the converter can run, else what is not there.

    Asked before TensorFlow is: trt_convert aborts the whole process when libnvinfer is missing.
    """
    found = [name for name in ("nvinfer", "nvinfer_plugin", "cuda") if not ctypes.util.find_library(name)]
    return "no " + " and no ".join(f"lib{name}" for name in found) if found else ""


def corners(profiles: list[Profile]) -> list[tuple[int, int]]:
    """The (batch, sequence) shapes `build` runs once each, so that no engine is built at the first request."""
    return sorted({corner for profile in profiles for corner in (profile.least, profile.best, profile.most)})


def convert(source: Path, target: Path, precision: str, profiles: list[Profile]) -> str:
    """Convert and build; returns how. `precision` is fp32 or fp16."""
    from tensorflow.python.compiler.tensorrt import trt_convert

    converter = trt_convert.TrtGraphConverterV2(
        input_saved_model_dir=str(source),
        precision_mode=precision.upper(),
        use_dynamic_shape=True,
        dynamic_shape_profile_strategy="Optimal",
    )
    converter.convert()
    converter.build(input_fn=lambda: _feeds(profiles))
    converter.save(str(target))
    return f"TF-TRT {precision}, dynamic shapes, built for {len(corners(profiles))} shapes"


def _feeds(profiles: list[Profile]) -> Iterator[list[NDArray[np.int32]]]:
    for shape in corners(profiles):
        yield [np.ones(shape, np.int32) for _ in INPUTS]
