"""The repository for NVIDIA's container: sound by the linter, and right in the real Triton, with a
stand-in for its engine.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from export.runtime import tensorrt_profiles
from serving import model_config
from serving.model_config import Batching
from serving.repository import embedded, ngc, ragged_onnx
from serving.server import triton
from serving.server.triton import Server
from slipway import tools
from slipway.client import client
from slipway.client.client import Client
from slipway.client.transport import PROTOCOLS
from slipway.contract import bundle, manifest
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.records import MAX_BATCH, REPOSITORY
from slipway.contract.variants import VARIANTS
from slipway.errors import ServerError
from slipway.lint import linter
from tests.support.command import CHECKOUT, slipway, slipway_output

NATIVE = tools.TRITON_BACKENDS / "onnxruntime"


def config_of(repository: Path, name: str) -> Any:
    return model_config.read((repository / name / "config.pbtxt").read_text())


def put_stand_in(repository: Path) -> None:
    """tests/support/serving/native_engine.py in place of the ONNX Runtime backend. The queues'
    policies go: in the embedded Triton they stall.
    """
    for path in repository.glob("*/config.pbtxt"):
        config = model_config.read(path.read_text())
        if config.HasField("dynamic_batching"):
            config.dynamic_batching.ClearField("default_queue_policy")
        if config.backend == "onnxruntime":
            config.backend = "python"
            config.instance_group[0].kind = pb.ModelInstanceGroup.KIND_CPU
            config.ClearField("batch_input")
            config.ClearField("optimization")
            shutil.copyfile(CHECKOUT / "tests/support/serving/native_engine.py", path.parent / "1/model.py")
        path.write_text(text_format.MessageToString(config))
    manifest.seal(repository, REPOSITORY, {})


@dataclass(frozen=True)
class Served:
    task: str
    run: Path
    server: Server
    golden: Golden
    labels: list[str]

    def ask(self, connection: Client, texts: list[Any]) -> list[Any]:
        return connection.tag(texts) if self.task == "tagging" else connection.classify(texts)

    def expected(self, rows: range) -> list[np.ndarray]:
        """Of each row the golden logits, of a tagger those of its words."""
        golden = self.golden
        return [golden.logits[golden.asked & (golden.text_of == row)] for row in rows]


no_native = pytest.mark.skipif(not NATIVE.is_dir(), reason=f"no {NATIVE}: the native backend is in NVIDIA's container alone")


@pytest.fixture(scope="module", params=bundle.TASKS)
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["stand-in", pytest.param("native", marks=no_native)])
def served(
    task: str, request: pytest.FixtureRequest, ngc_run: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    run = ngc_run(task)
    repository = Path(shutil.copytree(run / "model_repository_ngc", tmp_path_factory.mktemp("served_ngc") / "model_repository"))
    if request.param == "stand-in":
        put_stand_in(repository)
    source = bundle.load(run / "bundle")
    with triton.running(repository) as server:
        yield Served(task, run, server, bundle.load_golden(source), source.labels)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_ensemble_gives_the_golden_answers(served: Served, protocol: str) -> None:
    rows = range(100)
    address = served.server.http if protocol == "http" else served.server.grpc
    with client.Client(f"{protocol}://{address}") as connection:
        answers = served.ask(connection, served.golden.texts[: len(rows)])
    assert [answer.tokens for answer in answers] == served.golden.ids.lengths[: len(rows)].tolist()
    for answer, logits in zip(answers, served.expected(rows), strict=True):
        given, names = np.atleast_2d(answer.logits), [answer.label] if served.task != "tagging" else list(answer.labels)
        np.testing.assert_allclose(given, logits, atol=1e-2)
        assert names == [served.labels[i] for i in logits.argmax(axis=1)]


def test_verify_replays_a_container_that_runs_elsewhere(served: Served) -> None:
    words = ["verify", served.run, "--target", "ngc", "--address", f"grpc://{served.server.grpc}"]
    assert "passed" in slipway_output(*words)


def test_a_classification_names_the_labels_but_a_taggers(served: Served) -> None:
    outputs = config_of(served.server.repository, "text_classifier").output
    named = [output.name for output in outputs if output.label_filename]
    assert named == ([] if served.task == "tagging" else ["logits"])
    if named:
        with client.Client(f"grpc://{served.server.grpc}") as connection:
            assert connection.labels() == tuple(served.labels)


def test_requests_of_unequal_length_share_a_batch_and_get_their_own_answers(served: Served) -> None:
    texts = served.golden.texts[:48]
    with client.Client(f"grpc://{served.server.grpc}") as connection, ThreadPoolExecutor(16) as threads:
        for _ in range(20):  # how requests meet is up to the machine
            answers = list(threads.map(lambda text: served.ask(connection, [text])[0], texts))
            if any(len(set(lengths)) > 1 for lengths in batches(served.server)):
                break
        else:
            pytest.fail("no batch of unequal requests in 20 rounds")
    for answer, logits in zip(answers, served.expected(range(len(texts))), strict=True):
        np.testing.assert_allclose(np.atleast_2d(answer.logits), logits, atol=1e-2)


def batches(server: Server) -> list[list[str]]:
    """The lengths of the rows of each batch, as the stand-in tells them."""
    lines = server.log.read_text().splitlines()
    return [re.findall(r"\d+, (\d+)", line) for line in lines if "rows of one batch" in line]


def test_a_bad_text_among_many_fails_alone_and_its_message_has_no_paths(served: Served) -> None:
    empty = {"single_text": "", "text_pair": ["a text", ""], "tagging": [""]}[served.task]
    with client.Client(f"http://{served.server.http}") as connection, ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(served.ask, connection, [text]) for text in (*served.golden.texts[:8], empty)]
        with pytest.raises(ServerError, match=r"is empty|has no words") as raised:
            asked[-1].result()
        assert len([future.result() for future in asked[:-1]]) == 8
    assert str(served.server.log.parent) not in str(raised.value)


def test_the_linter_finds_nothing_and_says_what_it_cannot_see(task: str, ngc_run: Callable[[str], Path]) -> None:
    report = linter.check(ngc_run(task) / "model_repository_ngc")
    assert report.findings == ()
    # A Python model declares no signature, and there may be no GPU for an accelerator.
    assert {unchecked.model for unchecked in report.unchecked} >= {"tokenizer", "answer"}


def test_the_engine_is_told_where_each_row_ends(task: str, ngc_run: Callable[[str], Path]) -> None:
    config = config_of(ngc_run(task) / "model_repository_ngc", "bert_onnx_fp32")
    assert config.backend == "onnxruntime"
    assert all(tensor.allow_ragged_batch for tensor in config.input)
    [told] = config.batch_input
    assert (told.kind, list(told.target_name)) == (pb.BatchInput.BATCH_ITEM_SHAPE, [ragged_onnx.LENGTHS])


def test_who_may_wait_and_how_long_is_said_for_every_model_that_computes(ngc_run: Callable[[str], Path]) -> None:
    for name in ("tokenizer", "bert_onnx_fp32", "answer"):
        policy = config_of(ngc_run("single_text") / "model_repository_ngc", name).dynamic_batching.default_queue_policy
        assert (policy.max_queue_size, policy.default_timeout_microseconds) == (256, 5_000_000)
        assert (policy.timeout_action, policy.allow_timeout_override) == (pb.ModelQueuePolicy.REJECT, True)


def test_fp32_is_not_computed_in_tf32(ngc_run: Callable[[str], Path]) -> None:
    config = config_of(ngc_run("single_text") / "model_repository_ngc", "bert_onnx_fp32")
    [cuda] = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (cuda.name, dict(cuda.parameters)) == ("cuda", {"use_tf32": "0"})


def test_the_documented_numbers_are_those_of_the_code() -> None:
    rows = [line.split("|")[1:] for line in (CHECKOUT / "docs/configuration.md").read_text("utf-8").splitlines() if line[:1] == "|"]
    documented = {cells[0].strip(): (cells[1].strip(), cells[2].strip()) for cells in rows}
    queue = ngc._QUEUE
    assert documented["largest batch"] == (str(MAX_BATCH),) * 2
    assert documented["queue size"] == ("no limit", f"{queue.size}, then refused as unavailable")
    assert documented["time in the queue"] == ("no limit", f"{queue.timeout / 1e6:g} s, then refused")
    assert documented["queue delay"] == (f"{Batching().delay} µs",) * 2
    processes = f"engine 1 a GPU, Python models {ngc._PYTHON.count} each"
    assert documented["processes, `instances`"] == (f"one a core, up to {embedded._MOST_INSTANCES}; `--instances N`", processes)


def tensorrt(source: Bundle, golden: Golden) -> Any:
    return ngc.engine_config(SimpleNamespace(variant=VARIANTS["tensorrt_fp16"]), source, golden)  # type: ignore[arg-type]


def test_a_tensorrt_engine_gets_rows_of_few_widths_that_its_profiles_hold(task: str, ngc_run: Callable[[str], Path]) -> None:
    source = bundle.load(ngc_run(task) / "bundle")
    golden = bundle.load_golden(source)
    config = tensorrt(source, golden)
    assert (config.backend, config.instances.kind) == ("tensorrt", "KIND_GPU")
    assert config.max_batch_size == tensorrt_profiles.MOST_ROWS
    widths = ngc.widths(source, golden)
    assert widths[-1] == source.max_seq_len
    assert len(widths) <= 4


def test_the_repository_of_a_tensorrt_engine_is_sound(task: str, ngc_run: Callable[[str], Path], tmp_path: Path) -> None:
    """Its plan cannot be built here; an empty one would be found, so this says what it is."""
    source = bundle.load(ngc_run(task) / "bundle")
    golden = bundle.load_golden(source)
    engine = tensorrt(source, golden)
    for config in (engine, ngc.ensemble(source, engine)):
        embedded.copy_labels(config.write(tmp_path), source)
    (tmp_path / engine.name / "1/model.plan").write_text("no engine")
    ngc._write_tokenizer(tmp_path, source, golden, engine, start_up=[], priorities=0)
    ngc._write_answer(tmp_path, source, engine, priorities=0)
    assert linter.check(tmp_path).findings == ()


def test_an_engine_that_has_not_passed_is_refused_with_what_has(ngc_run: Callable[[str], Path]) -> None:
    run = ngc_run("single_text")
    done = slipway("build", run, "--target", "ngc", "--engine", "tensorrt_fp16")
    assert done.returncode == 1
    assert "expected  tensorrt_fp16" in done.stderr
    assert "onnx_fp32" in done.stderr
