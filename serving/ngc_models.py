"""Models for NVIDIA's container: an engine of Triton's own between a tokenizer and a post-processing in Python, as one ensemble.

`text_classifier` asks and answers as the embedded one does. What each number is for: docs/configuration.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export.artifact import Artifact
from serving import embedded_models, flat_graph
from serving.embedded_models import COUNTS
from serving.model_config import Batching, Ensemble, Instances, ModelConfig, Queue, RowLengths, Step, Tensor, Warmup
from serving.records import MAX_BATCH, TEXT_MODEL
from train import bundle, manifest
from train.bundle import Bundle
from train.errors import ConversionError
from train.ragged import INPUTS, Ragged

# TensorRT's first: tuned to the corpus' lengths. onnx_fp16 only on request: it was compared on a CPU, not on the GPU that runs it.
FASTEST_FIRST = ("tensorrt_fp16", "tensorrt_fp32", "ort_fp32", "onnx_fp32")
ENGINES = (*FASTEST_FIRST, "onnx_fp16", "ort_int8")
TOKENIZER, ANSWER = "tokenizer", "answer"

TENSORRT_BATCH = MAX_BATCH  # the largest batch of the profiles that export builds (conversions._MOST_ROWS)
ONNX_BATCH = 64  # of ONNX Runtime: two of our clients' requests fill a GPU better than one
_QUEUE = Queue(size=8 * ONNX_BATCH, timeout=5_000_000)
_PROCESSES = 2  # of each Python model
_WIDTHS, _TILE = 4, 16  # of rows for TensorRT: so many different ones, in multiples of so many tokens
_CHECKED_ROWS, _TOLERANCE = 64, 1e-4  # |Δlogit| of the flat graph: the same nodes on the same padded rows


def write(repository: Path, one: Artifact, source: Bundle, priorities: int = 0) -> None:
    """The four models. Raises ConversionError where the engine answers otherwise than the artifact."""
    engine = engine_config(one, source, priorities)
    version = engine.write(repository)
    if one.variant.runtime == "tensorrt":
        manifest.link(one.model, version / one.variant.model_file)
    else:
        _write_flat(one, source, version / one.variant.model_file)
    _write_tokenizer(repository, source, engine, priorities)
    _write_answer(repository, source, engine, priorities)
    ensemble(source, engine).write(repository)


def engine_config(one: Artifact, source: Bundle, priorities: int = 0) -> ModelConfig:
    """bert_<variant>, on the backend that its runtime is called."""
    outputs = (Tensor("logits", "FP32", embedded_models.logits_dims(source)),)
    batching = Batching(queue=_QUEUE, priorities=priorities)
    name = f"bert_{one.variant.name}"
    if one.variant.runtime == "tensorrt":
        inputs = tuple(Tensor(given, "INT32", (-1,)) for given in INPUTS)
        gpu = Instances("KIND_GPU")
        warmup = _padded_warmup(source, widths(source), TENSORRT_BATCH)
        return ModelConfig(name, inputs, outputs, TENSORRT_BATCH, "tensorrt", batching, gpu, warmup=warmup)
    providers = one.variant.providers
    on_gpu, on_cpu = "CUDAExecutionProvider" in providers, "CPUExecutionProvider" in providers
    return ModelConfig(
        name,
        embedded_models.ids_inputs(source),
        outputs,
        ONNX_BATCH,
        "onnxruntime",
        batching,
        Instances("KIND_AUTO" if on_gpu and on_cpu else "KIND_GPU" if on_gpu else "KIND_CPU"),
        RowLengths(flat_graph.LENGTHS, flat_graph.IDS),
        _flat_warmup(source),
        cuda={"use_tf32": "0"} if on_gpu else {},  # FP32 is FP32: TF32 was not compared
    )


def widths(source: Bundle) -> list[int]:
    """To which TensorRT's rows are padded: quartiles of the golden lengths, up to the next tile."""
    quartiles = np.quantile(bundle.load_golden(source).ids.lengths, np.arange(1, _WIDTHS + 1) / _WIDTHS)
    tiles = (np.ceil(quartiles / _TILE) * _TILE).astype(int).tolist()
    return sorted({min(one, source.max_seq_len) for one in (*tiles[:-1], source.max_seq_len)})


def tokenizer_config(source: Bundle, engine: ModelConfig) -> ModelConfig:
    """What backend/tokenize_model.py reads and answers."""
    given = tuple(Tensor(one.name, one.type, one.dims) for one in engine.inputs)
    first = (Tensor("first_pieces", "INT32", (-1,)),) if source.task == "tagging" else ()
    return ModelConfig(
        TOKENIZER, embedded_models.text_inputs(source), (*given, *COUNTS, *first), engine.max_batch_size, instances=_python()
    )


def answer_config(source: Bundle, engine: ModelConfig) -> ModelConfig:
    """What backend/answer_model.py reads and answers."""
    tagging = source.task == "tagging"
    inputs: tuple[Tensor, ...] = (Tensor("engine_logits", "FP32", engine.outputs[0].dims, ragged=tagging),)
    if tagging:
        inputs += (Tensor("first_pieces", "INT32", (-1,), ragged=True),)
    return ModelConfig(ANSWER, inputs, embedded_models.answer_outputs(source), engine.max_batch_size, instances=_python())


