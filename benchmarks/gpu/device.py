"""The device that is measured: its libraries, batches bound to it, its matmul peak, and timing.

Every run is waited for, so that Python's clock is right: ONNX Runtime synchronises its stream
before `run_with_iobinding` returns.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from benchmarks.harness import RECORDS, seconds_of
from slipway import provenance
from slipway.contract.ragged import Logits
from slipway.contract.variants import PROVIDER_OPTIONS
from slipway.errors import ToolError
from slipway.statistics import Floats, Ratio, throughput_ratio

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
_PEAK: dict[str, tuple[int, type[np.floating[Any]]]] = {
    "cuda": (8192, np.float16),
    "cpu": (512, np.float32),
}  # rows and columns of the square matrices, and their type
_PAST_CACHE = {"cuda": 1 << 28, "cpu": 1 << 20}  # bytes written to empty the L2 cache; the largest has 126 MB
_PAIRS = 3  # of matrices, multiplied in turn
_REPEATS = 20
_REPLAYED = 4  # runs: ONNX Runtime captures a CUDA graph in the third, and the fourth is a replay
_WARM_UP = 3  # runs of every batch: ONNX Runtime captures a CUDA graph in the third
_LEAST_ROUNDS, _MOST_ROUNDS = 6, 40
Runs = Mapping[str, Sequence[Callable[[], object]]]  # model → one run for each batch of the same shape
_REQUIREMENTS = ".tools/gpu/bin/pip install -r requirements/gpu.txt"


@dataclass(frozen=True)
class MatmulPeak:
    """The fastest product of large square matrices."""

    size: int
    type: str
    tflops: float
    tflops_median: float
    by: str  # the library that reached it
    tflops_pytorch: float | None = None

    def __str__(self) -> str:
        return f"{self.tflops:.4g} TFLOP/s ({self.type}, {self.size}², {self.by})"


@dataclass(frozen=True)
class BoundRun:
    """A model bound to one batch: calling it runs the model and waits for the end."""

    session: Any
    binding: Any
    options: Any
    inputs: Any  # OrtValues: a CPU's are the caller's arrays, which nothing else might keep
    output: Any  # OrtValue
    runs: int  # until its answer is that of a replayed CUDA graph; else 1

    def __call__(self) -> None:
        self.session.run_with_iobinding(self.binding, self.options)

    def logits(self) -> Logits:
        for _ in range(self.runs):
            self()
        logits: Logits = np.array(self.output.numpy())  # copied: on a CPU it is the memory itself, gone with this run
        return logits


class Device:
    """A GPU (`kind` "cuda"), or the CPU ("cpu"), on which every line but the kernels can be tried.

    Raises ToolError where it is not there.
    """

    def __init__(self, kind: str) -> None:
        self.kind, self.provider = kind, PROVIDERS[kind]
        try:
            self.gpu = provenance.current_gpu() if kind == "cuda" else None
        except ToolError as error:  # its fix is TensorFlow's container, which is not needed here
            raise _missing(error.found) from None
        if self.provider not in onnxruntime.get_available_providers():
            raise _missing(f"onnxruntime {onnxruntime.__version__} with {onnxruntime.get_available_providers()}")
        if kind == "cuda":
            load_libraries()
        self._graphs = 0
        self._empty_cache = self.bind(self._open(_elementwise(1)), {"x": np.zeros(_PAST_CACHE[kind] // 4, np.float32)})

    @property
    def facts(self) -> dict[str, str]:
        return {"kind": self.kind, "provider": self.provider, **(asdict(self.gpu) if self.gpu else {})}

    def signature(self, *modules: str) -> dict[str, Any]:
        """Return a record's header, with the versions of `modules` and of what is measured."""
        signed = provenance.record(*modules, "onnx", "onnxruntime", "numpy", "scipy", "torch")
        return signed | {"versions": signed["versions"] | (library_versions() if self.kind == "cuda" else {})}

    def open(self, path: Path, *, cuda_graph: bool = False) -> Any:
        """Open a session.

        With `cuda_graph` every bound batch is captured in its third run, and replayed from then on.
        """
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

    def bind(self, session: Any, feed: dict[str, NDArray[Any]], *, cuda_graph: bool = False) -> BoundRun:
        """Copy `feed` to the device, with room for the one output, and bind both."""
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
        return BoundRun(session, binding, options, inputs, room, _REPLAYED if cuda_graph else 1)

    def empty_cache(self) -> None:
        """Write more than the L2 cache holds, so that the next run finds no data of its own."""
        self._empty_cache()

    def matmul_peak(self) -> MatmulPeak:
        """Multiply large random matrices, pairs in turn, so that none is in the cache."""
        size, kind = _PEAK[self.kind]
        random = np.random.default_rng(0)
        session = self._open(_matmul(size, kind))
        pairs = [{name: random.standard_normal((size, size), np.float32).astype(kind) for name in "ab"} for _ in range(_PAIRS)]
        runs = [self.bind(session, pair) for pair in pairs]
        seconds = [seconds_of(runs[number % _PAIRS]) for number in range(_PAIRS + _REPEATS)][_PAIRS:]
        fastest, median = (2 * size**3 / duration / 1e12 for duration in (min(seconds), float(np.median(seconds))))
        return MatmulPeak(size, np.dtype(kind).name, fastest, median, "ONNX Runtime")

    def launch_floor(self, nodes: int, *, cuda_graph: bool) -> float:
        """Return the seconds of `nodes` nodes that compute next to nothing: one launch a node."""
        session = self._open(_elementwise(nodes), cuda_graph=cuda_graph, optimize=False)
        run = self.bind(session, {"x": np.ones(8, np.float32)}, cuda_graph=cuda_graph)
        return float(np.median([seconds_of(run) for _ in range(_REPEATS + 5)][5:]))


