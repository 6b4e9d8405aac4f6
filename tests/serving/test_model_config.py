from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2 as pb

from serving import model_config
from serving.model_config import Batching, Ensemble, EnsembleStep, Instances, ModelConfig, Queue, RowLengths, Tensor, Warmup
from slipway.lint import linter

IDS, LOGITS = Tensor("ids", "INT32", (-1,), ragged=True), Tensor("logits", "FP32", (4,))
CONFIG = ModelConfig("bert", (IDS,), (LOGITS,), 64)
FULL = ModelConfig(
    "bert",
    (IDS,),
    (LOGITS,),
    64,
    "onnxruntime",
    Batching(delay=100, queue=Queue(size=32, timeout=2_000_000), priorities=3),
    Instances("KIND_GPU", 2),
    RowLengths("lengths", "ids"),
    (Warmup("full", {"ids": np.arange(5, dtype=np.int32)}, rows=64),),
    {"intra_op_thread_count": "2"},
    {"use_tf32": "0"},
)


@pytest.mark.parametrize("config", [CONFIG, FULL])
def test_the_written_file_reads_back_through_tritons_protobuf(config: ModelConfig, tmp_path: Path) -> None:
    config.write(tmp_path)
    assert model_config.read((tmp_path / "bert/config.pbtxt").read_text()) == config.protobuf()


def test_inputs_and_outputs_are_what_was_asked_for() -> None:
    config = model_config.read(CONFIG.text())
    assert (config.name, config.max_batch_size, config.input[0].allow_ragged_batch) == ("bert", 64, True)
    assert config.output[0].data_type == pb.TYPE_FP32


def test_an_output_names_the_file_of_its_labels() -> None:
    outputs = (Tensor("logits", "FP32", (4,), labels="1/labels.txt"), Tensor("tokens", "INT32", (1,)))
    config = model_config.read(ModelConfig("bert", (IDS,), outputs, 64).text())
    assert [output.label_filename for output in config.output] == ["1/labels.txt", ""]


def test_a_wrong_type_fails_while_generating() -> None:
    with pytest.raises(ValueError, match="FLOAT32"):
        ModelConfig("bert", (Tensor("ids", "FLOAT32", (-1,)),), (), 64).text()


def test_no_queue_policy_is_set_unless_asked_for() -> None:
    """With one, requests to the embedded Triton wait 500 ms for a wake-up that it missed."""
    assert not model_config.read(CONFIG.text()).dynamic_batching.HasField("default_queue_policy")


def test_what_is_left_to_triton_or_off_is_so() -> None:
    config = model_config.read(CONFIG.text())
    assert not config.response_cache.enable
    assert not config.instance_group[0].HasField("rate_limiter")
    assert (config.dynamic_batching.priority_levels, config.dynamic_batching.preserve_ordering) == (0, False)
    assert config.version_policy.latest.num_versions == 1


def test_batching_says_delay_queue_and_priorities() -> None:
    config = model_config.read(FULL.text()).dynamic_batching
    policy = config.default_queue_policy
    assert (config.max_queue_delay_microseconds, config.priority_levels, config.default_priority_level) == (100, 3, 3)
    assert (policy.max_queue_size, policy.default_timeout_microseconds, policy.allow_timeout_override) == (32, 2_000_000, True)
    assert policy.timeout_action == pb.ModelQueuePolicy.REJECT


def test_instances_lengths_and_the_backends_options_are_said() -> None:
    config = model_config.read(FULL.text())
    assert (config.instance_group[0].kind, config.instance_group[0].count) == (pb.ModelInstanceGroup.KIND_GPU, 2)
    assert (config.batch_input[0].kind, config.batch_input[0].source_input[0]) == (pb.BatchInput.BATCH_ITEM_SHAPE, "ids")
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert config.optimization.execution_accelerators.gpu_execution_accelerator[0].parameters["use_tf32"] == "0"


def test_warm_up_samples_lie_beside_the_config_as_the_linter_wants_them(tmp_path: Path) -> None:
    words = np.array(["Öl".encode(), b"", b"price"], object)
    text = ModelConfig("words", (Tensor("words", "STRING", (-1,)),), (LOGITS,), 8, warmup=(Warmup("text", {"words": words}),))
    ids = ModelConfig("ids", (IDS,), (LOGITS,), 8, warmup=(Warmup("ids", {"ids": np.arange(5, dtype=np.int32)}, rows=8),))
    for config in (text, ids):
        (config.write(tmp_path) / "model.py").write_text("class TritonPythonModel: ...")
    assert linter.check(tmp_path).findings == ()
    assert (tmp_path / "words/warmup/text-words").read_bytes() == b"\3\0\0\0\xc3\x96l\0\0\0\0\5\0\0\0price"
    np.testing.assert_array_equal(np.fromfile(tmp_path / "ids/warmup/ids-ids", np.int32), np.arange(5))


def test_an_ensemble_is_its_steps_and_an_empty_version(tmp_path: Path) -> None:
    steps = (EnsembleStep("first", {"a": "A"}, {"b": "B"}), EnsembleStep("second", {"c": "B"}, {"d": "D"}))
    version = Ensemble("both", (Tensor("A", "FP32", (1,)),), (Tensor("D", "FP32", (1,)),), 8, steps).write(tmp_path)
    config = model_config.read((tmp_path / "both/config.pbtxt").read_text())
    assert (config.platform, list(version.iterdir())) == ("ensemble", [])
    [first, second] = config.ensemble_scheduling.step
    assert (first.model_name, first.model_version, dict(first.output_map)) == ("first", -1, {"b": "B"})
    assert (second.model_name, dict(second.input_map)) == ("second", {"c": "B"})
