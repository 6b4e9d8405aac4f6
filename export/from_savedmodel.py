"""SavedModel → onnx_fp32: through tf2onnx, then rewritten as the canonical encoder when it is recognised as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from export import canonical_graph, recognise, runner
from export.graph_writer import OPSET
from train.errors import ConversionError
from train.ragged import pad

_PROBE_LENGTHS = (3, 9, 16, 24)  # tokens
_SELF_CHECK = 1e-3  # max |Δlogit| between tf2onnx's graph and the canonical one, on a handful of rows


def command(saved_model: Path, target: Path) -> list[str]:
    """tf2onnx's own command line; as a process, so that TensorFlow's memory is given back."""
    arguments = ["--saved-model", str(saved_model), "--output", str(target), "--opset", str(OPSET)]
    return [sys.executable, "-m", "tf2onnx.convert", *arguments, "--signature_def", "serving_default", "--tag", "serve"]


def convert(saved_model: Path, raw: Path, target: Path) -> str:
    """Write tf2onnx's graph to `raw` and the graph of record to `target`; returns how the latter was made."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TF_USE_LEGACY_KERAS": "1"}
    done = subprocess.run(command(saved_model, raw), capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise ConversionError(
            "tf2onnx could not convert the SavedModel",
            expected="an ONNX file",
            found="\n    ".join(done.stderr.splitlines()[-8:]),
            where=str(saved_model),
            mend="make train, or look at the message of tf2onnx above",
        )
    try:
        bert = recognise.bert(recognise.variables(saved_model), onnx.load(raw).graph)
    except recognise.NotRecognised as reason:
        return _generic(raw, target, str(reason))
    model = canonical_graph.write(bert)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)
    difference = _difference(raw, target, vocabulary=len(bert.word_embeddings))
    if not difference <= _SELF_CHECK:  # so that NaN is a difference
        return _generic(raw, target, f"rewritten as the canonical encoder, logits differ by {difference:.3g}")
    return f"canonical encoder, {len(bert.layers)} layers, {bert.gelu} GELU"


def optimize(source: Path, target: Path) -> None:
    """ONNX Runtime's own fusions, for a graph that is not the canonical encoder."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _generic(raw: Path, target: Path, reason: str) -> str:
    target.write_bytes(raw.read_bytes())
    return f"tf2onnx's graph as it is: not recognised as a TF Hub BERT ({reason})"


def _difference(left: Path, right: Path, vocabulary: int) -> float:
    """Max |Δlogit| of two files on random rows of unequal length."""
    random = np.random.default_rng(0)
    feed = pad([random.integers(1, vocabulary, length).astype(np.int32) for length in _PROBE_LENGTHS])
    with runner.open_session(left) as a, runner.open_session(right) as b:
        return float(np.abs(a.infer(feed) - b.infer(feed)).max())
