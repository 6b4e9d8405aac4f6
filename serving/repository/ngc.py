"""Models for NVIDIA's container, one ensemble: a tokenizer, an engine of Triton's own, an answer.

Tokenizer and answer are Python models. `text_classifier` has the inputs and outputs of the embedded
one. docs/configuration.md says what each number is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.model_config import Batching, Ensemble, EnsembleStep, Instances, ModelConfig, Queue, RowLengths, Tensor, Warmup
from serving.repository import embedded, model_files, ragged_onnx
from serving.repository.embedded import COUNTS
from slipway.contract import artifact, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.ragged import INPUTS, Ragged
from slipway.contract.records import MAX_BATCH, TEXT_MODEL
from slipway.errors import ConversionError

# A list and no measurement: the gate times engines on its own machine, and the container runs them
# on another. TensorRT's first: tuned to the corpus' lengths. FP32 was compared on a CPU, and runs
# on a GPU where there is one: without TF32 it differs by the order of additions. onnx_fp16 only on
# request: where it was compared on a CPU, that computed in FP32, and hid what overflows on a GPU.
FASTEST_FIRST = ("tensorrt_fp16", "tensorrt_fp32", "ort_fp32", "onnx_fp32")
ENGINES = (*FASTEST_FIRST, "onnx_fp16", "ort_int8")
TOKENIZER, ANSWER = "tokenizer", "answer"

_QUEUE = Queue(size=8 * MAX_BATCH, timeout=5_000_000)
_PYTHON = Instances(count=2)  # processes of each Python model
_WIDTHS, _TILE = 4, 16  # different widths of rows for TensorRT, in multiples of so many tokens
_CHECKED_ROWS, _TOLERANCE = 64, 1e-4  # |Δlogit| of the flat graph: the same nodes on the same padded rows


def write(repository: Path, converted: Artifact, source: Bundle, golden: Golden, priorities: int = 0) -> None:
    """Write the four models. Raises ConversionError if the engine answers unlike the artifact."""
    engine = engine_config(converted, source, golden, priorities)
    version = engine.write(repository)
    if converted.variant.runtime == "tensorrt":
        model_files.link_model(converted, version / converted.variant.model_file)
    else:
        _write_flat(converted, source, golden, version / converted.variant.model_file)
    start_up = artifact.verdict(converted, source.sha256)["start_up"]
    _write_tokenizer(repository, source, golden, engine, start_up, priorities)
    _write_answer(repository, source, engine, priorities)
    embedded.copy_labels(version, source)
    # Also a tagger's, which names none: an object store may lose a version without a file.
    embedded.copy_labels(ensemble(source, engine).write(repository), source)


def engine_config(converted: Artifact, source: Bundle, golden: Golden, priorities: int = 0) -> ModelConfig:
    """Configure bert_<variant>, on the backend of its runtime."""
    outputs = (embedded.logits_output(source),)
    batching = Batching(queue=_QUEUE, priorities=priorities)
    name = f"bert_{converted.variant.name}"
    if converted.variant.runtime == "tensorrt":
        inputs = tuple(Tensor(tensor, "INT32", (-1,)) for tensor in INPUTS)
        gpu = Instances("KIND_GPU")
        warmup = _padded_warmup(golden, widths(source, golden))
        return ModelConfig(name, inputs, outputs, MAX_BATCH, "tensorrt", batching, gpu, warmup=warmup)
    providers = converted.variant.providers
    on_gpu, on_cpu = "CUDAExecutionProvider" in providers, "CPUExecutionProvider" in providers
    return ModelConfig(
        name,
        embedded.ids_inputs(source),
        outputs,
        MAX_BATCH,
        "onnxruntime",
        batching,
        Instances("KIND_AUTO" if on_gpu and on_cpu else "KIND_GPU" if on_gpu else "KIND_CPU"),
        RowLengths(ragged_onnx.LENGTHS, ragged_onnx.IDS),
        _flat_warmup(source, golden),
        cuda={"use_tf32": "0"} if on_gpu else {},  # FP32 is FP32: TF32 was not compared
    )


def widths(source: Bundle, golden: Golden) -> list[int]:
    """Return the widths of TensorRT's rows in tokens: tiled quartiles of the golden lengths."""
    quartiles = np.quantile(golden.ids.lengths, np.arange(1, _WIDTHS + 1) / _WIDTHS)
    tiles = (np.ceil(quartiles / _TILE) * _TILE).astype(int).tolist()
    return sorted({min(width, source.max_seq_len) for width in (*tiles[:-1], source.max_seq_len)})


def tokenizer_config(source: Bundle, engine: ModelConfig) -> ModelConfig:
    """Describe the inputs and outputs of backend/tokenize_model.py."""
    fed = tuple(Tensor(tensor.name, tensor.type, tensor.dims) for tensor in engine.inputs)
    first = (Tensor("first_pieces", "INT32", (-1,)),) if source.task == "tagging" else ()
    inputs, outputs = embedded.text_inputs(source), (*fed, *COUNTS, *first)
    return ModelConfig(TOKENIZER, inputs, outputs, engine.max_batch_size, instances=_PYTHON)


