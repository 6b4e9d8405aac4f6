"""SavedModel → SavedModel with TensorRT segments, by TensorFlow's converter (up to 2.17)."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from export.runtime import tensorrt_profiles
from export.runtime.conversion import Conversion, Converted
from export.runtime.tensorrt_profiles import Profile
from export.safety.saved_model import check_saved_model
from slipway import provenance
from slipway.contract.artifact import Artifact
from slipway.contract.parity.comparison import Coverage, Precision
from slipway.contract.ragged import INPUTS, Feed, Logits

_SEGMENT = "TRTEngineOp"
_ENGINE = "trt-serialized-engine."  # how TF-TRT calls an engine's file among the assets; the segment's name follows
_PLAIN = {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"}
_MULTIPLICATIONS = _PLAIN | {"_FusedMatMul", "_FusedBatchMatMulV2"}
_SIGNATURE = "serving_default"
# Loads the extension alone, which takes 0.1 s, in a process of its own: TensorFlow aborts its
# caller without TensorRT.
_PROBE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_pywrap_py_utils", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(".".join(map(str, module.get_linked_tensorrt_version())), module.is_tensorrt_enabled())
"""


@functools.cache
def missing() -> str:
    """Return "" when the converter can run, else what is not there.

    TensorFlow opens libnvinfer.so.<x.y.z> and libnvinfer_plugin.so.<x.y.z> by the version it was
    linked against (2.17.1 of the package index: 8.6.1; "8" alone is not enough), and without them
    aborts when the converter is made.
    """
    tensorflow = importlib.util.find_spec("tensorflow")
    if tensorflow is None or tensorflow.origin is None:
        return "no Python module tensorflow"
    extension = Path(tensorflow.origin).parent / "compiler" / "tf2tensorrt" / "_pywrap_py_utils.so"
    if not extension.is_file():
        return "a TensorFlow without TF-TRT; the last one with it is 2.17"
    command = [sys.executable, "-c", _PROBE, str(extension)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.split()
    return ", ".join([*_missing_libraries(answer), *provenance.missing_gpu()])


def _missing_libraries(answer: list[str]) -> list[str]:
    """Read TensorFlow's answer: its TensorRT version, and whether it is there; empty: it died."""
    if not answer:
        return ["a TensorFlow that does not say which TensorRT it wants"]
    version, enabled = answer
    names = f"no libnvinfer.so.{version}, no libnvinfer_plugin.so.{version}, which this TensorFlow opens"
    return [] if enabled == "True" else [names]


def convert(conversion: Conversion) -> Converted:
    profiles = tensorrt_profiles.for_bundle(conversion.source, conversion.golden)
    return Converted(build(conversion.origin, conversion.target, conversion.variant.precision, profiles))


@contextmanager
def open(artifact: Artifact) -> Iterator[Segments]:
    with open_saved_model(artifact.model) as segments:
        yield segments


def proof(artifact: Artifact) -> Precision:
    return coverage(artifact.model)


def corners(profiles: list[Profile]) -> list[tuple[int, int]]:
    """Return the (batch, sequence) shapes to run once each: corners and best of two profiles.

    Every shape costs TF-TRT an engine, so only the plan's first two profiles are built: any shape,
    and one text.
    """
    return sorted({corner for profile in profiles[:2] for corner in (profile.least, profile.best, profile.most)})


def build(source: Path, target: Path, precision: str, profiles: list[Profile]) -> str:
    """Convert and build; return how. `precision` is fp32 or fp16."""
    from tensorflow.python.compiler.tensorrt import trt_convert

    check_saved_model(source)
    converter = trt_convert.TrtGraphConverterV2(
        input_saved_model_dir=str(source),
        precision_mode=precision.upper(),
        use_dynamic_shape=True,
        # "Optimal" alone accepts the built shapes only; "Range" is one profile from the least to
        # the most.
        dynamic_shape_profile_strategy="Range+Optimal",
        allow_build_at_runtime=False,  # no engine is built at a request
    )
    converter.convert()
    converter.build(input_fn=lambda: _feeds(profiles))
    converter.save(str(target))
    return f"TF-TRT {precision}, dynamic shapes, built for {len(corners(profiles))} shapes"


def _feeds(profiles: list[Profile]) -> Iterator[Feed]:
    """Yield feeds by name: a list would be taken in the signature's order, the alphabet's."""
    for shape in corners(profiles):
        yield {name: np.ones(shape, np.int32) for name in INPUTS}


class Segments:
    """A loaded SavedModel, run through its signature."""

    def __init__(self, model: Any, provider: str) -> None:
        self._model, self.provider = model, provider  # a signature does not keep its variables alive

    def infer(self, feed: Feed) -> Logits:
        """Return float32 logits of int32 [batch, sequence] arrays."""
        import tensorflow

        signature = self._model.signatures[_SIGNATURE]
        [logits] = signature(**{name: tensorflow.constant(array) for name, array in feed.items()}).values()
        return np.array(logits, np.float32)


@contextmanager
def open_saved_model(path: Path) -> Iterator[Segments]:
    """Load a converted SavedModel on the GPU."""
    import tensorflow

    config = tensorflow.config
    details = map(config.experimental.get_device_details, config.list_physical_devices("GPU"))
    on = next((device.get("device_name", "a GPU") for device in details), "the CPU")
    yield Segments(tensorflow.saved_model.load(str(path)), f"TensorFlow {tensorflow.__version__} with TF-TRT on {on}")


def coverage(path: Path) -> Coverage:
    """Count the segments of the SavedModel at `path`, with the engines that were built for it."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    engines = (path / "assets").glob(f"{_ENGINE}*")
    built = {engine.name.removeprefix(_ENGINE) for engine in engines if engine.stat().st_size}
    return count_segments(model.meta_graphs[0].graph_def, built)


def count_segments(graph: Any, built: set[str]) -> Coverage:
    """Count a GraphDef's nodes and matrix multiplications inside and outside of TensorRT.

    A segment is a TRTEngineOp; its nodes lie in the function that `segment_func` names, which
    TensorFlow runs where no engine could be built. So a segment counts only when its name is among
    the `built` engines.
    """
    functions = {function.signature.name: function.node_def for function in graph.library.function}
    every = [node for nodes in (graph.node, *functions.values()) for node in nodes]
    segments = {node.attr["segment_func"].func.name: node for node in every if node.op == _SEGMENT}
    running = {name: node for name, node in segments.items() if node.name.rpartition("/")[2] in built}
    inside: Counter[str] = Counter()  # multiplications by the precision of their segment
    nodes_inside = nodes_outside = outside = 0
    for name, nodes in {"": graph.node, **functions}.items():
        multiplications = sum(node.op in _MULTIPLICATIONS for node in nodes)
        if name in running:
            inside[running[name].attr["precision_mode"].s.decode().lower()] += multiplications
            nodes_inside += len(nodes)
        else:
            outside += multiplications
            nodes_outside += sum(node.op != _SEGMENT for node in nodes)
    # Outside of segments it is FP32. Inside, it is the precision each segment was converted with;
    # TF-TRT does not keep what its engines chose.
    kinds, total = inside + Counter(fp32=outside), inside.total() + outside
    return Coverage(
        of="matrix multiplications",
        weights={name: count / total for name, count in kinds.most_common()},
        operators={_SEGMENT: len(segments)},
        segments=len(segments),
        segments_without_engine=len(segments) - len(running),
        nodes_inside=nodes_inside,
        nodes_outside=nodes_outside,
        multiplications_inside=dict(inside),
        multiplications_outside=outside,
        coverage=inside.total() / total if total else 0.0,
    )
