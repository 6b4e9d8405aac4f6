"""ONNX → a strongly typed TensorRT engine, through Polygraphy. The precision is the graph's own.

The one file that speaks to TensorRT, 10 and 11: `make check` holds it against the real API of both.
What an engine is tuned for is planned in `tensorrt_profiles`. A graph with Q/DQ nodes (ModelOpt's
INT8, FP8) needs nothing special: in a strongly typed network they say where 8 bits are computed.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import json
import platform
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.runtime import tensorrt_profiles
from export.runtime.conversion import Conversion, Converted
from export.runtime.tensorrt_profiles import Fingerprint, Profile
from slipway import errors, provenance
from slipway.contract.artifact import Artifact
from slipway.contract.parity.comparison import Precision
from slipway.contract.ragged import INPUTS, Feed, Logits
from slipway.errors import ConversionError

if TYPE_CHECKING:
    import tensorrt

_OUTPUT = "logits"
# How the inspector writes a type: "Half", "Row major linear FP16 format". The first that matches
# counts: BFloat16 holds "Float16".
_TYPES = (
    ("bf16", re.compile("bfloat16|bf16", re.IGNORECASE)),
    ("fp16", re.compile("half|float16|fp16", re.IGNORECASE)),
    ("fp8", re.compile("float8|fp8", re.IGNORECASE)),
    ("int8", re.compile(r"\bint8", re.IGNORECASE)),
    ("fp32", re.compile("float|fp32", re.IGNORECASE)),
)
# Layer types and kernels that multiply matrices: gemm, MatrixMultiply, CaskGemmConvolution,
# _gemm_mha_v2, …
_MULTIPLIES = re.compile("gemm|mat_?mul|matrixmultiply|fullyconnected|convolution|mha|attention", re.IGNORECASE)
_OPAQUE = "Myelin"  # a whole subgraph as one layer, of which the inspector says nothing
UNKNOWN = "unknown"
Layer = dict[str, Any]  # as the inspector's JSON has it


def missing() -> str:
    """Return "" when an engine can be built here, else what is not there. Loads no library."""
    absent = []
    # pip's TensorRT keeps its libraries in a package of their own, which the loader's cache does
    # not know.
    if not ctypes.util.find_library("nvinfer") and not importlib.util.find_spec("tensorrt_libs"):
        absent.append("no libnvinfer")
    if not importlib.util.find_spec("tensorrt"):
        absent.append("no Python module tensorrt")
    return ", ".join([*absent, *provenance.missing_gpu()])


def convert(conversion: Conversion) -> Converted:
    """Build the engine for this machine's GPU, and record the machine."""
    here = fingerprint()
    profiles = tensorrt_profiles.for_bundle(conversion.source, conversion.golden)
    cache = tensorrt_profiles.timing_cache(conversion.artifacts, here)
    return Converted(build(conversion.origin, conversion.target, profiles, cache), {"fingerprint": here.facts()})


@contextmanager
def open(artifact: Artifact) -> Iterator[Engine]:
    with open_engine(artifact.model, _recorded(artifact)) as engine:
        yield engine


def proof(artifact: Artifact) -> Precision:
    """Read the types of the matrix multiplications and the kinds of layers out of the engine."""
    with open_engine(artifact.model, _recorded(artifact)) as engine:
        return precision([engine.layers(number) for number in range(len(engine.profiles))])


def _recorded(artifact: Artifact) -> Fingerprint:
    return Fingerprint.of(artifact.facts.get("fingerprint", {}))


def fingerprint() -> Fingerprint:
    """Return this machine's. Raises ToolError where there is no GPU."""
    import tensorrt

    device = provenance.current_gpu()
    system = f"{platform.system()} {platform.machine()}"
    return Fingerprint(tensorrt.__version__, device.name, device.compute_capability, system, device.driver)


def build(source: Path, target: Path, profiles: list[Profile], timing_cache: Path) -> str:
    """Build the engine for this machine's GPU; return how. Raises ConversionError."""
    import tensorrt
    from polygraphy.backend import trt
    from polygraphy.exception import PolygraphyException

    timing_cache.parent.mkdir(parents=True, exist_ok=True)
    known = str(timing_cache) if timing_cache.is_file() else None
    try:
        with _only_warnings():
            config = trt.CreateConfig(
                profiles=[_shapes(profile) for profile in profiles],
                load_timing_cache=known,
                # Without this the engine cannot say what it computes in.
                profiling_verbosity=tensorrt.ProfilingVerbosity.DETAILED,
            )
            network = trt.network_from_onnx_path(str(source), strongly_typed=True)
            serialized = trt.engine_bytes_from_network(network, config=config, save_timing_cache=str(timing_cache))
    except PolygraphyException as error:
        raise _failed("TensorRT built no engine", "an engine", error, source) from error
    target.write_bytes(serialized)
    return f"strongly typed engine, TensorRT {tensorrt.__version__}, {len(profiles)} profiles"


def _shapes(profile: Profile) -> Any:
    from polygraphy.backend import trt

    shapes = trt.Profile()
    for name in INPUTS:
        shapes.add(name, min=profile.least, opt=profile.best, max=profile.most)
    return shapes


