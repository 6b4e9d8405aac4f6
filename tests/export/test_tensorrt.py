"""What of the TensorRT legs can be tested without TensorRT: their plans, and that they say what is missing."""

from __future__ import annotations

import ctypes.util
import importlib.util

import numpy as np
import pytest

from export import tensorrt_engine, tftrt

PROFILES = tensorrt_engine.plan_profiles(np.array([30, 50, 52, 90]), max_seq_len=128, max_batch=32)


def test_profiles_are_tuned_for_the_median_length_and_reach_every_corner() -> None:
    assert [(p.least, p.best, p.most) for p in PROFILES] == [((1, 1), (1, 64), (1, 128)), ((1, 1), (32, 64), (32, 128))]


def test_the_median_never_exceeds_the_longest_sequence() -> None:
    [single, _] = tensorrt_engine.plan_profiles(np.array([40, 40]), max_seq_len=40, max_batch=8)
    assert single.best == (1, 40)


def test_tftrt_builds_every_corner_once() -> None:
    assert tftrt.corners(PROFILES) == [(1, 1), (1, 64), (1, 128), (32, 64), (32, 128)]


@pytest.mark.parametrize("leg", [tensorrt_engine, tftrt])
def test_a_missing_library_is_named_before_anything_is_loaded(leg: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: "libcuda.so.1" if name == "cuda" else None)
    assert "no libnvinfer" in leg.missing()  # type: ignore[attr-defined]


@pytest.mark.parametrize("leg", [tensorrt_engine, tftrt])
def test_nothing_is_missing_when_every_library_is_there(leg: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert leg.missing() == ""  # type: ignore[attr-defined]
