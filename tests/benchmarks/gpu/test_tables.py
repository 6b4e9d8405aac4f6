"""The GPU's tables say what was measured on a GPU, or that nothing was."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.gpu import tables
from benchmarks.gpu.models import AS_THEY_COME, CAPTURED
from slipway.contract.records import from_json

GRAPH = next(iter(CAPTURED))
DEVICE = {"kind": "cuda", "name": "NVIDIA H200", "driver": "580.65.06"}
SIGNED = {
    "versions": {"python": "3.11"},
    "commit": "abc",
    "command": "python -m benchmarks.gpu.engines",
    "machine": {"cpu": "A CPU", "cpu_flags": [], "cores": 2, "memory_gib": 8, "system": "Linux"},
}


def verdict(variant: str, flips: int) -> dict[str, Any]:
    measured = dict.fromkeys(("non_finite_rows", "flip_rate_bound", "accuracy_loss_bound", "logit_difference_max"), 0)
    return {"variant": variant, "passed": True, "failures": [], "rows": 512, "flips": flips, **measured}


def engines() -> dict[str, Any]:
    row = {"ms": 1.0, "ms_quartiles": [1.0, 1.0], "rounds": 6, "sequences_per_second": 1234.5}
    row |= {"tokens_per_second": 1.0, "tflops": 1.0, "share_of_peak": 0.5}
    contenders = {"ort_fp16": row, GRAPH: row | {"sequences_per_second": 99.0}}
    cells = [{"batch": 32, "tokens": 128, "contenders": contenders, "left_out": {}, "ratios": {}}]
    ratios = {"ort_fp16": {"ratio": 1.0, "interval": [0.9, 1.1]}}
    news = {AS_THEY_COME: {"padding": 0.5, "contenders": {"ort_fp16": row}, "left_out": {}, "ratios": ratios}}
    parity = [verdict("ort_fp16", 1)]
    model = {
        "model": "bert-base",
        "parity": parity,
        "peers": [],
        "shapes": cells,
        "ag_news": news,
        "skipped": {"PyTorch": "not here"},
        "rows_compared": 512,
        "profiles": [],
        "batch_of_one": None,
    }
    targets = [{"target": "fast", "found": 0.61, "met": True}, {"target": "small", "found": None, "met": None}]
    peak = {"tflops": 700.0, "tflops_median": 690.0, "type": "float16", "size": 8192, "by": "PyTorch"}
    return {
        "device": DEVICE,
        "models": [model],
        "failed": {"bert-large": "out of memory"},
        "targets": targets,
        "matmul_peak": peak,
        "seconds": 400.0,
        **SIGNED,
    }


def serving() -> dict[str, Any]:
    load = {"concurrency": 8, "errors": 0, "command": "perf_analyzer"}
    served = {**load, "protocol": "grpc", "status": "ok", "failures": [], "throughput": 900.0, "p50_ms": 8.0, "p99_ms": 12.0}
    failed = {**load, "protocol": "http", "status": "FAILED", "failures": ["exit status 99"]}
    limit = {"texts_per_second": 1000.0, "texts_per_second_with_all_parts": 700.0, "batch": 256, "passes": 4}
    limit["shares"] = {"tokenizing": 0.2, "transfer": 0.1, "engine": 0.7}
    facts = {"device": DEVICE, "variant": "packed_fp16", "texts": 100, "max_batch": 256, "served_difference": 0.0}
    return {**facts, "rows": [served, failed], "limit": limit, **SIGNED}


@pytest.mark.parametrize("table", [tables.engines, tables.serving])
@pytest.mark.parametrize("record", [None, {"device": {"kind": "cpu"}}], ids=["no record", "a trial on a CPU"])
def test_without_a_record_of_a_gpu_the_table_names_the_command_and_no_figure(table: Any, record: Any) -> None:
    assert table(record).startswith("Not measured yet: ")
    assert "python -m benchmarks.gpu." in table(record)
    assert "|" not in table(record)


def test_a_models_row_has_its_best_batch_and_its_changed_labels() -> None:
    text = tables.engines(engines())
    assert "| bert-base | ort_fp16 | 1 of 512 | 1,234 | 50% | 1,234 | 1.00 (0.90 to 1.10) |" in text
    assert f"| bert-base | {GRAPH} | – | 99 | 50% | – | – |" in text
    assert "| bert-base | PyTorch | skipped: not here | | | | |" in text
    assert "| bert-large | failed: out of memory | | | | | |" in text


def test_a_model_without_shapes_keeps_its_rows() -> None:
    record = engines()
    record["models"][0] |= {"shapes": [], "parity": [verdict("onnx_fp16", 0)]}
    assert "| bert-base | onnx_fp16 | 0 of 512 | – | – | – | – |" in tables.engines(record)
    assert "| bert-base | ort_fp16 | – | – | – | 1,234 | 1.00 (0.90 to 1.10) |" in tables.engines(record)


def test_without_the_padded_graph_there_are_rates_and_no_ratios() -> None:
    record = engines()
    record["models"][0]["ag_news"][AS_THEY_COME]["ratios"] = {}
    assert "| bert-base | ort_fp16 | 1 of 512 | 1,234 | 50% | 1,234 | – |" in tables.engines(record)


def test_texts_that_there_was_no_time_for_have_no_rates() -> None:
    record = engines()
    record["models"][0]["ag_news"] = {}
    assert "| bert-base | ort_fp16 | 1 of 512 | 1,234 | 50% | – | – |" in tables.engines(record)


def test_targets_are_shown_met_or_not_measured() -> None:
    text = tables.engines(engines())
    assert "- fast: 0.61, met" in text
    assert "- small: not measured" in text


@pytest.mark.parametrize("text", [tables.engines(engines()), tables.serving(serving())], ids=["engines", "serving"])
def test_a_table_is_signed_with_gpu_driver_versions_and_command(text: str) -> None:
    assert "NVIDIA H200, driver 580.65.06; python 3.11; commit abc; `python -m benchmarks.gpu.engines`." in text


def test_what_was_served_stands_beside_the_limit_and_a_failure_is_said() -> None:
    text = tables.serving(serving())
    assert "| grpc | 8 | 900 | 90% | 8.0 | 12.0 |" in text
    assert "| http | 8 | exit status 99 | | | |" in text
    assert "tokenizing 20%, transfer 10%, engine 70%" in text


def test_everything_measured_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    record = engines()
    record["models"][0]["shapes"][0]["left_out"] = {"PyTorch": "no memory"}
    record["models"][0]["batch_of_one"] = {
        "tokens": 32,
        "nodes": 9,
        "contenders": {"ort_fp16": {"ms": 1.0, "floor_ms": 0.5, "over_floor": 2.0}},
    }
    tables.show(from_json(tables.EnginesRecord, record))
    printed = capsys.readouterr().out
    for words in ("answers against FP32", "full rows", "1,234", "left out", "against 9 launches", "fast: 0.61, met"):
        assert words in printed
