"""What a TensorRT engine computes in, read out of its inspector's JSON: the proof behind the word FP32 or FP16.

Pure functions of text. A layer's own field "Precision", where there is one, is what was asked for; what is executed is the type
of its tensors.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from train.errors import ConversionError

# How the inspector writes a type: "Half", "Row major linear FP16 format". The first that matches counts: BFloat16 holds "Float16".
_TYPES = (
    ("bf16", re.compile("bfloat16|bf16", re.IGNORECASE)),
    ("fp16", re.compile("half|float16|fp16", re.IGNORECASE)),
    ("fp8", re.compile("float8|fp8", re.IGNORECASE)),
    ("int8", re.compile(r"\bint8", re.IGNORECASE)),
    ("fp32", re.compile("float|fp32", re.IGNORECASE)),
)
# Layer types and kernels that multiply matrices: gemm, MatrixMultiply, CaskGemmConvolution, _gemm_mha_v2, …
_MULTIPLIES = re.compile("gemm|mat_?mul|matrixmultiply|fullyconnected|convolution|mha|attention", re.IGNORECASE)
_OPAQUE = "Myelin"  # a whole subgraph as one layer, of which the inspector says nothing
UNKNOWN = "unknown"


def precision(documents: list[str]) -> dict[str, Any]:
    """Share of the matrix multiplications by the type they compute in, and how often each kind of layer occurs.

    `documents`: the inspector's JSON of the whole engine, one for every optimization profile, each with shapes set; without
    them the inspector answers "N/A due to dynamic shapes". Raises ConversionError when the engine holds names only.
    """
    layers: dict[str, dict[str, Any]] = {}
    for layer in (layer for document in documents for layer in json.loads(document)["Layers"]):
        if not isinstance(layer, dict):
            raise _names_only(layer)
        if layer["Name"] not in layers or computes_in(layers[layer["Name"]]) == UNKNOWN:
            layers[layer["Name"]] = layer
    multiplying = Counter(computes_in(layer) for layer in layers.values() if multiplies(layer))
    return {
        "of": "matrix multiplications",
        "weights": {name: count / multiplying.total() for name, count in multiplying.most_common()},
        "operators": dict(Counter(layer["LayerType"] for layer in layers.values()).most_common()),
    }


def multiplies(layer: dict[str, Any]) -> bool:
    """Whether a layer is, or may be, a matrix multiplication: by its type and its kernel, since names tell of neighbours too."""
    kind = layer["LayerType"]
    return kind == _OPAQUE or (kind != "Reformat" and bool(_MULTIPLIES.search(f"{kind} {layer.get('TacticName', '')}")))


def computes_in(layer: dict[str, Any]) -> str:
    """The type of the layer's first input that is a number to multiply; tf32 where its kernel says so."""
    if "tf32" in layer.get("TacticName", "").lower():
        return "tf32"
    formats = (tensor.get("Format/Datatype") or tensor.get("Datatype", "") for tensor in layer.get("Inputs", []))
    found = (name for text in formats for name, pattern in _TYPES if pattern.search(text))
    return next(found, UNKNOWN)


def _names_only(layer: Any) -> ConversionError:
    return ConversionError(
        "the engine does not say what it computes in",
        expected="layers with their types: an engine built with ProfilingVerbosity.DETAILED",
        found=f"layer names only, for example {layer!r}",
        where="the engine inspector",
        fix="build the engine with this project: make export",
    )
