"""SavedModel → onnx_fp32: by tf2onnx, then rewritten as the canonical encoder where recognised."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from export.graph import canonical, extract_weights, tf2onnx_process
from export.graph.bert import Bert
from export.session import open_onnx
from slipway.contract import bundle
from slipway.contract.ragged import Ragged, unpadded
from slipway.errors import ConversionError

_PROBE_LENGTHS = (3, 9, 16, 24)  # tokens
# Max |Δlogit| between tf2onnx's graph and the canonical one ÷ the logits' deviation, on a handful
# of rows.
_SELF_CHECK = 1e-3


def convert(saved_model: Path, raw: Path, target: Path) -> str:
    """Write tf2onnx's graph to `raw`, the graph of record to `target`; return how it was made.

    Raises ConversionError.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        _run_tensorflow(saved_model, Path(scratch))
        (Path(scratch) / tf2onnx_process.GRAPH).rename(raw)
        variables = tf2onnx_process.read_variables(Path(scratch))
    try:
        bert = extract_weights.bert(variables, onnx.load(raw).graph)
    except extract_weights.NotRecognised as reason:
        return _generic(raw, target, str(reason))
    model = canonical.write(bert)
    onnx.save(model, target)
    onnx.checker.check_model(str(target), full_check=True)
    difference = _difference(raw, target, bert)
    if not difference <= _SELF_CHECK:  # so that NaN is a difference
        return _generic(raw, target, f"rewritten as the canonical encoder, logits differ by {difference:.3g} of their deviation")
    return f"canonical encoder, {len(bert.layers)} layers, {bert.gelu} GELU"


def _run_tensorflow(saved_model: Path, target: Path) -> None:
    """Run TensorFlow as its own process, so that memory is given back. Raises ConversionError."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "export.graph.tf2onnx_process", str(saved_model), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if (target / tf2onnx_process.FAILURE).is_file():
        raise ConversionError(**json.loads((target / tf2onnx_process.FAILURE).read_text("utf-8")))
    if done.returncode != 0:
        tail = "\n    ".join(done.stderr.splitlines()[-8:])
        raise ConversionError(
            "tf2onnx could not convert the SavedModel",
            expected="an ONNX file",
            found=tail or f"exit status {done.returncode} (-9: killed, for want of memory?)",
            where=str(saved_model),
            fix="look at the message of tf2onnx above, or "
            + bundle.made_by(saved_model.parents[1], saved_model.with_name(bundle.MANIFEST), over=True),
        )


def optimize(source: Path, target: Path) -> None:
    """Write the graph with ONNX Runtime's own fusions, where it is not the canonical encoder."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _generic(raw: Path, target: Path, reason: str) -> str:
    onnx.checker.check_model(str(raw), full_check=True)
    shutil.copyfile(raw, target)
    return f"tf2onnx's graph as it is: not recognised as a TF Hub BERT ({reason})"


def _difference(left: Path, right: Path, bert: Bert) -> float:
    """Return max |Δlogit| of two files on random pairs, in standard deviations of the logits.

    Infinite when one does not run.
    """
    random = np.random.default_rng(0)
    lengths = [min(length, len(bert.position_embeddings)) for length in _PROBE_LENGTHS]
    types = [(np.arange(length) > length // 2) * (len(bert.type_embeddings) - 1) for length in lengths]
    feed = Ragged.of([random.integers(1, len(bert.word_embeddings), length) for length in lengths], types).padded()
    try:
        with open_onnx(left) as a, open_onnx(right) as b:
            expected, logits = unpadded(a.infer(feed), feed), unpadded(b.infer(feed), feed)
    except Exception:  # ONNX Runtime's own; the generic path then says what is wrong
        return float("inf")
    same_shape = expected.shape == logits.shape
    return float(np.abs(expected - logits).max() / (expected.std() or 1)) if same_shape else float("inf")
