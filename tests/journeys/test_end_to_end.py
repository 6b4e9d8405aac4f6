"""A tiny BERT the whole way by the commands a person runs: Horovod, tf2onnx, ONNX Runtime, Triton,
perf_analyzer, the page.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import psutil
import pytest

from slipway.contract import bundle, manifest
from slipway.contract.records import TEXT_MODEL
from tests.support import browser
from tests.support.command import CHECKOUT, slipway, slipway_output, succeed


def record(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def test_two_horovod_processes_trained_on_every_row_once(finished_run: Path) -> None:
    metrics = bundle.load(finished_run / "bundle").facts["metrics"]
    assert (metrics["world_size"], metrics["examples"]) == (2, 2 * 2000)  # in both epochs
    assert metrics["test_accuracy"] > 0.9


def test_the_repository_has_nothing_to_find_fault_with(finished_run: Path) -> None:
    said = slipway_output("lint", finished_run / "model_repository")
    assert "errors 0, warnings 0" in said


def test_the_loss_fell(finished_run: Path) -> None:
    losses = [line["loss"] for line in record(finished_run / "bundle/history.json")["steps"]]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_the_golden_rows_carry_texts_ids_labels_and_reference_logits(finished_run: Path) -> None:
    golden = bundle.load_golden(bundle.load(finished_run / "bundle"))
    assert len(golden.texts) == len(golden.ids) == len(golden.labels) == len(golden.logits)
    assert len(golden.texts) == 2400
    assert (golden.logits.argmax(axis=1) == golden.labels).mean() > 0.9


def test_the_encoder_was_recognised_and_written_anew(finished_run: Path) -> None:
    assert record(finished_run / "artifacts/onnx_fp32/artifact.json")["how"].startswith("canonical encoder, 2 layers, exact GELU")


@pytest.mark.parametrize("variant", ["onnx_fp32", "ort_fp32", "ort_int8", "onnx_fp16"])
def test_every_conversion_was_compared_on_all_golden_rows_and_passed(finished_run: Path, variant: str) -> None:
    parity = record(finished_run / "artifacts" / variant / "parity.json")
    rows = len(bundle.load_golden(bundle.load(finished_run / "bundle")).texts)
    assert (parity["passed"], parity["rows"], parity["failures"]) == (True, rows, [])


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="with a GPU the variants may be there")
def test_what_cannot_run_here_is_skipped_with_its_reason(finished_run: Path) -> None:
    skipped = record(finished_run / "artifacts/skipped.json")
    assert set(skipped) == {"tensorrt_fp16", "tensorrt_fp32", "tftrt_fp32", "tftrt_fp16"}
    assert all("libnvinfer" in why["reason"] and why["fix"] for why in skipped.values())


def orphaned_regions() -> set[Path]:
    """Shared memory of servers that are no more."""
    return {path for path in Path("/dev/shm").glob("slipway_*") if not psutil.pid_exists(int(path.name.split("_")[1]))}


@pytest.fixture(scope="module")
def regions_before() -> set[Path]:
    return orphaned_regions()


BENCH = ["--concurrency", 1, 8, "--rounds", 2, "--window-ms", 150, "--texts", 200, "--price-per-hour", 1, "--subjects"]
BENCH += [TEXT_MODEL, "bert_ort_int8", "usual_tf2onnx", "usual_savedmodel"]


@pytest.fixture(scope="module")
def measured_run(finished_run: Path, regions_before: set[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run, served, measured and reported."""
    run = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("measured") / "run"))
    slipway_output("verify", run)
    slipway_output("bench", run, *BENCH)
    slipway_output("report", run)
    slipway_output("compare", run, run)
    return run


def test_the_live_server_answers_as_the_saved_model_over_both_protocols(measured_run: Path) -> None:
    served = record(measured_run / "served.json")
    asked = {(check["model"], check["protocol"], check["passed"]) for check in served["checks"]}
    chosen = record(measured_run / "model_repository/repository.json")["text_classifier"]
    assert {(f"text_classifier ({chosen})", protocol, True) for protocol in ("http", "grpc")} <= asked
    assert served["passed"]


