"""Measure TensorFlow's fastest matrix product here, with which a job's speed is compared.

Takes square products of several sizes and the fastest of many runs: a shared machine can only make
a run slower. On a CPU it uses the threads that the ranks have together; of GPUs it measures one,
and multiplies by their number.

    python -m train.analysis.matmul_peak --threads 2            → JSON on the output
"""

from __future__ import annotations

import argparse
import json
import os
import time

from slipway import errors

_PRECISIONS = {"CPU": ("float32", "bfloat16"), "GPU": ("float32", "bfloat16", "float16")}  # a CPU has no float16 products
_SIZES = {"CPU": (512, 1024, 2048), "GPU": (4096, 8192, 16384)}  # rows and columns; small ones stay in a CPU's caches
_BUDGET = 0.5  # seconds for each size and precision, at least _LEAST runs
_LEAST = 3


def main() -> int:
    arguments = _parse()
    from slipway.tensorflow import tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print(json.dumps(measured(arguments.gpus, arguments.budget)))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--gpus", type=int, default=1, help="how many are used; no matter on a CPU")
    parser.add_argument("--budget", type=float, default=_BUDGET, help="seconds for each size and precision")
    return parser.parse_args()


def measured(gpus: int = 1, budget: float = _BUDGET) -> dict[str, float]:
    """Return precision → operations per second, with the threads that TensorFlow has here."""
    from slipway.tensorflow import tf

    kind, devices = ("GPU", gpus) if tf.config.list_physical_devices("GPU") else ("CPU", 1)
    return {precision: devices * max(_speed(precision, size, budget) for size in _SIZES[kind]) for precision in _PRECISIONS[kind]}


def _speed(precision: str, size: int, budget: float) -> float:
    """Return the operations per second of [size, size] × [size, size]."""
    from slipway.tensorflow import tf

    left, right = (tf.cast(tf.random.stateless_normal((size, size), (0, seed)), precision) for seed in (1, 2))

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def product() -> tf.Tensor:
        return tf.matmul(left, right)[0, 0]  # one element: to copy the whole result would count as multiplying

    product().numpy()
    seconds: list[float] = []
    end = time.perf_counter() + budget
    while len(seconds) < _LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        product().numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * float(size) ** 3 / min(seconds)


if __name__ == "__main__":
    errors.run(main)
