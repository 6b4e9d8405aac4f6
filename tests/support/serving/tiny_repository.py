"""Tiny model repositories for the real Triton, made in milliseconds: no training, no export."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.model_config import Batching, ModelConfig, Tensor
from slipway.contract import manifest
from slipway.contract.records import MAX_BATCH, REPOSITORY, TEXT_MODEL
from tests.support.command import CHECKOUT

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
# "nan" makes logits that are no numbers; "breaks" is not in the model's table, so ONNX Runtime
# fails on it.
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "nan", "breaks")
LABELS = ("no", "yes")


@dataclass(frozen=True)
class Parts:
    """What a served model is made of."""

    graph: onnx.ModelProto
    words: Sequence[str] = WORDS
    labels: Sequence[str] = LABELS
    longest: int = 8  # tokens


def sleepers(run: Path, names: tuple[str, ...] = ("one", "two"), batching: Batching | None = None) -> Path:
    """A run whose repository has models of these names that sleep as long as they are asked to."""
    for name in names:
        x, y = Tensor("x", "FP32", (1,)), Tensor("y", "FP32", (1,))
        config = ModelConfig(name, (x,), (y,), SLEEPERS_BATCH, batching=batching or Batching())
        (config.write(run / "model_repository") / "model.py").write_text(SLEEPER)
    return _sealed(run)


def classifiers(run: Path, *, others: bool = False, golden: Sequence[int] = (2, 3)) -> Path:
    """A run with `text_classifier` and `ids`: our served models, on an ONNX file that fails on a
    word.

    With the `others` also `pairs`, `pair_ids` and `tagger`, which would be of runs of their own.
    `golden` are ids that both have to answer before they are ready.
    """
    return served(run, Parts(_means()), Parts(_table()) if others else None, golden)


def served(run: Path, parts: Parts, tagger: Parts | None = None, golden: Sequence[int] = (2, 3)) -> Path:
    """A run that serves these parts by text and by ids; with those of a `tagger` as the three
    others too.
    """
    _classifier(run, TEXT_MODEL, "single_text", ("text",), parts, golden)
    _classifier(run, "ids", "single_text", ("input_word_ids",), parts, golden)
    if tagger:
        _classifier(run, "pairs", "text_pair", ("text", "text_b"), parts)
        _classifier(run, "pair_ids", "text_pair", ("input_word_ids", "input_type_ids"), parts)
        _classifier(run, "tagger", "tagging", ("words",), tagger)
    return _sealed(run)


def _classifier(run: Path, name: str, task: str, inputs: tuple[str, ...], parts: Parts, golden: Sequence[int] = (2, 3)) -> None:
    ids, tagging = inputs[0] == "input_word_ids", task == "tagging"
    each = (-1,) if tagging else (1,)
    outputs = (
        Tensor("label", "STRING", each),
        Tensor("probability", "FP32", each),
        Tensor("logits", "FP32", (-1, len(parts.labels)) if tagging else (len(parts.labels),)),
        Tensor("truncated", "BOOL", (1,)),
        Tensor("tokens", "INT32", (1,)),
    )
    tensors = tuple(Tensor(one, "INT32" if ids else "STRING", (-1,) if ids else each, ragged=ids or tagging) for one in inputs)
    config = ModelConfig(name, tensors, outputs[2:3] if ids else outputs, MAX_BATCH)
    version = config.write(run / "model_repository")
    model = "ids_model.py" if ids else "text_model.py"
    for source in (CHECKOUT / "serving" / "backend").glob("[!_]*.py"):
        shutil.copyfile(source, version / ("model.py" if source.name == model else source.name))
    shutil.copyfile(CHECKOUT / "slipway" / "contract" / "tokenizer.py", version / "tokenizer.py")
    (version / "vocab.txt").write_text("\n".join(parts.words) + "\n", "utf-8")
    (version / "labels.txt").write_text("\n".join(parts.labels) + "\n", "utf-8")
    onnx.save(parts.graph, version / "model.onnx")
    manifest.write_json(version / "settings.json", _settings(version / "vocab.txt", task, parts, golden))


def _sealed(run: Path) -> Path:
    manifest.seal(run / "model_repository", REPOSITORY, {})
    return run


def _settings(vocabulary: Path, task: str, parts: Parts, golden: Sequence[int]) -> dict[str, object]:
    return {
        "task": task,
        "provider": "CPUExecutionProvider",
        "max_seq_len": parts.longest,
        "lower_case": True,
        "vocabulary_sha256": hashlib.sha256(vocabulary.read_bytes()).hexdigest(),
        "vocabulary_size": len(parts.words),
        "threads": 1,
        "cost": {"fixed": 1e-3, "per_token": 1e-6},
        "start_up": [{"text": None, "ids": list(golden), "types": [0] * len(golden)}],
    }


def mirror(longest: int) -> onnx.ModelProto:
    """ids [batch, tokens] → logits [batch, longest]: the ids themselves, and zeros behind them."""
    constants = {"longest": [longest], "before": [0, 0, 0]}
    nodes = [
        helper.make_node("Cast", ["input_word_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Shape", ["input_word_ids"], ["tokens"], start=1),
        helper.make_node("Sub", ["longest", "tokens"], ["missing"]),
        helper.make_node("Concat", ["before", "missing"], ["pads"], axis=0),
        helper.make_node("Pad", ["numbers", "pads"], ["logits"]),
    ]
    tables = [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in constants.items()]
    return _model(nodes, ["batch", longest], tables)


def _means() -> onnx.ModelProto:
    """The mean over a row's tokens, each out of a table in which the last word has no row."""
    nodes = [
        helper.make_node("Gather", ["table", "input_word_ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["logits"], axes=[1], keepdims=0),
    ]
    return _model(nodes, ["batch", len(LABELS)], [_rows()])


def _table() -> onnx.ModelProto:
    """Of a tagger: each token out of that table."""
    return _model(
        [helper.make_node("Gather", ["table", "input_word_ids"], ["logits"])], ["batch", "tokens", len(LABELS)], [_rows()]
    )


def _rows() -> onnx.TensorProto:
    rows = np.eye(len(WORDS) - 1, len(LABELS), dtype=np.float32)
    rows[WORDS.index("nan")] = np.nan
    return numpy_helper.from_array(rows, "table")


def _model(nodes: list[onnx.NodeProto], shape: list[object], constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    ids = helper.make_tensor_value_info("input_word_ids", TensorProto.INT32, ["batch", "tokens"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "tiny", [ids], [logits], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
