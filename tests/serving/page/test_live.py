"""`slipway serve RUN --page`: the page beside a real server, of pairs and of a tagger."""

from __future__ import annotations

import json
import urllib.request
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from serving import commands
from serving.server import triton
from slipway.contract.records import Ports
from slipway.errors import UsageError
from tests.support.serving import word_runs
from tests.support.serving.word_runs import LABELS, WORDS, label_of

pytestmark = pytest.mark.slow
BUSINESS, SPORTS = ([word for word in WORDS if label_of(word) == label][:4] for label in (0, 1))
QUESTIONS: dict[str, Any] = {"text_pair": [" ".join(BUSINESS), BUSINESS[0]], "tagging": " ".join([*BUSINESS, *SPORTS])}
LABELLED = {"text_pair": [LABELS[0]], "tagging": [LABELS[0]] * 4 + [LABELS[1]] * 4}


def get(address: str, texts: list[Any] | None = None) -> Any:
    body = None if texts is None else json.dumps({"texts": texts}).encode()
    asked = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.parametrize("task", QUESTIONS)
def test_what_is_served_and_fp32_beside_it_answer_alike(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = word_runs.build(tmp_path / "run", task=task, variants=("onnx_fp32", "ort_fp32"))
    replies: list[Any] = []

    def serve_once(repository: Path, _: Path, ports: Ports, question: object, page: str, limits: object) -> int:
        with triton.running(repository, ports):
            replies.append(get(f"{page}model"))
            replies.extend(get(f"{page}ask", [QUESTIONS[task], replies[0]["examples"][0]])["rows"])
        return 0

    monkeypatch.setattr(commands, "keep_serving", serve_once)
    assert commands.serve(Namespace(run=run, published=None, page=True, port=triton.free_ports().http, direct=False)) == 0
    facts, row, example = replies
    assert {facts["fp32"], f"bert_{facts['variant']}"} == {"bert_onnx_fp32", "bert_ort_fp32"}
    assert [part["label"] for part in row["parts"]] == LABELLED[task]
    for part in [*row["parts"], *example["parts"]]:
        assert part["fp32"]["probabilities"] == pytest.approx(part["probabilities"], abs=1e-4)


def test_what_is_published_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="serve RUN --page"):
        commands.serve(Namespace(run=None, published=tmp_path, page=True, port=8000))
