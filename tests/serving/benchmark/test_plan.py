from __future__ import annotations

import re

import pytest

from serving.benchmark import plan
from serving.benchmark.plan import SETTINGS, Planned
from serving.benchmark.record import MeasuredModel
from serving.repository import embedded
from slipway import statistics

SUBJECTS = [
    MeasuredModel("text_classifier", "text", "ort_int8", False, ""),
    MeasuredModel("text_ort_fp32", "text", "ort_fp32", False, ""),
    MeasuredModel("text_onnx_fp32", "text", "onnx_fp32", False, ""),
    MeasuredModel("bert_ort_int8", "ids", "ort_int8", False, ""),
    MeasuredModel("bert_ort_fp32", "ids", "ort_fp32", False, ""),
    MeasuredModel("bert_onnx_fp32", "ids", "onnx_fp32", False, ""),
    MeasuredModel("usual_tf2onnx", "text", None, True, ""),
    MeasuredModel("usual_savedmodel", "text", None, True, ""),
]


def planned(name: str, gpu: bool = False) -> list[Planned]:
    return plan.plan_loads(SETTINGS[name], SUBJECTS, longest=128, gpu=gpu)


@pytest.mark.parametrize("name", ["quick", "full"])
def test_every_row_has_an_id_of_its_own(name: str) -> None:
    ids = [load.id for load in planned(name)]
    assert len(set(ids)) == len(ids)
    assert {
        "text_classifier/grpc/network/own/16",
        "text_classifier/grpc/network/own/r110",
        "text_classifier/grpc/network/64/16",
    } <= {*ids}


@pytest.mark.parametrize("name", ["quick", "full"])
def test_every_text_model_is_measured_under_one_load_they_share(name: str) -> None:
    ids = {load.id for load in planned(name)}
    assert {f"{subject.name}/grpc/network/own/16" for subject in SUBJECTS if subject.kind == "text"} <= ids


def test_in_full_every_variant_has_every_way_in_and_load() -> None:
    ids = {load.id for load in planned("full")}
    ways = ("http/network", "grpc/network", "grpc/system_shared_memory")
    assert {f"{subject.name}/{way}/own/{n}" for subject in SUBJECTS[:6] for way in ways for n in (1, 4, 16, 64)} <= ids
    assert {f"text_classifier/grpc/network/own/r{share}" for share in (50, 70, 90, 110)} <= ids


def test_a_gpu_adds_its_shared_memory() -> None:
    added = {load.id for load in planned("full", gpu=True)} - {load.id for load in planned("full")}
    assert added
    assert {row_id.split("/")[2] for row_id in added} == {"cuda_shared_memory"}


@pytest.mark.parametrize(("name", "most"), [("quick", 4), ("full", 30)])
def test_on_two_cores_it_takes_no_longer_than_promised(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "cores", lambda: 2)
    card = plan.cost_card(SETTINGS[name], planned(name), SUBJECTS)
    assert int(re.findall(r"about (\d+) minutes", card)[0]) <= most


def test_three_windows_in_five_rounds_have_what_a_p99_needs() -> None:
    fewest = min(load.requests for load in planned("full"))
    assert fewest * 3 * 5 >= 2 * statistics.needed(99)
    assert all(load.requests >= (load.concurrency or 0) for load in planned("full"))


def test_what_the_setting_has_no_load_for_is_named_and_not_loaded() -> None:
    kept, why = plan.with_loads(SETTINGS["quick"], SUBJECTS)
    assert [subject for subject in SUBJECTS if subject not in kept] == [subject for subject in SUBJECTS if subject.name in why]
    assert set(why) == {"bert_ort_fp32", "bert_onnx_fp32"}
    assert plan.with_loads(SETTINGS["full"], SUBJECTS) == (SUBJECTS, {})
