"""A Triton model's configuration: frozen dataclasses → Triton's ModelConfig protobuf → config.pbtxt.

Going through the protobuf, a wrong field fails here and not when a server loads the model. What each number is for stands in
docs/configuration.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2 as pb


@dataclass(frozen=True)
class Tensor:
    """An input or output; `dims` without the batch dimension, −1 for any length."""

    name: str
    type: str  # STRING, FP32, INT32, BOOL
    dims: tuple[int, ...]
    ragged: bool = False  # inputs only: requests of unequal shape share a batch, unpadded


@dataclass(frozen=True)
class Queue:
    """Who may wait. Not for the embedded Triton: with a queue policy its batcher misses wake-ups, 500 ms each (docs/log.md)."""

    size: int  # requests; another one is refused at once, as unavailable
    timeout: int  # µs; a request that has waited longer is refused. It may ask for less itself


@dataclass(frozen=True)
class Batching:
    delay: int = 0  # µs that a batch waits for company; 0: under load, batches form while the one before runs
    queue: Queue | None = None
    priorities: int = 0  # levels; a request that names none has the last. 0: none, first come, first served


@dataclass(frozen=True)
class Instances:
    kind: str = "KIND_CPU"  # KIND_GPU, or KIND_AUTO: a GPU where there is one
    count: int = 1


@dataclass(frozen=True)
class RowLengths:
    """What tells an engine where each row of its ragged inputs ends: `target`, int32 [rows, 1], the lengths of `source`'s rows."""

    target: str
    source: str


@dataclass(frozen=True)
class Warmup:
    """Requests that are run before a version is called ready; one that fails refuses the version."""

    name: str
    inputs: dict[str, NDArray[Any]]  # without the batch dimension, all in one piece; bytes for STRING
    rows: int = 1  # so many requests of it in one batch


@dataclass(frozen=True)
class ModelConfig:
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    backend: str = "python"
    batching: Batching = field(default_factory=Batching)
    instances: Instances = field(default_factory=Instances)
    row_lengths: RowLengths | None = None
    warmup: tuple[Warmup, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)  # of the backend
    cuda: dict[str, str] = field(default_factory=dict)  # options of ONNX Runtime's CUDA provider

    def protobuf(self) -> pb.ModelConfig:
        config = _begun(self.name, self.inputs, self.outputs, self.max_batch_size)
        config.backend = self.backend
        config.instance_group.add(kind=self.instances.kind, count=self.instances.count)
        _add_batching(config.dynamic_batching, self.batching)
        # The response cache would answer a benchmark's repeated texts without the model.
        config.response_cache.enable = False
        if self.row_lengths:
            target, source = self.row_lengths.target, self.row_lengths.source
            kind = pb.BatchInput.BATCH_ITEM_SHAPE
            config.batch_input.add(kind=kind, target_name=[target], data_type="TYPE_INT32", source_input=[source])
        for sample in self.warmup:
            _add_warmup(config, sample)
        for key, value in self.parameters.items():
            config.parameters[key].string_value = value
        if self.cuda:
            config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda", parameters=self.cuda)
        return config

    def text(self) -> str:
        return str(text_format.MessageToString(self.protobuf()))

    def write(self, repository: Path) -> Path:
        """<repository>/<name>/config.pbtxt, warmup/ beside it, and an empty 1/, which is returned."""
        files = {_file(one, name): _raw(values) for one in self.warmup for name, values in one.inputs.items()}
        return _written(repository / self.name, self.text(), files)


@dataclass(frozen=True)
class Step:
    """One model of an ensemble: its inputs and outputs → the ensemble's tensors."""

    model: str
    inputs: dict[str, str]
    outputs: dict[str, str]


@dataclass(frozen=True)
class Ensemble:
    """Models wired together: it passes tensors on, and has neither instances nor a queue of its own."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    steps: tuple[Step, ...]

    def protobuf(self) -> pb.ModelConfig:
        config = _begun(self.name, self.inputs, self.outputs, self.max_batch_size)
        config.platform = "ensemble"
        for step in self.steps:
            config.ensemble_scheduling.step.add(
                model_name=step.model, model_version=-1, input_map=step.inputs, output_map=step.outputs
            )
        return config

    def text(self) -> str:
        return str(text_format.MessageToString(self.protobuf()))

    def write(self, repository: Path) -> Path:
        """<repository>/<name>/config.pbtxt and 1/, which is empty by design and returned."""
        return _written(repository / self.name, self.text(), {})


def read(text: str) -> pb.ModelConfig:
    """Parse a config.pbtxt. Raises google.protobuf.text_format.ParseError."""
    return text_format.Parse(text, pb.ModelConfig())


def _begun(name: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], max_batch_size: int) -> pb.ModelConfig:
    config = pb.ModelConfig(name=name, max_batch_size=max_batch_size)
    config.version_policy.latest.num_versions = 1
    for one in inputs:
        config.input.add(name=one.name, data_type=f"TYPE_{one.type}", dims=one.dims, allow_ragged_batch=one.ragged)
    for one in outputs:
        config.output.add(name=one.name, data_type=f"TYPE_{one.type}", dims=one.dims)
    return config


def _add_batching(config: Any, batching: Batching) -> None:
    config.max_queue_delay_microseconds = batching.delay
    if batching.queue:
        policy = config.default_queue_policy
        policy.max_queue_size = batching.queue.size
        policy.default_timeout_microseconds = batching.queue.timeout
        policy.timeout_action = pb.ModelQueuePolicy.REJECT
        policy.allow_timeout_override = True
    if batching.priorities:
        config.priority_levels = config.default_priority_level = batching.priorities


def _add_warmup(config: Any, sample: Warmup) -> None:
    types = {one.name: one.data_type for one in config.input}
    added = config.model_warmup.add(name=sample.name, batch_size=sample.rows)
    for name, values in sample.inputs.items():
        of = added.inputs[name]
        of.data_type, of.input_data_file = types[name], _file(sample, name)
        of.dims.extend(values.shape)


def _file(sample: Warmup, name: str) -> str:
    return f"{sample.name}-{name}"


def _raw(values: NDArray[Any]) -> bytes:
    """As Triton reads them from a file: strings each after their length in 4 bytes, anything else as it lies in memory."""
    if values.dtype == object:
        return b"".join(struct.pack("<I", len(one)) + one for one in values.reshape(-1))
    return np.ascontiguousarray(values).tobytes()


def _written(directory: Path, config: str, warmup: dict[str, bytes]) -> Path:
    version = directory / "1"
    version.mkdir(parents=True)
    (directory / "config.pbtxt").write_text(config, "utf-8")
    for name, data in warmup.items():
        (directory / "warmup").mkdir(exist_ok=True)
        (directory / "warmup" / name).write_bytes(data)
    return version
