"""The device that is measured: models with their inputs and outputs on it, its matmul peak, and what a launch costs at least.

Every run is waited for, so that Python's clock is right: ONNX Runtime synchronises its stream before `run_with_iobinding` returns.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from benchmarks.gpu import libraries
from export import gpu
from export.variants import PROVIDER_OPTIONS
from train import provenance
from train.errors import ToolError
from train.ragged import Logits

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
_PEAK: dict[str, tuple[int, type[np.floating[Any]]]] = {
    "cuda": (8192, np.float16),
    "cpu": (512, np.float32),
}  # rows and columns of the square matrices, and their type
_PAST_CACHE = {"cuda": 1 << 28, "cpu": 1 << 20}  # bytes written to empty the L2 cache; the largest has 126 MB
_PAIRS = 3  # of matrices, multiplied in turn
_REPEATS = 20
_REPLAYED = 4  # runs: ONNX Runtime captures a CUDA graph in the third, and the fourth is a replay
_REQUIREMENTS = ".tools/gpu/bin/pip install -r benchmarks/gpu/requirements.txt"


@dataclass(frozen=True)
class Run:
    """A model bound to one batch: calling it runs the model and waits for the end."""

    session: Any
    binding: Any
    options: Any
    inputs: Any  # OrtValues: a CPU's are the caller's arrays, which nothing else might keep
    output: Any  # OrtValue
    runs: int  # until what it answers is a replay, where it is a CUDA graph; else 1

    def __call__(self) -> None:
        self.session.run_with_iobinding(self.binding, self.options)

    def logits(self) -> Logits:
        for _ in range(self.runs):
            self()
        found: Logits = np.array(self.output.numpy())  # of a CPU's it is the memory itself, gone with this run
        return found


class Device:
    """`kind`: cuda, or cpu, on which every line but the kernels can be tried. Raises ToolError where it is not there."""

    def __init__(self, kind: str) -> None:
        self.kind, self.provider = kind, PROVIDERS[kind]
        try:
            self.gpu = gpu.current() if kind == "cuda" else None
        except ToolError as error:  # its way out is a container of TensorFlow's, of which nothing is needed here
            raise _missing(error.found) from None
        if self.provider not in onnxruntime.get_available_providers():
            raise _missing(f"onnxruntime {onnxruntime.__version__} with {onnxruntime.get_available_providers()}")
        if kind == "cuda":
            libraries.load()
        self._graphs = 0
        self._empty_cache = self.bind(self._open(_elementwise(1)), {"x": np.zeros(_PAST_CACHE[kind] // 4, np.float32)})

    @property
    def facts(self) -> dict[str, str]:
        return {"kind": self.kind, "provider": self.provider, **(asdict(self.gpu) if self.gpu else {})}

    def signature(self, *modules: str) -> dict[str, Any]:
        """Command, versions, machine and commit, with the versions of `modules` and of what is measured on."""
        signed = provenance.record(*modules, "onnx", "onnxruntime", "numpy", "scipy", "torch")
        return signed | {"versions": signed["versions"] | (libraries.versions() if self.kind == "cuda" else {})}

    def open(self, path: Path, *, cuda_graph: bool = False) -> Any:
        """A session. With `cuda_graph` every bound batch is captured in its third run, and replayed from then on."""
        return self._open(str(path), cuda_graph=cuda_graph)

    def _open(self, model: str | bytes, *, cuda_graph: bool = False, optimize: bool = True) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.enable_mem_pattern = not cuda_graph  # a run that is captured must find the memory of the run before
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        given = PROVIDER_OPTIONS.get(self.provider, {}) | ({"enable_cuda_graph": "1"} if cuda_graph else {})
        session = onnxruntime.InferenceSession(model, options, providers=[(self.provider, given)])
        if session.get_providers()[0] != self.provider:  # ONNX Runtime prints why, and goes on
            raise _missing("a session on the CPU: CUDA's or cuDNN's libraries could not be loaded")
        return session

    def put(self, array: NDArray[Any]) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self.kind, 0)

    def bind(self, session: Any, feed: dict[str, NDArray[Any]], *, cuda_graph: bool = False) -> Run:
        """`feed` copied to the device, with room for the one output, float32 or as the input."""
        binding, options = session.io_binding(), onnxruntime.RunOptions()
        inputs = {node.name: self.put(feed[node.name]) for node in session.get_inputs()}
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        output = session.get_outputs()[0]
        rows = {"batch": len(next(iter(feed.values()))), "sequence": next(iter(feed.values())).shape[-1]}
        shape = [rows.get(size, size) for size in output.shape]
        room = self.put(np.zeros(shape, np.float16 if output.type == "tensor(float16)" else np.float32))
        binding.bind_ortvalue_output(output.name, room)
        if cuda_graph:
            self._graphs += 1
            options.add_run_config_entry("gpu_graph_id", str(self._graphs))
        return Run(session, binding, options, inputs, room, _REPLAYED if cuda_graph else 1)

    def empty_cache(self) -> None:
        """Write more than the L2 cache holds, so that the next run finds nothing of the last one there."""
        self._empty_cache()

    def matmul_peak(self) -> dict[str, Any]:
        """The fastest of _REPEATS multiplications of large random matrices, in ONNX Runtime; pairs in turn, out of cache."""
        size, kind = _PEAK[self.kind]
        random = np.random.default_rng(0)
        session = self._open(_matmul(size, kind))
        pairs = [{name: random.standard_normal((size, size), np.float32).astype(kind) for name in "ab"} for _ in range(_PAIRS)]
        runs = [self.bind(session, pair) for pair in pairs]
        seconds = [_seconds(runs[number % _PAIRS]) for number in range(_PAIRS + _REPEATS)][_PAIRS:]
        return {
            "size": size,
            "type": np.dtype(kind).name,
            "tflops": 2 * size**3 / min(seconds) / 1e12,
            "tflops_median": 2 * size**3 / float(np.median(seconds)) / 1e12,
            "by": "ONNX Runtime",
        }

    def launch_floor(self, nodes: int, *, cuda_graph: bool) -> float:
        """Seconds that a chain of `nodes` nodes takes which compute next to nothing: their launches, one a node."""
        session = self._open(_elementwise(nodes), cuda_graph=cuda_graph, optimize=False)
        run = self.bind(session, {"x": np.ones(8, np.float32)}, cuda_graph=cuda_graph)
        return float(np.median([_seconds(run) for _ in range(_REPEATS + 5)][5:]))


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _elementwise(nodes: int) -> bytes:
    """x → −x, `nodes` times."""
    names = ["x", *(f"x.{number}" for number in range(1, nodes)), "y"]
    chain = [helper.make_node("Neg", [a], [b]) for a, b in itertools.pairwise(names)]
    return _serialized(chain, {"x": ["sequence"]}, "y", ["sequence"], TensorProto.FLOAT)


def _matmul(size: int, kind: type[np.floating[Any]]) -> bytes:
    square, element = [size, size], helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return _serialized([helper.make_node("MatMul", ["a", "b"], ["c"])], {"a": square, "b": square}, "c", square, element)


def _serialized(nodes: list[Any], inputs: dict[str, list[Any]], output: str, shape: list[Any], element: int) -> bytes:
    given = [helper.make_tensor_value_info(name, element, dims) for name, dims in inputs.items()]
    graph = helper.make_graph(nodes, "device", given, [helper.make_tensor_value_info(output, element, shape)])
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def _missing(found: str) -> ToolError:
    return ToolError(
        "ONNX Runtime cannot run on the GPU",
        expected="an NVIDIA GPU, onnxruntime-gpu, and CUDA's and cuDNN's libraries of the versions it was built for",
        found=found,
        where="this Python environment",
        fix=f"{_REQUIREMENTS}; without a GPU: --provider cpu",
    )
