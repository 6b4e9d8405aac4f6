from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from serving.benchmark import subjects
from serving.benchmark.subjects import CheckedRun
from slipway.contract.variants import VARIANTS
from slipway.errors import ManifestError

SERVED = {"text_classifier": "ort_int8", "models": {"bert_onnx_fp32": "", "bert_ort_int8": ""}}
PASSED: Any = {name: SimpleNamespace(variant=VARIANTS[name]) for name in ("onnx_fp32", "ort_fp32", "ort_int8", "onnx_fp16")}
BY_SPEED = ("ort_int8", "ort_fp32", "onnx_fp32")
RUN = CheckedRun(Path("run"), cast(Any, None), cast(Any, None), SERVED, PASSED, BY_SPEED, {})


def test_text_classifier_comes_first_then_every_other_variant_then_ids_then_baselines() -> None:
    assert [subject.name for subject in subjects.all_subjects(RUN, cuda=False)] == [
        "text_classifier",
        "text_ort_fp32",
        "text_onnx_fp32",
        "bert_ort_int8",
        "bert_onnx_fp32",
        "usual_tf2onnx",
        "usual_savedmodel",
    ]


def test_other_variants_come_in_the_order_of_their_speed() -> None:
    every = subjects.all_subjects(replace(RUN, engines=("onnx_fp32", "ort_int8", "ort_fp32")), cuda=False)
    assert [subject.name for subject in every[1:3]] == ["text_onnx_fp32", "text_ort_fp32"]


def test_a_gpu_adds_what_was_made_for_it() -> None:
    added = {*subjects.all_subjects(RUN, cuda=True)} - {*subjects.all_subjects(RUN, cuda=False)}
    names = {"text_onnx_fp32_cuda", "text_ort_fp32_cuda", "text_onnx_fp16_cuda"}
    assert {(subject.name, subject.provider) for subject in added} == {(name, "CUDAExecutionProvider") for name in names}


def test_a_model_that_is_not_there_is_refused_with_those_that_are() -> None:
    every = subjects.all_subjects(RUN, cuda=False)
    with pytest.raises(ManifestError, match=r"usual_savedmodel(.|\n)*nobody"):
        subjects.choose_subjects(every, ["nobody"], RUN.run)


def test_text_classifier_is_measured_with_what_is_asked_for() -> None:
    wanted, _ = subjects.choose_subjects(subjects.all_subjects(RUN, cuda=False), ["bert_ort_int8"], RUN.run)
    assert [subject.name for subject in wanted] == ["text_classifier", "bert_ort_int8"]


def test_a_variant_that_passed_and_answers_no_text_here_is_named_with_the_reason() -> None:
    every = subjects.all_subjects(RUN, cuda=False)
    assert subjects.variants_left_out(RUN, every, "no NVIDIA GPU") == {"text_onnx_fp16": "no NVIDIA GPU"}
    assert subjects.variants_left_out(RUN, subjects.all_subjects(RUN, cuda=True), "") == {}


def test_a_variant_that_did_not_pass_is_named_with_the_reason() -> None:
    checked = replace(RUN, left_out={"tensorrt_fp16": "not decided: 4 lost of 445"})
    named = subjects.variants_left_out(checked, subjects.all_subjects(checked, cuda=True), "")
    assert named == {"text_tensorrt_fp16": "not decided: 4 lost of 445"}