def test_the_benchmark_is_as_its_schema_says(measured_run: Path) -> None:
    schema = record(CHECKOUT / "docs" / "benchmark.schema.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(record(measured_run / "benchmark.json"))


def test_the_benchmark_counts_every_request_and_its_errors(measured_run: Path) -> None:
    rows = {row["id"]: row for row in record(measured_run / "benchmark.json")["rows"]}
    assert {f"text_classifier/{protocol}/network/own/{n}" for protocol in ("http", "grpc") for n in (1, 8)} < set(rows)
    assert {f"{name}/grpc/network/own/8" for name in ("bert_ort_int8", "usual_tf2onnx", "usual_savedmodel")} < set(rows)
    assert {(row["status"] != "FAILED", row["errors"], row["exit_status"]) for row in rows.values()} == {(True, 0, 0)}
    assert all(0 < row["p50_ms"]["value"] <= row["p95_ms"]["value"] <= row["p99_ms"]["value"] for row in rows.values())


def test_the_benchmark_leaves_its_record_and_tf2onnx_graph_and_nothing_else(measured_run: Path, finished_run: Path) -> None:
    names = [{path.name for path in run.iterdir()} for run in (measured_run, finished_run)]
    assert names[0] - names[1] == {"benchmark.json", "baseline", "served.json", "report.html", "compare.html"}


ANSWER = """
import json, sys
from pathlib import Path
import numpy as np
backend, directory, asked, answered = sys.argv[1:]
sys.path.insert(0, backend)
from baseline_engine import BaselineEngine
with np.load(asked) as found:
    rows = np.split(found["ids"], found["ends"][:-1])
settings = json.loads((Path(directory) / "settings.json").read_text())
result = BaselineEngine(Path(directory), settings).run(rows)
np.savez(answered, logits=result.logits, tokens=result.tokens, padding=result.padding)
"""


@pytest.mark.parametrize("baseline", ["tf2onnx", "savedmodel"])
def test_a_baseline_answers_as_the_saved_model(measured_run: Path, tmp_path: Path, baseline: str) -> None:
    """Also in a batch of unequal rows: what is padded to one width is padded with a mask. In a
    process of its own.
    """
    source = bundle.load(measured_run / "bundle")
    golden = bundle.load_golden(source)
    settings = {"max_seq_len": source.max_seq_len, "threads": 1, "provider": "CPUExecutionProvider"}
    manifest.write_json(tmp_path / "settings.json", settings)
    if baseline == "tf2onnx":
        shutil.copy(measured_run / "baseline" / "tf2onnx.onnx", tmp_path / "model.onnx")
    else:
        shutil.copytree(source.saved_model, tmp_path / "saved_model")
    lengths = golden.ids.lengths[:16]
    np.savez(tmp_path / "asked.npz", ids=np.concatenate([golden.ids[row] for row in range(16)]), ends=lengths.cumsum())
    backend = CHECKOUT / "serving" / "backend"
    succeed("-c", ANSWER, backend, tmp_path, tmp_path / "asked.npz", tmp_path / "answered.npz")
    with np.load(tmp_path / "answered.npz") as found:
        np.testing.assert_allclose(found["logits"], golden.logits[:16], atol=1e-4)
        assert (found["tokens"], found["tokens"] + found["padding"]) == (lengths.sum(), 16 * source.max_seq_len)


def test_padding_was_counted_of_texts_of_every_length(measured_run: Path) -> None:
    padding = record(measured_run / "benchmark.json")["padding"]
    assert 0 <= padding["waste"] < 0.5
    assert sum(one["texts"] for one in padding["by_length"]) == 200


def test_the_pages_name_no_address_to_load_from(measured_run: Path) -> None:
    for name in ("report.html", "compare.html"):
        before_script, _, rest = (measured_run / name).read_text("utf-8").partition("<script>")
        body = before_script + rest.partition("</script>")[2]
        assert "src=" not in body
        assert set(re.findall('href="(.)', body)) <= {"#", "d"}  # within the page, and the icon's data:


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium: apt-get install chromium")
def test_the_report_draws_what_was_measured_in_a_browser(measured_run: Path, tmp_path: Path) -> None:
    with browser.opened(measured_run / "report.html", tmp_path, width=500) as page:
        assert {"latency", "stages", "padding", "parity", "confusion", "training"} <= set(page.evaluate(browser.DRAWN))
        assert page.evaluate(browser.WIDTH_TOO_MUCH) <= 0
        assert (page.requested, page.errors) == ([], [])


def test_a_run_beside_itself_has_no_difference(measured_run: Path) -> None:
    page = (measured_run / "compare.html").read_text("utf-8")
    assert "No difference in accuracy can be shown" in page
    assert "Of 2,400 texts only B has 0 right, only A 0" in page
    assert "Both were made and measured in the same way" in page


def test_nothing_is_left_behind_by_the_servers(measured_run: Path, regions_before: set[Path]) -> None:
    assert record(measured_run / "served.json")["passed"]
    assert orphaned_regions() - regions_before == set()
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(measured_run) in " ".join(one.info["cmdline"] or [])]


def test_a_changed_model_file_is_refused_before_it_is_served(run_copy: Path) -> None:
    model = run_copy / "model_repository/text_classifier/1/model.onnx"
    data = bytearray(model.read_bytes())
    data[-100] ^= 1
    model.unlink()  # it is a hard link
    model.write_bytes(data)
    done = slipway("verify", run_copy)
    assert done.returncode == 6
    assert "text_classifier/1/model.onnx" in done.stderr


def test_a_bundle_with_a_changed_vocabulary_is_refused(run_copy: Path) -> None:
    with (run_copy / "bundle/vocab.txt").open("a") as file:
        file.write("new\n")
    done = slipway("export", run_copy)
    assert done.returncode == 6
    assert "vocab.txt" in done.stderr
    assert (run_copy / "artifacts/export.json").is_file()
