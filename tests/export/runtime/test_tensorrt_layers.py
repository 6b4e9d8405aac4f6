"""The precision proof of an engine, from documents as the inspector of TensorRT 8 to 11 writes
them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from export.runtime import tensorrt
from slipway.errors import ConversionError


def layer(name: str, kind: str, inputs: list[str], tactic: str = "", metadata: str = "") -> dict[str, Any]:
    tensors = [
        {"Name": f"t{i}", "Location": "Device", "Dimensions": [8, 64, 384], "Format/Datatype": t} for i, t in enumerate(inputs)
    ]
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": tensors,
        "Outputs": tensors[:1],
        "TacticName": tactic,
        "StreamId": 0,
        "Metadata": metadata,
    }


def document(*layers: Any) -> str:
    return json.dumps({"Layers": list(layers), "Bindings": ["input_word_ids", "input_mask", "input_type_ids", "logits"]})


HALF = "sm90_xmma_gemm_f16f16_f16f16_f16_tn_n_tilesize128x128x64_cublas"
QUERY = layer("MatMul:layers.0.query_myl0_3", "gemm", ["Half", "Half"], HALF, "[ONNX Layer: MatMul:layers.0.query]")
ATTENTION = layer("_gemm_mha_v2_myl0_5", "kgen", ["Half", "Half", "Half"], "_gemm_mha_v2_0x6e2")
NORM = layer(
    "__myl_CastMeaSubMulMea_myl0_7", "kgen", ["Half", "Float"], "__myl_CastMeaSubMulMea_0x1f", "[ONNX Layer: MatMul:layers.0.query]"
)
EMBEDDINGS = layer("__myl_GathGathAdd_myl0_0", "kgen", ["Int32", "Half"], "__myl_GathGathAdd_0x2")
FULL = layer("MatMul:layers.0.key", "gemm", ["Float", "Float"], "sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize128x128x8")


def test_what_is_not_a_matrix_multiplication_does_not_count() -> None:
    result = tensorrt.precision([document(EMBEDDINGS, QUERY, ATTENTION, NORM)])
    assert result.weights == {"fp16": 1.0}
    assert result.operators == {"kgen": 3, "gemm": 1}


def test_fp32_inside_an_fp16_engine_shows() -> None:
    assert tensorrt.precision([document(FULL, layer("ffn", "gemm", ["Float", "Float"]))]).weights == {"fp32": 1.0}


def test_a_mixed_engine_shows_its_shares() -> None:
    assert tensorrt.precision([document(QUERY, ATTENTION, ATTENTION | {"Name": "b"}, FULL)]).weights == {
        "fp16": 0.75,
        "fp32": 0.25,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Half", "fp16"),
        ("Row major linear FP16 format", "fp16"),
        ("Float", "fp32"),
        ("Row major linear FP32", "fp32"),
        ("BFloat16", "bf16"),
        ("FP8", "fp8"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
        ("Int32", "unknown"),
        ("N/A due to dynamic shapes", "unknown"),
    ],
)
def test_every_way_to_write_a_type_is_read(text: str, expected: str) -> None:
    assert tensorrt.computes_in(layer("m", "CaskGemmMatrixMultiply", [text])) == expected


def test_tf32_does_not_pass_for_fp32() -> None:
    tf32 = layer("m", "gemm", ["Float", "Float"], "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize64x64x16")
    assert tensorrt.computes_in(tf32) == "tf32"


def test_a_subgraph_the_inspector_does_not_open_is_no_proof() -> None:
    opaque = layer("{ForeignNode[words...logits]}", "Myelin", ["Int32", "Half"])
    assert tensorrt.multiplies(opaque)
    assert tensorrt.precision([document(layer("x", "Myelin", ["Int32"]))]).weights == {"unknown": 1.0}


def test_an_engine_without_any_multiplication_proves_nothing() -> None:
    assert tensorrt.precision([document(NORM)]).weights == {}


def test_a_layer_counts_once_over_all_profiles_and_with_the_shapes_it_has() -> None:
    unset = QUERY | {"Inputs": [{"Name": "t0", "Format/Datatype": "N/A due to dynamic shapes"}], "TacticName": ""}
    assert tensorrt.precision([document(unset), document(QUERY)]).weights == {"fp16": 1.0}


def test_reformatting_before_a_multiplication_is_none() -> None:
    name = "Reformatting CopyNode for Input Tensor 0 to MatMul:layers.0.query"
    assert not tensorrt.multiplies(layer(name, "Reformat", ["Float"], "genericReformat"))


def test_an_engine_that_holds_names_only_is_refused() -> None:
    with pytest.raises(ConversionError, match="DETAILED"):
        tensorrt.precision([document("MatMul:layers.0.query", "ffn")])