def _python() -> Instances:
    return Instances(count=_PROCESSES)


def ensemble(source: Bundle, engine: ModelConfig) -> Ensemble:
    """text → tokenizer → engine → answer. Tensors are called as in the models, the engine's logits `engine_logits`."""
    tokenizer, answer = tokenizer_config(source, engine), answer_config(source, engine)
    steps = (
        Step(TOKENIZER, _same(tokenizer.inputs), _same(tokenizer.outputs)),
        Step(engine.name, _same(engine.inputs), {"logits": "engine_logits"}),
        Step(ANSWER, _same(answer.inputs), _same(answer.outputs)),
    )
    outputs = (*embedded_models.answer_outputs(source), *COUNTS)
    inputs = tuple(replace(one, ragged=False) for one in embedded_models.text_inputs(source))
    return Ensemble(TEXT_MODEL, inputs, outputs, engine.max_batch_size, steps)


def _same(tensors: Sequence[Tensor]) -> dict[str, str]:
    return {one.name: one.name for one in tensors}


def _write_tokenizer(repository: Path, source: Bundle, engine: ModelConfig, priorities: int) -> None:
    config = tokenizer_config(source, engine)
    batching = Batching(queue=_QUEUE, priorities=priorities)
    version = replace(config, batching=batching, warmup=_text_warmup(source)).write(repository)
    embedded_models.copy_modules(version, "tokenize_model.py", "journal.py", "inputs.py", "texts.py", "labels.py")
    embedded_models.copy_vocabulary(version, source)
    settings = {
        **embedded_models.text_settings(source),
        "engine_inputs": [one.name for one in engine.inputs],
        "widths": widths(source) if engine.backend == "tensorrt" else [],
    }
    manifest.write_json(version / "settings.json", settings)


def _write_answer(repository: Path, source: Bundle, engine: ModelConfig, priorities: int) -> None:
    config = replace(answer_config(source, engine), batching=Batching(queue=_QUEUE, priorities=priorities))
    version = config.write(repository)
    embedded_models.copy_modules(version, "answer_model.py", "journal.py", "labels.py")
    (version / "labels.txt").write_bytes((source.directory / "labels.txt").read_bytes())
    manifest.write_json(version / "settings.json", {"task": source.task})


def _write_flat(one: Artifact, source: Bundle, target: Path) -> None:
    flat_graph.write(one.model, target, pairs=source.task == "text_pair")
    ids = bundle.load_golden(source).ids
    found = flat_graph.difference(one.model, target, ids.take(np.arange(min(_CHECKED_ROWS, len(ids)))))
    if not found <= _TOLERANCE:  # NaN too
        raise ConversionError(
            f"{one.variant.name} answers otherwise when its rows come in one piece",
            expected=f"|Δlogit| of at most {_TOLERANCE:g} on {_CHECKED_ROWS} golden rows",
            found=f"{found:g}",
            where=str(one.model),
            fix="a fault of this project (serving/flat_graph.py): please report it; --engine takes another variant",
        )


def _text_warmup(source: Bundle) -> tuple[Warmup, ...]:
    golden = bundle.load_golden(source)
    names = [one.name for one in embedded_models.text_inputs(source)]
    return tuple(
        Warmup(name, dict(zip(names, _encoded(golden.texts[row], source.task), strict=True)))
        for name, row in embedded_models.warmup_rows(source).items()
    )


def _encoded(text: Any, task: str) -> list[np.ndarray[Any, Any]]:
    """A golden text as arrays of bytes, one an input."""
    given = {"single_text": [[text]], "text_pair": [[one] for one in text], "tagging": [text]}[task]
    return [np.array([word.encode() for word in one], object) for one in given]


def _ids_warmup(source: Bundle) -> tuple[Warmup, ...]:
    ids = bundle.load_golden(source).ids
    samples = []
    for name, row in embedded_models.warmup_rows(source).items():
        at = slice(ids.offsets[row], ids.offsets[row + 1])
        arrays = {"input_word_ids": ids.ids[at], "input_type_ids": ids.types[at]}
        samples.append(Warmup(name, {one.name: arrays[one.name].astype(np.int32) for one in embedded_models.ids_inputs(source)}))
    return tuple(samples)


def _flat_warmup(source: Bundle) -> tuple[Warmup, ...]:
    """The shortest row alone, and a full batch of the longest: what memory that takes is taken before the first request."""
    one, longest = _ids_warmup(source)
    return (one, replace(longest, name="full_batch", rows=ONNX_BATCH))


def _padded_warmup(source: Bundle, lengths: list[int], batch: int) -> tuple[Warmup, ...]:
    """A row alone at each width, and a full batch of the widest."""
    ids = bundle.load_golden(source).ids
    shortest = Ragged.of([ids[int(ids.lengths.argmin())]])
    alone = [Warmup(f"width_{length}", {name: row[0] for name, row in shortest.padded(length).items()}) for length in lengths]
    return (*alone, replace(alone[-1], name="full_batch", rows=batch))
