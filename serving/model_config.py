"""A Triton model's configuration: frozen dataclasses → Triton's ModelConfig protobuf → config.pbtxt.

Going through the protobuf, a wrong field fails here and not when a server loads the model.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb


@dataclass(frozen=True)
class Tensor:
    """An input or output; `dims` without the batch dimension, −1 for any length."""

    name: str
    type: str  # STRING, FP32, INT32, BOOL
    dims: tuple[int, ...]
    ragged: bool = False  # inputs only: requests of unequal shape share a batch, unpadded


@dataclass(frozen=True)
class ModelConfig:
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int

    def protobuf(self) -> pb.ModelConfig:
        config = pb.ModelConfig(name=self.name, backend="python", max_batch_size=self.max_batch_size)
        for tensor in self.inputs:
            config.input.add(
                name=tensor.name,
                data_type=f"TYPE_{tensor.type}",
                dims=tensor.dims,
                allow_ragged_batch=tensor.ragged,
            )
        for tensor in self.outputs:
            config.output.add(name=tensor.name, data_type=f"TYPE_{tensor.type}", dims=tensor.dims)
        config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)
        # No queue policy: with a max_queue_size, this Triton's batcher misses wake-ups and requests wait 500 ms (docs/log.md).
        # No delay: a text never waits for company; under load, batches form while the one before runs.
        config.dynamic_batching.max_queue_delay_microseconds = 0
        # The response cache would answer a benchmark's repeated texts without the model.
        config.response_cache.enable = False
        return config

    def text(self) -> str:
        return str(text_format.MessageToString(self.protobuf()))


def read(text: str) -> pb.ModelConfig:
    """Parse a config.pbtxt. Raises google.protobuf.text_format.ParseError."""
    return text_format.Parse(text, pb.ModelConfig())