def _elementwise(nodes: int) -> bytes:
    """Return the model x → −x, `nodes` times."""
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


def _missing(present: str) -> ToolError:
    return ToolError(
        "ONNX Runtime cannot run on the GPU",
        expected="an NVIDIA GPU, onnxruntime-gpu, and CUDA's and cuDNN's libraries of the versions it was built for",
        found=present,
        where="this Python environment",
        fix=f"{_REQUIREMENTS}; without a GPU: --provider cpu",
    )


def parsed_for_device(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse, with --provider; a trial on a CPU may not take a record's place."""
    parser.add_argument("--provider", choices=PROVIDERS, default="cuda")
    arguments = parser.parse_args()
    if arguments.provider == "cpu" and arguments.record.parent == RECORDS:
        parser.error("--provider cpu is a trial: give it another file with --record")
    return arguments


def load_libraries() -> None:
    """Load CUDA's libraries before ONNX Runtime's provider looks beside its own package.

    PyTorch may lie in another directory of packages. It finds those it came with, and a loaded
    library is found by name.
    """
    if importlib.util.find_spec("torch"):
        importlib.import_module("torch")
    onnxruntime.preload_dlls()


def library_versions() -> dict[str, str]:
    """Return the versions of NVIDIA's packages: CUDA's, cuDNN's and cuBLAS' libraries."""
    installed = importlib.metadata.distributions()
    return {package.name: package.version for package in installed if package.name.startswith("nvidia-")}


class Deadline:
    """A budget of seconds, and what is left of it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        return self._end - time.monotonic()


def interleaved(runs: Runs, between: Callable[[], None], budget: float, longest: float) -> tuple[dict[str, Floats], dict[str, str]]:
    """Run every model once a round, in random order, until `budget` seconds are spent.

    `between` runs before each timed run. A model whose run takes over `longest` seconds is left
    out. Returns model → seconds [rounds], and model → why it was left out.
    """
    random = np.random.default_rng(0)
    left_out = {}
    for name, batches in runs.items():
        batches[0]()
        if (took := seconds_of(batches[0])) > longest:
            left_out[name] = f"one run takes {took:.1f} s"
    kept = {name: batches for name, batches in runs.items() if name not in left_out}
    for batches in kept.values():
        for batch in batches:
            for _ in range(_WARM_UP):
                batch()
    seconds: dict[str, list[float]] = {name: [] for name in kept}
    end = Deadline(budget)
    for number in range(_MOST_ROUNDS if kept else 0):
        if number >= _LEAST_ROUNDS and end.left() < 0:
            break
        for name in random.permutation(list(kept)):
            between()
            seconds[name].append(seconds_of(kept[name][number % len(kept[name])]))
    return {name: np.array(times) for name, times in seconds.items()}, left_out


def speedup(baseline: Floats, seconds: Floats) -> Ratio:
    """Return how many times faster than `baseline` a model is; both are seconds [rounds].

    Models are loaded once, so a load's effect is in the ratio and not in the interval.
    """
    figure = throughput_ratio(baseline.tolist(), seconds.tolist())
    return Ratio(figure.value, figure.interval)
