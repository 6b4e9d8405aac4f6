"""The GPU's tables say what was measured on a GPU, or that nothing was."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.gpu import pages
from benchmarks.gpu.records import AS_THEY_COME, CAPTURED

GRAPH = next(iter(CAPTURED))
DEVICE = {"kind": "cuda", "name": "NVIDIA H200", "driver": "580.65.06"}
SIGNED = {"versions": {"python": "3.11"}, "commit": "abc", "command": "python -m benchmarks.gpu.engines"}


def engines() -> dict[str, Any]:
    row = {"sequences_per_second": 1234.5, "share_of_peak": 0.5}
    cells = [{"tokens": 128, "contenders": {"ort_fp16": row, GRAPH: row | {"sequences_per_second": 99.0}}}]
    news = {AS_THEY_COME: {"contenders": {"ort_fp16": row}, "ratios": {"ort_fp16": {"ratio": 1.0, "interval": [0.9, 1.1]}}}}
    parity = [{"variant": "ort_fp16", "flips": 1, "rows": 512}]
    model = {
        "model": "bert-base",
        "parity": parity,
        "peers": [],
        "shapes": cells,
        "ag_news": news,
        "skipped": {"PyTorch": "not here"},
    }
    targets = [{"what": "fast", "found": 0.61, "reached": True}, {"what": "small", "found": None, "reached": None}]
    peak = {"tflops": 700.0, "type": "float16", "size": 8192, "by": "PyTorch"}
    return {
        "device": DEVICE,
        "models": [model],
        "failed": {"bert-large": "out of memory"},
        "targets": targets,
        "matmul_peak": peak,
        **SIGNED,
    }


def serving() -> dict[str, Any]:
    served = {"protocol": "grpc", "concurrency": 8, "status": "ok", "throughput": 900.0, "p50_ms": 8.0, "p99_ms": 12.0}
    failed = {"protocol": "http", "concurrency": 8, "status": "FAILED", "failures": ["exit status 99"]}
    limit = {"texts_per_second": 1000.0, "shares": {"tokenizing": 0.2, "transfer": 0.1, "engine": 0.7}}
    return {"device": DEVICE, "variant": "packed_fp16", "rows": [served, failed], "limit": limit, **SIGNED}


@pytest.mark.parametrize("table", [pages.engines, pages.serving])
@pytest.mark.parametrize("record", [None, {"device": {"kind": "cpu"}}], ids=["no record", "a trial on a CPU"])
def test_without_a_record_of_a_gpu_the_table_names_the_command_and_no_figure(table: Any, record: Any) -> None:
    assert table(record).startswith("Not measured yet: ")
    assert "python -m benchmarks.gpu." in table(record)
    assert "|" not in table(record)


def test_a_models_row_has_its_best_batch_and_its_changed_labels() -> None:
    text = pages.engines(engines())
    assert "| bert-base | ort_fp16 | 1 of 512 | 1,234 | 50% | 1,234 | 1.00 (0.90 to 1.10) |" in text
    assert f"| bert-base | {GRAPH} | – | 99 | 50% | – | – |" in text
    assert "| bert-base | PyTorch | skipped: not here | | | | |" in text
    assert "| bert-large | failed: out of memory | | | | | |" in text


def test_a_model_without_shapes_keeps_its_rows() -> None:
    record = engines()
    record["models"][0] |= {"shapes": [], "parity": [{"variant": "onnx_fp16", "flips": 0, "rows": 512}]}
    assert "| bert-base | onnx_fp16 | 0 of 512 | – | – | – | – |" in pages.engines(record)
    assert "| bert-base | ort_fp16 | – | – | – | 1,234 | 1.00 (0.90 to 1.10) |" in pages.engines(record)


def test_without_the_padded_graph_there_are_rates_and_no_ratios() -> None:
    record = engines()
    record["models"][0]["ag_news"][AS_THEY_COME]["ratios"] = {}
    assert "| bert-base | ort_fp16 | 1 of 512 | 1,234 | 50% | 1,234 | – |" in pages.engines(record)


def test_texts_that_there_was_no_time_for_have_no_rates() -> None:
    record = engines()
    record["models"][0]["ag_news"] = {}
    assert "| bert-base | ort_fp16 | 1 of 512 | 1,234 | 50% | – | – |" in pages.engines(record)


def test_targets_are_shown_reached_or_not_measured() -> None:
    text = pages.engines(engines())
    assert "- fast: 0.61, reached" in text
    assert "- small: not measured" in text


@pytest.mark.parametrize("text", [pages.engines(engines()), pages.serving(serving())], ids=["engines", "serving"])
def test_a_table_is_signed_with_gpu_driver_versions_and_command(text: str) -> None:
    assert "NVIDIA H200, driver 580.65.06; python 3.11; commit abc; `python -m benchmarks.gpu.engines`." in text


def test_what_was_served_stands_beside_the_limit_and_a_failure_is_said() -> None:
    text = pages.serving(serving())
    assert "| grpc | 8 | 900 | 90% | 8.0 | 12.0 |" in text
    assert "| http | 8 | exit status 99 | | | |" in text
    assert "tokenizing 20%, transfer 10%, engine 70%" in text