class Engine:
    """A loaded engine; `infer` uses the profile that is tuned nearest to the batch's shape."""

    def __init__(self, engine: tensorrt.ICudaEngine, runner: Any, provider: str) -> None:
        self.provider = provider
        self.profiles = [_profile(engine, number) for number in range(engine.num_optimization_profiles)]
        self._engine, self._runner, self._profile = engine, runner, 0

    def infer(self, feed: Feed) -> Logits:
        """Return float32 logits of int32 [batch, sequence] arrays.

        Raises ConversionError for a shape the engine was not built for.
        """
        batch, sequence = feed[INPUTS[0]].shape
        self._switch(tensorrt_profiles.choose(self.profiles, batch, sequence))
        outputs = self._runner.infer(feed, check_inputs=False)
        return np.array(outputs[_OUTPUT], np.float32)  # a copy: Polygraphy's buffers are used again

    def layers(self, number: int) -> str:
        """Return the inspector's JSON at the shape that profile `number` is tuned for.

        Without shapes the inspector knows no types.
        """
        import tensorrt

        self._switch(number)
        shape = self.profiles[number].best
        self._runner.infer({name: np.ones(shape, np.int32) for name in INPUTS}, check_inputs=False)
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._runner.context
        return inspector.get_engine_information(tensorrt.LayerInformationFormat.JSON)

    def _switch(self, number: int) -> None:
        if number != self._profile:
            self._runner.set_profile(number)
            self._profile = number


def _profile(engine: tensorrt.ICudaEngine, number: int) -> Profile:
    least, best, most = ((shape[0], shape[1]) for shape in engine.get_tensor_profile_shape(INPUTS[0], number))
    return Profile(least, best, most)


@contextmanager
def open_engine(path: Path, recorded: Fingerprint) -> Iterator[Engine]:
    """Load runs/<name>/artifacts/<variant>/<file>. Raises ConversionError on another machine."""
    from polygraphy.backend import trt
    from polygraphy.exception import PolygraphyException

    here = fingerprint()
    tensorrt_profiles.refuse_elsewhere(recorded, here, path)
    with _only_warnings():
        try:
            engine = trt.engine_from_bytes(path.read_bytes())
        except PolygraphyException as error:
            raise _failed("TensorRT cannot load the engine", "an engine of this machine", error, path) from error
        with trt.TrtRunner(engine, optimization_profile=0) as runner:
            yield Engine(engine, runner, f"TensorRT {here.tensorrt} on {here.gpu}")


@contextmanager
def _only_warnings() -> Iterator[None]:
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.WARNING):
        yield


def _failed(summary: str, expected: str, error: Exception, where: Path) -> ConversionError:
    words = str(error).strip() or type(error).__name__
    return ConversionError(summary, expected=expected, found=words, where=str(where), fix="see TensorRT's own lines above")


def precision(documents: list[str]) -> Precision:
    """Return the share of each type in the matrix multiplications, and the kinds of layers.

    `documents`: the inspector's JSON of the whole engine, one for every optimization profile, each
    with shapes set; without them the inspector answers "N/A due to dynamic shapes". Raises
    ConversionError when the engine holds names only.
    """
    layers: dict[str, Layer] = {}
    for layer in (layer for document in documents for layer in json.loads(document)["Layers"]):
        if not isinstance(layer, dict):
            raise _names_only(layer)
        if layer["Name"] not in layers or computes_in(layers[layer["Name"]]) == UNKNOWN:
            layers[layer["Name"]] = layer
    multiplying = Counter(computes_in(layer) for layer in layers.values() if multiplies(layer))
    return Precision(
        "matrix multiplications",
        {name: count / multiplying.total() for name, count in multiplying.most_common()},
        dict(Counter(layer["LayerType"] for layer in layers.values()).most_common()),
    )


def multiplies(layer: Layer) -> bool:
    """Return whether a layer is, or may be, a matrix multiplication.

    Its type and its kernel decide: names tell of neighbours too.
    """
    kind = layer["LayerType"]
    return kind == _OPAQUE or (kind != "Reformat" and bool(_MULTIPLIES.search(f"{kind} {layer.get('TacticName', '')}")))


def computes_in(layer: Layer) -> str:
    """Return the type of the first input with numbers to multiply; tf32 by the kernel's name.

    The layer's own field "Precision", where there is one, is what was asked for, not what is
    executed.
    """
    if "tf32" in layer.get("TacticName", "").lower():
        return "tf32"
    formats = (tensor.get("Format/Datatype") or tensor.get("Datatype", "") for tensor in layer.get("Inputs", []))
    return next((name for text in formats for name, pattern in _TYPES if pattern.search(text)), UNKNOWN)


def _names_only(layer: object) -> ConversionError:
    return ConversionError(
        "the engine does not say what it computes in",
        expected="layers with their types: an engine built with ProfilingVerbosity.DETAILED",
        found=f"layer names only, for example {layer!r}",
        where="the engine inspector",
        fix=f"build the engine with this project: {errors.command('export', 'RUN')}",
    )
