"""A Triton model's configuration: dataclasses → Triton's ModelConfig protobuf → config.pbtxt.

Through the protobuf, a wrong field fails here and not when a server loads the model.
docs/configuration.md says what each number is for.
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
    """An input or output; `dims` are without the batch dimension, −1 for any length."""

    name: str
    type: str  # STRING, FP32, INT32, BOOL
    dims: tuple[int, ...]
    ragged: bool = False  # inputs only: requests of unequal shape share a batch, unpadded
    labels: str = ""  # outputs only: a file in the model's directory that names the elements, a line each


@dataclass(frozen=True)
class Queue:
    """A queue's limits. Not for the embedded Triton: its batcher stalls with them
    (docs/log/serving.md).
    """

    size: int  # requests; the next one is refused at once, as unavailable
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
    """The input that tells an engine where each row of its ragged inputs ends."""

    target: str  # the input, int32 [rows, 1]
    source: str  # the ragged input whose lengths it has


@dataclass(frozen=True)
class Warmup:
    """Requests that are run before a version is ready; one that fails refuses the version."""

    name: str
    inputs: dict[str, NDArray[Any]]  # without the batch dimension; bytes for STRING
    rows: int = 1  # copies of it in one batch


@dataclass(frozen=True)
class _Config:
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int

    def protobuf(self) -> pb.ModelConfig:
        config = pb.ModelConfig(name=self.name, max_batch_size=self.max_batch_size)
        config.version_policy.latest.num_versions = 1
        for tensor in self.inputs:
            kind = f"TYPE_{tensor.type}"
            config.input.add(name=tensor.name, data_type=kind, dims=tensor.dims, allow_ragged_batch=tensor.ragged)
        for tensor in self.outputs:
            kind = f"TYPE_{tensor.type}"
            config.output.add(name=tensor.name, data_type=kind, dims=tensor.dims, label_filename=tensor.labels)
        return config

    def text(self) -> str:
        return str(text_format.MessageToString(self.protobuf()))

    def write(self, repository: Path) -> Path:
        """Write <repository>/<name>/config.pbtxt and an empty 1/, which is returned."""
        version = repository / self.name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(self.text(), "utf-8")
        return version


@dataclass(frozen=True)
class ModelConfig(_Config):
    backend: str = "python"
    batching: Batching = field(default_factory=Batching)
    instances: Instances = field(default_factory=Instances)
    row_lengths: RowLengths | None = None
    warmup: tuple[Warmup, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)  # of the backend
    cuda: dict[str, str] = field(default_factory=dict)  # options of ONNX Runtime's CUDA provider

    def protobuf(self) -> pb.ModelConfig:
        config = super().protobuf()
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

    def write(self, repository: Path) -> Path:
        """Write <repository>/<name>/config.pbtxt, warmup/ and an empty 1/, which is returned."""
        version = super().write(repository)
        for sample in self.warmup:
            for name, values in sample.inputs.items():
                path = version.with_name("warmup") / _file_name(sample, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(_raw(values))
        return version


@dataclass(frozen=True)
class EnsembleStep:
    """One model of an ensemble: its inputs and outputs → the ensemble's tensors."""

    model: str
    inputs: dict[str, str]
    outputs: dict[str, str]


@dataclass(frozen=True)
class Ensemble(_Config):
    """Models wired together; it has neither instances nor a queue of its own."""

    steps: tuple[EnsembleStep, ...]

    def protobuf(self) -> pb.ModelConfig:
        config = super().protobuf()
        config.platform = "ensemble"
        for step in self.steps:
            maps = {"input_map": step.inputs, "output_map": step.outputs}
            config.ensemble_scheduling.step.add(model_name=step.model, model_version=-1, **maps)
        return config


def read(text: str) -> pb.ModelConfig:
    """Parse a config.pbtxt. Raises google.protobuf.text_format.ParseError."""
    return text_format.Parse(text, pb.ModelConfig())


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
    types = {tensor.name: tensor.data_type for tensor in config.input}
    added = config.model_warmup.add(name=sample.name, batch_size=sample.rows)
    for name, values in sample.inputs.items():
        sent = added.inputs[name]
        sent.data_type, sent.input_data_file = types[name], _file_name(sample, name)
        sent.dims.extend(values.shape)


def _file_name(sample: Warmup, name: str) -> str:
    return f"{sample.name}-{name}"


def _raw(values: NDArray[Any]) -> bytes:
    """Encode a sample: strings each after their length in 4 bytes, others as they lie in memory."""
    if values.dtype == object:
        return b"".join(struct.pack("<I", len(value)) + value for value in values.reshape(-1))
    return np.ascontiguousarray(values).tobytes()
