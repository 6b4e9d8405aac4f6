from __future__ import annotations

import pytest
from tritonclient.grpc import model_config_pb2

from serving import model_config
from serving.model_config import ModelConfig, Tensor

CONFIG = ModelConfig("bert", (Tensor("ids", "INT32", (-1,), ragged=True),), (Tensor("logits", "FP32", (4,)),), 64)


def test_the_written_file_reads_back_through_tritons_protobuf() -> None:
    found = model_config.read(CONFIG.text())
    assert found == CONFIG.protobuf()
    assert (found.name, found.max_batch_size, found.input[0].allow_ragged_batch) == ("bert", 64, True)
    assert found.output[0].data_type == model_config_pb2.TYPE_FP32


def test_a_wrong_type_fails_while_generating() -> None:
    with pytest.raises(ValueError, match="FLOAT32"):
        ModelConfig("bert", (Tensor("ids", "FLOAT32", (-1,)),), (), 64).text()


def test_no_queue_policy_is_set() -> None:
    """With one, requests wait 500 ms for a wake-up that this Triton missed."""
    assert not model_config.read(CONFIG.text()).dynamic_batching.HasField("default_queue_policy")
