"""Operations and their times, read out of traces: one that TensorFlow writes, and small ones made
by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.tensorflow import tf
from train.analysis import profiler
from train.analysis.profiler import Operation, newest_trace, read_operations


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of three runs of a function with two products and an erf."""
    logs = tmp_path_factory.mktemp("logs")
    square = tf.ones((256, 256))

    @tf.function
    def work(x: tf.Tensor) -> tf.Tensor:
        return tf.math.erf(tf.matmul(tf.matmul(x, square), square))

    work(square)
    with tf.profiler.experimental.Profile(str(logs)):
        for _ in range(3):
            work(square).numpy()
    return newest_trace(logs)


def test_every_operation_of_every_run_is_counted(traced: Path) -> None:
    counts = {operation.kind: operation.count for operation in read_operations(traced)}
    assert sum(count for kind, count in counts.items() if "MatMul" in kind) == 6
    assert counts["Erf"] == 3


def test_the_matrix_products_of_a_function_are_seen(traced: Path) -> None:
    assert any(operation.is_matmul for operation in read_operations(traced))


def test_the_shares_add_up_to_one(traced: Path) -> None:
    assert sum(operation.share for operation in read_operations(traced)) == pytest.approx(1)


def test_a_call_is_not_charged_with_what_runs_inside_of_it() -> None:
    events = [("Call", 0, 100), ("MatMul", 10, 70), ("Erf", 70, 90), ("Erf", 100, 110)]
    assert profiler._own_times(events) == [("Call", 20), ("MatMul", 60), ("Erf", 20), ("Erf", 10)]


def test_on_a_gpu_kernels_count_for_the_operations_that_started_them(tmp_path: Path) -> None:
    """The layout that TensorFlow 2.17's CUPTI collector writes: streams as lines, `tf_op` as a
    reference to its name.
    """
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    space = XSpace()
    plane = space.planes.add(name="/device:GPU:0")
    for number, name in enumerate(("tf_op", "dense/MatMul:MatMul"), 1):
        plane.stat_metadata[number].name = name
    plane.event_metadata[1].name, plane.event_metadata[2].name = "sm90_gemm", "MemcpyD2H"
    stream = plane.lines.add(name="Stream #7(Compute)")
    product = stream.events.add(metadata_id=1, duration_ps=3_000)
    product.stats.add(metadata_id=1, ref_value=2)
    stream.events.add(metadata_id=2, duration_ps=1_000)
    plane.lines.add(name="XLA Ops").events.add(metadata_id=1, duration_ps=9_000)  # the same once more, derived
    path = tmp_path / "gpu.xplane.pb"
    path.write_bytes(space.SerializeToString())
    assert read_operations(path) == [Operation("MatMul", 3e-9, 0.75, 1), Operation("MemcpyD2H", 1e-9, 0.25, 1)]
