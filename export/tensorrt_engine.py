"""ONNX → a strongly typed TensorRT engine, and answers from it, through Polygraphy. The precision is the graph's own.

The one file that speaks to TensorRT, 10 and 11: `make check` holds it against the real API of both. What it builds is
planned in `engine_plan`, what was built is read in `engine_layers`. A graph with Q/DQ nodes (ModelOpt's INT8, FP8) needs nothing
special: in a strongly typed network they say where 8 bits are computed.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export import engine_layers, engine_plan, gpu
from export.engine_plan import Fingerprint, Profile
from train.errors import ConversionError, ToolError
from train.ragged import INPUTS, Feed, Logits

if TYPE_CHECKING:
    import tensorrt

_OUTPUT = "logits"


def missing() -> str:
    """ "" when an engine can be built here, else what is not there. Loads neither TensorRT nor CUDA's libraries."""
    found = []
    # pip's TensorRT keeps its libraries in a package of their own, which the loader's cache does not know.
    if not ctypes.util.find_library("nvinfer") and not importlib.util.find_spec("tensorrt_libs"):
        found.append("no libnvinfer")
    if not importlib.util.find_spec("tensorrt"):
        found.append("no Python module tensorrt")
    try:
        gpu.current()
    except ToolError as error:
        found.append(error.found)
    return ", ".join(found)


def fingerprint() -> Fingerprint:
    """Of this machine. Raises ToolError where there is no GPU."""
    import tensorrt

    device = gpu.current()
    system = f"{platform.system()} {platform.machine()}"
    return Fingerprint(tensorrt.__version__, device.name, device.compute_capability, system, device.driver)


def convert(source: Path, target: Path, profiles: list[Profile], timing_cache: Path) -> str:
    """Build the engine for this machine's GPU; returns how. Raises ConversionError with TensorRT's own words."""
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
                profiling_verbosity=tensorrt.ProfilingVerbosity.DETAILED,  # or the engine cannot say what it computes in
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
    """A loaded engine. `infer` switches to the profile that is tuned nearest to the batch's shape."""

    def __init__(self, engine: tensorrt.ICudaEngine, runner: Any, provider: str) -> None:
        self.provider = provider
        self.profiles = [_profile(engine, number) for number in range(engine.num_optimization_profiles)]
        self._engine, self._runner, self._profile = engine, runner, 0

    def infer(self, feed: Feed) -> Logits:
        """float32 logits of int32 [batch, sequence] arrays. Raises ConversionError for a shape the engine was not built for."""
        batch, sequence = feed[INPUTS[0]].shape
        self._switch(engine_plan.choose(self.profiles, batch, sequence))
        found = self._runner.infer(feed, check_inputs=False)
        return np.array(found[_OUTPUT], np.float32)  # a copy: Polygraphy's buffers are used again

    def layers(self, number: int) -> str:
        """The inspector's JSON with profile `number` active, at the shape it is tuned for: without shapes there are no types."""
        import tensorrt

        self._switch(number)
        self._runner.infer({name: np.ones(self.profiles[number].best, np.int32) for name in INPUTS}, check_inputs=False)
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
    """The engine at runs/<name>/artifacts/<variant>/<file>, on the GPU. Raises ConversionError where it was not built."""
    from polygraphy.backend import trt
    from polygraphy.exception import PolygraphyException

    here = fingerprint()
    engine_plan.refuse_elsewhere(recorded, here, path)
    with _only_warnings():
        try:
            engine = trt.engine_from_bytes(path.read_bytes())
        except PolygraphyException as error:
            raise _failed("TensorRT cannot load the engine", "an engine of this machine", error, path) from error
        with trt.TrtRunner(engine, optimization_profile=0) as runner:
            yield Engine(engine, runner, f"TensorRT {here.tensorrt} on {here.gpu}")


def proof(path: Path, recorded: Fingerprint) -> dict[str, Any]:
    """Share of the matrix multiplications by type, and the kinds of layers, read out of the engine."""
    with open_engine(path, recorded) as engine:
        return engine_layers.precision([engine.layers(number) for number in range(len(engine.profiles))])


@contextmanager
def _only_warnings() -> Iterator[None]:
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.WARNING):
        yield


def _failed(summary: str, expected: str, error: Exception, where: Path) -> ConversionError:
    found = str(error).strip() or type(error).__name__
    return ConversionError(summary, expected=expected, found=found, where=str(where), fix="see TensorRT's own lines above")
