"""The table of variants: every way a bundle can be converted, and what its answers may cost.

A new variant is one row here; its runtime's file converts it. `slipway.contract.parity.judgement`
judges the limits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The changes allowed on the golden rows. Rates are shares; bounds are one-sided 95 %."""

    flip_rate: float  # measured rate of changed predictions
    flip_rate_bound: float  # upper bound on that rate
    accuracy_loss_bound: float  # upper bound on the paired loss of accuracy
    group_loss: float  # loss in any one class or length bucket, beyond chance: its lower bound
    logit_difference: float | None  # max |Δlogit|; None where rounding makes it meaningless
    # max |Δlogit| of a row alone, in a batch, and padded longer, in standard deviations of the
    # reference's logits
    invariance: float
    slope: float  # |slope − 1| of the logits on the reference's
    probability_mean: float  # mean over rows of the largest |Δp|
    probability_p99: float  # its 99th percentile
    probe_difference: float  # max |Δlogit| of probe rows, in their standard deviations
    probe_decorrelation: float  # 1 − correlation of the probe rows' logits
    usual_flips: float  # of a right model: for how many rows it takes to pass
    # Of the weights, in the declared precision; the rest may be finer where answers need it.
    precision_share: float = 0.95


@dataclass(frozen=True)
class Variant:
    name: str
    made_from: str  # "bundle" or another variant
    model_file: str
    format: str  # savedmodel, onnx, engine
    precision: str  # fp32, fp16, int8
    runtime: str  # onnxruntime, tensorrt, tf-trt
    limits: Limits
    # ONNX Runtime's execution providers it is meant for; empty for other runtimes. Without one of
    # them it is compared on the CPU.
    providers: tuple[str, ...] = ()


# Bounds of 1 point take 299 golden rows when nothing changes. What was measured has limits of its
# own. FP32 differs from FP32 by the order of additions: about 1e-5 on logits of a few units; it
# flips exact ties alone.
_FP32 = Limits(
    flip_rate=0.0005,
    flip_rate_bound=0.01,
    accuracy_loss_bound=0.01,
    group_loss=0.002,
    logit_difference=1e-2,
    invariance=1e-3,
    slope=1e-3,
    probability_mean=1e-4,
    probability_p99=1e-3,
    probe_difference=1e-2,
    probe_decorrelation=1e-4,
    usual_flips=0.0,
)
# Half precision keeps 11 bits: flips only where two classes are almost equal.
_FP16 = Limits(
    flip_rate=0.005,
    flip_rate_bound=0.01,
    accuracy_loss_bound=0.01,
    group_loss=0.005,
    logit_difference=None,
    invariance=0.02,
    slope=0.01,
    probability_mean=2e-3,
    probability_p99=0.02,
    # Right models moved probe rows by 0.005 at most on a CPU, whose FP16 keeps more bits than a
    # GPU's.
    probe_difference=0.05,
    probe_decorrelation=1e-4,
    usual_flips=0.0005,
)
# 8-bit weights and activations may cost 1 point of accuracy, proven. Neighbours in a batch share
# one scale.
_INT8 = Limits(
    flip_rate=0.02,
    flip_rate_bound=0.03,
    accuracy_loss_bound=0.01,
    group_loss=0.015,
    logit_difference=None,
    invariance=0.5,
    slope=0.1,
    probability_mean=0.03,
    probability_p99=0.2,
    # Right models came to 0.006 at most, and one label of a row may move far (docs/log/export.md).
    probe_difference=2.0,
    probe_decorrelation=0.02,
    usual_flips=0.007,
    precision_share=0.75,
)

_CPU = ("CPUExecutionProvider",)
_CUDA = ("CUDAExecutionProvider",)
_ANY = ("CPUExecutionProvider", "CUDAExecutionProvider")

# FP32 is FP32: by default the CUDA provider multiplies it in TF32, which keeps 11 bits, as FP16
# does.
PROVIDER_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("onnx_fp32", "bundle", "model.onnx", "onnx", "fp32", "onnxruntime", _FP32, _ANY),
        Variant("ort_fp32", "onnx_fp32", "model.onnx", "onnx", "fp32", "onnxruntime", _FP32, _ANY),
        Variant("ort_int8", "ort_fp32", "model.onnx", "onnx", "int8", "onnxruntime", _INT8, _CPU),
        Variant("onnx_fp16", "onnx_fp32", "model.onnx", "onnx", "fp16", "onnxruntime", _FP16, _CUDA),
        Variant("tensorrt_fp16", "onnx_fp16", "model.plan", "engine", "fp16", "tensorrt", _FP16),
        Variant("tensorrt_fp32", "onnx_fp32", "model.plan", "engine", "fp32", "tensorrt", _FP32),
        Variant("tftrt_fp32", "bundle", "saved_model", "savedmodel", "fp32", "tf-trt", _FP32),
        Variant("tftrt_fp16", "bundle", "saved_model", "savedmodel", "fp16", "tf-trt", _FP16),
    )
}
