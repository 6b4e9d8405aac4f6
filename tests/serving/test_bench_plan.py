from __future__ import annotations

import re

import pytest

from serving import bench_plan, embedded_models, intervals
from serving.bench_plan import SETTINGS, Planned
from serving.bench_repository import Subject

SUBJECTS = [
    Subject("text_classifier", "text", "ort_int8", False, ""),
    Subject("text_ort_fp32", "text", "ort_fp32", False, ""),
    Subject("text_onnx_fp32", "text", "onnx_fp32", False, ""),
    Subject("bert_ort_int8", "ids", "ort_int8", False, ""),
    Subject("bert_ort_fp32", "ids", "ort_fp32", False, ""),
    Subject("bert_onnx_fp32", "ids", "onnx_fp32", False, ""),
    Subject("usual_tf2onnx", "text", None, True, ""),
    Subject("usual_savedmodel", "text", None, True, ""),
]


def planned(name: str, gpu: bool = False) -> list[Planned]:
    return bench_plan.plan(SETTINGS[name], SUBJECTS, longest=128, gpu=gpu)


@pytest.mark.parametrize("name", ["quick", "full"])
def test_every_row_has_an_id_of_its_own(name: str) -> None:
    ids = [one.id for one in planned(name)]
    assert len(set(ids)) == len(ids)
    assert {
        "text_classifier/grpc/network/own/16",
        "text_classifier/grpc/network/own/r110",
        "text_classifier/grpc/network/64/16",
    } <= {*ids}


@pytest.mark.parametrize("name", ["quick", "full"])
def test_every_text_model_is_measured_under_one_load_they_share(name: str) -> None:
    ids = {one.id for one in planned(name)}
    assert {f"{one.name}/grpc/network/own/16" for one in SUBJECTS if one.kind == "text"} <= ids


def test_in_full_every_variant_has_every_way_in_and_load() -> None:
    ids = {one.id for one in planned("full")}
    ways = ("http/network", "grpc/network", "grpc/system_shared_memory")
    assert {f"{one.name}/{way}/own/{n}" for one in SUBJECTS[:6] for way in ways for n in (1, 4, 16, 64)} <= ids
    assert {f"text_classifier/grpc/network/own/r{share}" for share in (50, 70, 90, 110)} <= ids


def test_a_gpu_adds_its_shared_memory() -> None:
    added = {one.id for one in planned("full", gpu=True)} - {one.id for one in planned("full")}
    assert added
    assert {one.split("/")[2] for one in added} == {"cuda_shared_memory"}


@pytest.mark.parametrize(("name", "most"), [("quick", 4), ("full", 30)])
def test_on_two_cores_it_takes_no_longer_than_promised(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_models, "cores", lambda: 2)
    card = bench_plan.cost_card(SETTINGS[name], planned(name), SUBJECTS)
    assert int(re.findall(r"about (\d+) minutes", card)[0]) <= most


def test_three_windows_in_five_rounds_have_what_a_p99_needs() -> None:
    fewest = min(one.requests for one in planned("full"))
    assert fewest * 3 * 5 >= 2 * intervals.needed(99)
    assert all(one.requests >= (one.concurrency or 0) for one in planned("full"))


def test_what_the_setting_has_no_load_for_is_named_and_not_loaded() -> None:
    kept, why = bench_plan.with_loads(SETTINGS["quick"], SUBJECTS)
    assert [one for one in SUBJECTS if one not in kept] == [one for one in SUBJECTS if one.name in why]
    assert set(why) == {"bert_ort_fp32", "bert_onnx_fp32"}
    assert bench_plan.with_loads(SETTINGS["full"], SUBJECTS) == (SUBJECTS, {})
