"""Any exported SavedModel with its vocabulary, labels and rows, the whole way by the commands a
person runs. Pairs and taggers that were trained elsewhere are in test_pairs.py and test_tagging.py;
this one is no BERT that the export recognises.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.command import slipway_output


def test_a_model_of_an_unknown_kind_is_served_with_its_own_answers(adopted_run: Callable[[str], Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(adopted_run("unknown"), tmp_path / "run"))
    slipway_output("build", run)
    slipway_output("verify", run)
    served = json.loads((run / "served.json").read_text("utf-8"))
    passed = {(check["model"], check["protocol"]) for check in served["checks"] if check["passed"] and not check["wrong_answers"]}
    assert {("bert_onnx_fp32", "http"), ("bert_onnx_fp32", "grpc")} <= passed
    assert {protocol for model, protocol in passed if model.startswith("text_classifier")} == {"http", "grpc"}
    assert served["ready_seconds"] > 0
