"""Tiny model repositories for the real Triton, made in milliseconds: no training, no export."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.model_config import Batching, ModelConfig, Tensor, Warmup
from serving.records import REPOSITORY, TEXT_MODEL
from tests.conftest import CHECKOUT
from train import manifest

# Answers `x` with itself, after x seconds.
SLEEPER = """
import time
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb.get_input_tensor_by_name(request, "x").as_numpy()
            time.sleep(float(x.max()))
            responses.append(pb.InferenceResponse([pb.Tensor("y", x)]))
        return responses
"""
SLEEPERS_BATCH = 4
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "breaks")  # the last is not in the model's table: ONNX Runtime fails on it
LABELS = ("no", "yes")


def sleepers(run: Path, names: tuple[str, ...] = ("one", "two"), batching: Batching | None = None) -> Path:
    """A run whose repository has models of these names that sleep as long as they are asked to."""
    for name in names:
        x, y = Tensor("x", "FP32", (1,)), Tensor("y", "FP32", (1,))
        config = ModelConfig(name, (x,), (y,), SLEEPERS_BATCH, batching=batching or Batching())
        (config.write(run / "model_repository") / "model.py").write_text(SLEEPER)
    return _sealed(run)


def classifiers(run: Path, warm_up: str = "") -> Path:
    """A run with `text_classifier` and `ids`: our served models, on an ONNX file that fails on the word "breaks" (id 5).

    `warm_up` is a text that text_classifier has to answer before it is ready.
    """
    outputs = (
        Tensor("label", "STRING", (1,)),
        Tensor("probability", "FP32", (1,)),
        Tensor("logits", "FP32", (len(LABELS),)),
        Tensor("truncated", "BOOL", (1,)),
        Tensor("tokens", "INT32", (1,)),
    )
    samples = (Warmup("text", {"text": np.array([warm_up.encode()], object)}),) if warm_up else ()
    text = ModelConfig(TEXT_MODEL, (Tensor("text", "STRING", (1,)),), outputs, 4, warmup=samples)
    ids = ModelConfig("ids", (Tensor("input_word_ids", "INT32", (-1,), ragged=True),), (outputs[2],), 4)
    for config, model in ((text, "text_model.py"), (ids, "ids_model.py")):
        version = config.write(run / "model_repository")
        for source in (CHECKOUT / "serving" / "backend").glob("*.py"):
            shutil.copyfile(source, version / ("model.py" if source.name == model else source.name))
        shutil.copyfile(CHECKOUT / "train" / "tokenizer.py", version / "tokenizer.py")
        (version / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        (version / "labels.txt").write_text("\n".join(LABELS) + "\n")
        onnx.save(_failing_model(), version / "model.onnx")
        manifest.write_json(version / "settings.json", _settings(version / "vocab.txt"))
    return _sealed(run)


def _sealed(run: Path) -> Path:
    manifest.seal(run / "model_repository", REPOSITORY, {})
    return run


def _settings(vocabulary: Path) -> dict[str, object]:
    return {
        "task": "single_text",
        "provider": "CPUExecutionProvider",
        "max_seq_len": 8,
        "lower_case": True,
        "vocabulary_sha256": hashlib.sha256(vocabulary.read_bytes()).hexdigest(),
        "vocabulary_size": len(WORDS),
        "threads": 1,
        "cost": {"fixed": 1e-3, "per_token": 1e-6},
    }


def _failing_model() -> onnx.ModelProto:
    """Mean over the tokens of a row each out of a table, in which the last word has none."""
    table = numpy_helper.from_array(np.eye(len(WORDS) - 1, len(LABELS), dtype=np.float32), "table")
    nodes = [
        helper.make_node("Gather", ["table", "input_word_ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["logits"], axes=[1], keepdims=0),
    ]
    ids = helper.make_tensor_value_info("input_word_ids", TensorProto.INT32, ["batch", "tokens"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])
    graph = helper.make_graph(nodes, "failing", [ids], [logits], [table])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
