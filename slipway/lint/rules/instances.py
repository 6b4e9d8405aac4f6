"""Rules on instance groups, and on the accelerators that backends put between them and a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from slipway.lint.models import Finding, ModelDirectory, RuleResult, listed

_Kind = pb.ModelInstanceGroup.Kind
_PROFILE_INDEX = re.compile(r"\s*\+?[0-9]+")  # what Triton's std::stoi reads of a profile's name
_PROFILE = re.compile(r".+:[0-9]+(x[0-9]+)*")
_ON_GPUS = {"onnxruntime": {"tensorrt", "cuda"}, "tensorflow": {"tensorrt", "gpu_io", "auto_mixed_precision"}}
_ON_CPUS: dict[str, set[str]] = {"onnxruntime": {"openvino"}, "tensorflow": set()}
_PRECISIONS = ("FP32", "FP16", "INT8")


def check_instances(model: ModelDirectory) -> Iterator[RuleResult]:
    for number, group in enumerate(model.config.instance_group):
        yield from _group(model, f"instance_group[{number}]", group)
    accelerators = model.config.optimization.execution_accelerators
    yield from _on_cpus(model, accelerators.cpu_execution_accelerator)
    yield from _on_gpus(model, accelerators.gpu_execution_accelerator)


def _group(model: ModelDirectory, at: str, group: Any) -> Iterator[RuleResult]:
    """Check a group as Triton's ValidateInstanceGroup does; which GPUs there are is left open."""
    if group.kind not in _Kind.values():
        yield model.error("instance-group", f"{at}.kind", "a kind that Triton knows", str(group.kind))
    elif group.gpus and group.kind in (_Kind.KIND_CPU, _Kind.KIND_MODEL):
        yield model.error("instance-group", f"{at}.gpus", "no GPUs beside KIND_CPU or KIND_MODEL", listed(group.gpus))
    elif any(gpu < 0 for gpu in group.gpus):
        yield model.error("instance-group", f"{at}.gpus", "numbers of GPUs, from 0", listed(group.gpus))
    elif group.gpus or group.kind == _Kind.KIND_GPU:
        wanted = f"GPU {listed(group.gpus)}" if group.gpus else "a GPU"
        yield model.unchecked(f"{at}: {wanted}", "no GPU here; a server without it refuses the model")
    if group.count < 0:
        yield model.warning("instance-count", f"{at}.count", "1 or more: Triton takes its default instead", str(group.count))
    if group.profile and model.backend != "tensorrt":
        expected = "numbers of optimization profiles, and only of a TensorRT plan"
        yield model.error("profile", f"{at}.profile", expected, f"{listed(group.profile)}, backend {model.backend}")
    elif wrong := [profile for profile in group.profile if not _PROFILE_INDEX.match(profile)]:
        yield model.error("profile", f"{at}.profile", "numbers of optimization profiles, from 0", listed(map(repr, wrong)))


def _on_cpus(model: ModelDirectory, accelerators: Any) -> Iterator[Finding]:
    known = _ON_CPUS.get(model.backend)
    for accelerator in accelerators:
        if known is not None and accelerator.name not in known:
            at = "optimization.execution_accelerators.cpu_execution_accelerator"
            yield model.error("accelerator", at, f"for {model.backend}: {listed(known)}", accelerator.name)


def _on_gpus(model: ModelDirectory, accelerators: Any) -> Iterator[RuleResult]:
    groups = model.config.instance_group
    cpu_alone = bool(groups) and all(group.kind == _Kind.KIND_CPU for group in groups)
    at, known = "optimization.execution_accelerators.gpu_execution_accelerator", _ON_GPUS.get(model.backend)
    for accelerator in accelerators:
        if cpu_alone:
            expected = "none beside KIND_CPU, whose instances do not use it"
            yield model.warning("accelerator", at, expected, accelerator.name)
        elif known is not None and accelerator.name not in known:
            yield model.error("accelerator", at, f"for {model.backend}: {listed(known)}", accelerator.name)
        else:
            yield model.unchecked(f"accelerator {accelerator.name}", "no GPU here")
        parameters = dict(accelerator.parameters)
        precision = parameters.get("precision_mode", "FP32")
        if accelerator.name == "tensorrt" and known and precision not in _PRECISIONS:
            yield model.error("accelerator", f"{at}.parameters[precision_mode]", " or ".join(_PRECISIONS), precision)
        yield from _provider_profile(model, parameters)


def _provider_profile(model: ModelDirectory, parameters: dict[str, str]) -> Iterator[Finding]:
    """Check the shapes of ONNX Runtime's TensorRT provider against max_batch_size."""
    most = model.config.max_batch_size
    for key, outermost, wanted in (("trt_profile_min_shapes", min, 1), ("trt_profile_max_shapes", max, most)):
        at = f"optimization.execution_accelerators.gpu_execution_accelerator.parameters[{key}]"
        entries = [entry.strip() for entry in parameters.get(key, "").split(",") if entry.strip()]
        if wrong := [entry for entry in entries if not _PROFILE.fullmatch(entry)]:
            yield model.error("profile", at, "input:1x128, separated by commas", listed(wrong))
        elif most > 0:
            for name, sizes in _batch_sizes(entries).items():
                if outermost(*sizes, wanted) != outermost(sizes):
                    expected = f"batches from 1 to max_batch_size, {most}: for others an engine is built while serving"
                    yield model.warning("profile", at, expected, f"{name} from {min(sizes)} to {max(sizes)}")


def _batch_sizes(entries: list[str]) -> dict[str, list[int]]:
    """Return input → first dimensions: an input has an entry for every profile."""
    sizes: dict[str, list[int]] = {}
    for entry in entries:
        name, _, shape = entry.rpartition(":")
        sizes.setdefault(name, []).append(int(shape.split("x")[0]))
    return sizes