def answer_config(source: Bundle, engine: ModelConfig) -> ModelConfig:
    """Describe the inputs and outputs of backend/answer_model.py."""
    tagging = source.task == "tagging"
    inputs: tuple[Tensor, ...] = (Tensor("engine_logits", "FP32", engine.outputs[0].dims, ragged=tagging),)
    if tagging:
        inputs += (Tensor("first_pieces", "INT32", (-1,), ragged=True),)
    return ModelConfig(ANSWER, inputs, embedded.answer_outputs(source), engine.max_batch_size, instances=_PYTHON)


def ensemble(source: Bundle, engine: ModelConfig) -> Ensemble:
    """Wire text → tokenizer → engine → answer; tensors keep their names, but `engine_logits`."""
    tokenizer, answer = tokenizer_config(source, engine), answer_config(source, engine)
    steps = (
        EnsembleStep(TOKENIZER, _same(tokenizer.inputs), _same(tokenizer.outputs)),
        EnsembleStep(engine.name, _same(engine.inputs), {"logits": "engine_logits"}),
        EnsembleStep(ANSWER, _same(answer.inputs), _same(answer.outputs)),
    )
    outputs = (*embedded.answer_outputs(source), *COUNTS)
    inputs = tuple(replace(tensor, ragged=False) for tensor in embedded.text_inputs(source))
    return Ensemble(TEXT_MODEL, inputs, outputs, engine.max_batch_size, steps)


def _same(tensors: Sequence[Tensor]) -> dict[str, str]:
    return {tensor.name: tensor.name for tensor in tensors}


def _write_tokenizer(
    repository: Path, source: Bundle, golden: Golden, engine: ModelConfig, start_up: list[dict[str, Any]], priorities: int
) -> None:
    """Write the tokenizer, which has to read the texts of `start_up` as the gate had them."""
    config = tokenizer_config(source, engine)
    batching = Batching(queue=_QUEUE, priorities=priorities)
    version = replace(config, batching=batching, warmup=_text_warmup(source, golden)).write(repository)
    embedded.copy_modules(version, "tokenize_model.py")
    embedded.copy_vocabulary(version, source)
    settings = {
        "start_up": [{name: row[name] for name in ("text", "ids", "types")} for row in start_up if row["text"] is not None],
        "proven_on": {"tokenizers": source.facts.get("versions", {}).get("tokenizers", "")},
        **embedded.text_settings(source),
        "engine_inputs": [tensor.name for tensor in engine.inputs],
        "widths": widths(source, golden) if engine.backend == "tensorrt" else [],
    }
    manifest.write_json(version / "settings.json", settings)


def _write_answer(repository: Path, source: Bundle, engine: ModelConfig, priorities: int) -> None:
    config = replace(answer_config(source, engine), batching=Batching(queue=_QUEUE, priorities=priorities))
    version = config.write(repository)
    embedded.copy_modules(version, "answer_model.py")
    embedded.copy_labels(version, source)
    manifest.write_json(version / "settings.json", {"task": source.task, "labels": source.labels})


def _write_flat(converted: Artifact, source: Bundle, golden: Golden, target: Path) -> None:
    model_files.link_external(converted, target.parent)
    ragged_onnx.write(converted.model, target, pairs=source.task == "text_pair")
    rows = golden.ids.take(np.arange(min(_CHECKED_ROWS, len(golden.ids))))
    difference = ragged_onnx.difference(converted.model, target, rows)
    if not difference <= _TOLERANCE:  # NaN too
        raise ConversionError(
            f"{converted.variant.name} answers otherwise when its rows come in one piece",
            expected=f"|Δlogit| of at most {_TOLERANCE:g} on {_CHECKED_ROWS} golden rows",
            found=f"{difference:g}",
            where=str(converted.model),
            fix="a fault of this project (serving/repository/ragged_onnx.py): please report it; --engine takes another variant",
        )


def _text_warmup(source: Bundle, golden: Golden) -> tuple[Warmup, ...]:
    names = [tensor.name for tensor in embedded.text_inputs(source)]
    return tuple(
        Warmup(name, dict(zip(names, _encoded(golden.texts[row], source.task), strict=True)))
        for name, row in embedded.warmup_rows(golden).items()
    )


def _encoded(text: Any, task: str) -> list[NDArray[Any]]:
    """Encode a golden text as arrays of bytes, one an input."""
    columns = {"single_text": [[text]], "text_pair": [[part] for part in text], "tagging": [text]}[task]
    return [np.array([word.encode() for word in column], object) for column in columns]


def _flat_warmup(source: Bundle, golden: Golden) -> tuple[Warmup, ...]:
    """Return the shortest row, and a full batch of the longest: it takes all memory in advance."""
    names = [tensor.name for tensor in embedded.ids_inputs(source)]
    feeds = [golden.ids.take(np.array([row])).padded() for row in embedded.warmup_rows(golden).values()]
    shortest, longest = ({name: feed[name][0] for name in names} for feed in feeds)
    return (Warmup("shortest", shortest), Warmup("full_batch", longest, MAX_BATCH))


def _padded_warmup(golden: Golden, lengths: list[int]) -> tuple[Warmup, ...]:
    """Return a row alone at each width, and a full batch of the widest."""
    shortest = Ragged.of([golden.ids[golden.ids.lengths.argmin()]])
    alone = [Warmup(f"width_{length}", {name: row[0] for name, row in shortest.padded(length).items()}) for length in lengths]
    return (*alone, replace(alone[-1], name="full_batch", rows=MAX_BATCH))
