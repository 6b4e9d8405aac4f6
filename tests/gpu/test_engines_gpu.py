"""Acceptance of ONNX Runtime's CUDA variants on a machine with a GPU, and benchmarks.gpu in its
short form: `make test-gpu`.

.tools/gpu/bin/pip install -r requirements/gpu.txt; make test-gpu PY=.tools/gpu/bin/python
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.gpu import contenders, engines, measure, models, profile
from benchmarks.gpu.contenders import Contender
from benchmarks.gpu.device import Device
from benchmarks.gpu.models import AS_THEY_COME, CAPTURED, PACKED, PADDED
from export.graph import canonical
from export.graph.bert import Bert
from export.session import open_onnx
from slipway.contract.ragged import Feed, Logits
from slipway.contract.variants import VARIANTS
from tests.gpu.conftest import TOKENS, bert, feed

pytestmark = pytest.mark.gpu
# max |Δlogit|; logits are about 1
TOLERANCE = {"ort_fp32": 1e-3, "onnx_fp16": 0.02, "ort_fp16": 0.03, "ort_fp16_starts": 0.03, "packed_fp16": 0.03}
SHAPES = [(1,), (4,), (TOKENS,), (3, 9, 50), (5,) * 8, (TOKENS,) * 8, (1, TOKENS)]
TAGGER = dataclasses.replace(bert(), pooler=None)
Infer = Callable[[Feed], Logits]


def graph(variant: str, of: Bert) -> onnx.ModelProto:
    return next(write for written, write in models._graphs(of).items() if written.name == variant)()


@pytest.fixture(scope="session")
def opened(device: Device, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Infer]:
    """Variant → its answers, bound to the GPU."""
    result: dict[str, Infer] = {}
    for variant in TOLERANCE:
        path = tmp_path_factory.mktemp("cuda") / "model.onnx"
        onnx.save(graph(variant, bert()), path)
        session = device.open(path)
        result[variant] = lambda batch, session=session: device.bind(session, batch).logits()  # type: ignore[misc]
    return result


def reference(of: Bert, batch: Feed, directory: Path) -> Logits:
    """On the CPU, from the FP32 graph."""
    onnx.save(canonical.write(of), directory / "reference.onnx")
    with open_onnx(directory / "reference.onnx") as session:
        return session.infer(batch)


@pytest.mark.parametrize("variant", TOLERANCE)
@pytest.mark.parametrize("lengths", SHAPES, ids=str)
def test_every_variant_answers_as_fp32_on_the_cpu(
    variant: str, lengths: tuple[int, ...], opened: dict[str, Infer], tmp_path: Path
) -> None:
    result = opened[variant](feed(*lengths))
    np.testing.assert_allclose(result, reference(bert(), feed(*lengths), tmp_path), atol=TOLERANCE[variant], rtol=0)


@pytest.mark.parametrize("variant", TOLERANCE)
def test_neighbours_and_padding_do_not_change_an_answer(variant: str, opened: dict[str, Infer]) -> None:
    alone, beside = opened[variant](feed(4)), opened[variant](feed(4, TOKENS, 9))
    np.testing.assert_allclose(beside[0], alone[0], atol=TOLERANCE[variant], rtol=0)


def test_a_packed_tagger_gets_its_padding_back(device: Device, tmp_path: Path) -> None:
    onnx.save(graph(PACKED, TAGGER), tmp_path / "tagger.onnx")
    batch = feed(3, 9, 50)
    result = device.bind(device.open(tmp_path / "tagger.onnx"), batch).logits()
    text = batch["input_mask"].astype(bool)
    np.testing.assert_allclose(result[text], reference(TAGGER, batch, tmp_path)[text], atol=TOLERANCE[PACKED], rtol=0)


@pytest.mark.parametrize("variant", PADDED)
def test_a_replayed_cuda_graph_reads_the_new_ids(variant: str, device: Device, opened: dict[str, Infer], tmp_path: Path) -> None:
    onnx.save(graph(variant, bert()), tmp_path / "model.onnx")
    session = device.open(tmp_path / "model.onnx", cuda_graph=True)
    runs = {lengths: device.bind(session, feed(*lengths), cuda_graph=True) for lengths in ((4, 9), (7, 9), (20, 30, 40))}
    for _ in range(2):  # captured, and replayed in turn with the others
        result = {lengths: run.logits() for lengths, run in runs.items()}
    for lengths, logits in result.items():
        np.testing.assert_allclose(logits, opened[variant](feed(*lengths)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("variant", [*PADDED, PACKED])
def test_no_operator_is_left_to_the_cpu(variant: str, device: Device, tmp_path: Path) -> None:
    onnx.save(graph(variant, bert()), tmp_path / "model.onnx")
    (taken,) = profile.run({variant: tmp_path / "model.onnx"}, device.provider, [(4, 32)])
    assert {times.provider for times in taken.operators} == {device.provider}, taken
    assert not {"MemcpyToHost", "MemcpyFromHost"} & {times.operator for times in taken.operators}


def test_one_form_of_the_mask_takes_a_fused_attention_kernel(device: Device, tmp_path: Path) -> None:
    files = {variant: tmp_path / f"{variant}.onnx" for variant in PADDED}
    for variant, path in files.items():
        onnx.save(graph(variant, bert()), path)
    kernels = [taken.attention_kernels for taken in profile.run(files, device.provider, [(4, 32)])]
    assert all(kernels)
    assert any(not kernel.endswith("MATH") for named in kernels for kernel in named), kernels


def test_an_engine_with_a_damaged_weight_fails_the_gate(device: Device, tmp_path: Path) -> None:
    with models.random("tiny", device, rows=models.ROWS) as model:
        packed = onnx.load(model.files[PACKED])
        kernel = next(tensor for tensor in packed.graph.initializer if tensor.name == "logits.kernel")
        kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel)[:, ::-1], kernel.name))
        onnx.save(packed, tmp_path / "model.onnx")
        (damaged,) = models.parity(dataclasses.replace(model, files={PACKED: tmp_path / "model.onnx"}))
        (whole,) = models.parity(dataclasses.replace(model, files={PACKED: model.files[PACKED]}))
    assert whole.passed, whole.failures
    assert not damaged.passed
    assert whole.compared_on == device.provider
    assert whole.precision is not None
    assert whole.precision.weights.get("fp16", 0.0) >= VARIANTS["onnx_fp16"].limits.precision_share


@pytest.mark.parametrize("compiled", [False, True], ids=["as it is", "compiled"])
def test_pytorchs_answers_are_ours(compiled: bool, device: Device) -> None:
    if not importlib.util.find_spec("torch"):
        pytest.skip("PyTorch: no module torch; requirements/gpu.txt has it")
    from benchmarks.gpu.torch_peer import TorchBert

    with models.random("minilm-l6", device, rows=models.ROWS) as model:
        peer = TorchBert(model.bert, device.kind, compiled=compiled)
        verdict = contenders.compared(Contender("PyTorch", peer.prepare), model)
    assert verdict.passed, verdict.failures


def test_the_whole_command_in_its_short_form(device: Device, tmp_path: Path) -> None:
    command = ["engines", "--size", "minilm-l6", "--record", str(tmp_path / "engines.json"), "--seconds", "120"]
    command += ["--batch", "1", "--batch", "32", "--tokens", "32", "--tokens", "128", "--texts", "256"]
    with mock.patch.multiple(measure, _CELL=0.1, _PASS=0.1), mock.patch.object(sys, "argv", command):
        assert engines.main() == 0
    (model,) = json.loads((tmp_path / "engines.json").read_text("utf-8"))["models"]
    assert {verdict["variant"] for verdict in model["parity"]} == {*TOLERANCE, *CAPTURED}
    assert {verdict["compared_on"] for verdict in model["parity"] if verdict["compared_on"]} == {device.provider}
    assert len(model["shapes"]) == 4
    assert PACKED in model["ag_news"][AS_THEY_COME]["contenders"]
    assert model["batch_of_one"]["contenders"]
