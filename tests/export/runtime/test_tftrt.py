"""What of the TF-TRT leg can be tested without TensorRT: what is missing, what is built, what a
converted graph counts as.
"""

from __future__ import annotations

import importlib.util
import subprocess
from ast import literal_eval
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export.runtime import tensorrt_profiles, tftrt
from slipway import provenance
from slipway.contract.ragged import INPUTS
from slipway.errors import ToolError
from slipway.provenance import Gpu
from tests.support.command import succeed


@pytest.fixture(autouse=True)
def _ask_anew() -> None:
    tftrt.missing.cache_clear()


def no_gpu() -> Gpu:
    raise ToolError("no GPU", expected="one", found="no libcuda.so.1", where="here", fix="none")


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
def test_tensorflow_is_asked_which_tensorrt_it_opens_without_aborting_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "current_gpu", lambda: Gpu("H200", "9.0", "580"))
    if not tftrt.missing():
        pytest.skip("this machine has TF-TRT's libraries")
    assert tftrt.missing() == "no libnvinfer.so.8.6.1, no libnvinfer_plugin.so.8.6.1, which this TensorFlow opens"


def answered(text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=text))
    return tftrt.missing()


def test_nothing_is_missing_when_tensorflow_found_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "current_gpu", lambda: Gpu("H200", "9.0", "580"))
    assert answered("10.8.0 True\n", monkeypatch) == ""


def test_the_libraries_and_the_gpu_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "current_gpu", no_gpu)
    result = answered("8.6.1 False\n", monkeypatch)
    assert result == "no libnvinfer.so.8.6.1, no libnvinfer_plugin.so.8.6.1, which this TensorFlow opens, no libcuda.so.1"


def test_a_process_that_died_answering_is_no_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "current_gpu", lambda: Gpu("H200", "9.0", "580"))
    assert answered("", monkeypatch) != ""


def test_a_tensorflow_without_tftrt_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    assert "the last one with it is 2.17" in tftrt.missing()


PROFILES = tensorrt_profiles.plan_profiles(np.array([20] * 90 + [400] * 10), max_seq_len=512, max_batch=32)


def test_the_corners_of_the_two_general_profiles_are_built_once_each() -> None:
    assert tftrt.corners(PROFILES) == [(1, 1), (1, 32), (32, 32), (32, 512)]


def test_what_is_built_is_fed_by_name() -> None:
    feeds = list(tftrt._feeds(PROFILES))
    assert all(set(feed) == set(INPUTS) for feed in feeds)
    assert [feed["input_mask"].shape for feed in feeds] == tftrt.corners(PROFILES)


# A GraphDef as TF-TRT leaves it: the signature calls a function that holds two segments and one
# multiplication that stayed outside.
GRAPH = """
from dataclasses import asdict
from tensorflow.core.framework import graph_pb2
from export.runtime import tftrt

graph = graph_pb2.GraphDef()
graph.node.add(name="call", op="StatefulPartitionedCall")

def function(name, *operators):
    added = graph.library.function.add()
    added.signature.name = name
    for operator in operators:
        added.node_def.add(name=operator.lower(), op=operator)
    return added

outer = function("__inference_pruned_12", "BatchMatMulV2", "GatherV2")
names = ["TRTEngineOp_000_000", "TRTEngineOp_000_001"]
for name in names:
    function(f"{name}_native_segment", "MatMul", "Einsum", "Erf")
    segment = outer.node_def.add(name=name, op="TRTEngineOp")
    segment.attr["precision_mode"].s = b"FP16"
    segment.attr["segment_func"].func.name = f"{name}_native_segment"

print(asdict(tftrt.count_segments(graph, set(names))))
print(asdict(tftrt.count_segments(graph, set(names[:1]))))
print(asdict(tftrt.count_segments(graph_pb2.GraphDef(), set())))
"""


@pytest.fixture(scope="module")
def counted() -> list[dict[str, object]]:
    """In a process of its own: TensorFlow's protobufs bring TensorFlow."""
    return [literal_eval(line) for line in succeed("-c", GRAPH).splitlines()]


def test_multiplications_inside_and_outside_of_segments_are_counted(counted: list[dict[str, object]]) -> None:
    expected = {
        "segments": 2,
        "segments_without_engine": 0,
        "nodes_inside": 6,
        "nodes_outside": 3,
        "multiplications_inside": {"fp16": 4},
        "multiplications_outside": 1,
        "coverage": 0.8,
    }
    assert expected.items() <= counted[0].items()


def test_a_segment_whose_engine_was_not_built_runs_in_tensorflow(counted: list[dict[str, object]]) -> None:
    assert (counted[1]["segments_without_engine"], counted[1]["coverage"]) == (1, 0.4)


def test_a_graph_without_multiplications_covers_nothing(counted: list[dict[str, object]]) -> None:
    assert counted[2]["coverage"] == 0.0


def test_what_stayed_outside_is_fp32_in_the_proof(counted: list[dict[str, Any]]) -> None:
    assert counted[0]["weights"] == {"fp16": 0.8, "fp32": 0.2}


UNCONVERTED = """
import sys
from pathlib import Path
import numpy as np, tensorflow as tf
from export.runtime import tftrt
from slipway.contract.ragged import Ragged
class Model(tf.Module):
    def __init__(self):
        self.table = tf.Variable(tf.random.stateless_normal((50, 8), (1, 2)))
        self.head = tf.Variable(tf.random.stateless_normal((8, 3), (3, 4)))
    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, name=name) for name in
                                  ("input_word_ids", "input_mask", "input_type_ids")])
    def __call__(self, input_word_ids, input_mask, input_type_ids):
        words = tf.gather(self.table, input_word_ids) * tf.cast(input_mask, tf.float32)[:, :, None]
        return {"logits": tf.matmul(tf.reduce_sum(words, 1), self.head)}
model, path = Model(), Path(sys.argv[1])
tf.saved_model.save(model, str(path), signatures=model.__call__)
feed = Ragged.of([[1, 2, 3], [4, 5]]).padded()
with tftrt.open_saved_model(path) as session:
    del model.table  # what was loaded stands on its own
    words = session.infer(feed)
    assert words.dtype == np.float32 and words.shape == (2, 3), words
    assert not np.allclose(words[0], words[1])
    measured = tftrt.coverage(path)
    print(measured.coverage, measured.weights, session.provider.startswith("TensorFlow 2.17"))
"""


def test_a_saved_model_runs_through_its_signature_and_unconverted_covers_nothing(tmp_path: Path) -> None:
    assert succeed("-c", UNCONVERTED, tmp_path / "model").strip() == "0.0 {'fp32': 1.0} True"
