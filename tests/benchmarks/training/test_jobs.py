"""The comparisons of training jobs: who is compared with whom, on the same work; no job is run
here.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.training import jobs, speed
from benchmarks.training.jobs import Rate, SettingRow
from slipway.statistics import Ratio
from train import options, settings
from train.analysis.trial import Timed
from train.data.corpus import Corpus
from train.distributed.ranks import Ranks
from train.job import Job


@pytest.fixture(scope="module")
def parsed(generated: Path) -> tuple[Corpus, Job]:
    """The generated corpus, and the job that `train.finetune` would run on it by default."""
    parser = argparse.ArgumentParser()
    options.add_job(parser)
    parser.set_defaults(run=Path("run"))
    arguments = parser.parse_args(["--corpus", str(generated)])
    corpus = settings.corpus_of(arguments)
    return corpus, settings.job_of(arguments, corpus, checkpoints="", evaluate=False)


def timed(seconds: list[float], tokens: float = 50.0, memory: int = 10**9) -> Timed:
    """Steps of 32 examples."""
    array = np.array(seconds)
    examples, own = np.full(len(array), 32.0), np.full(len(array), 32 * tokens)
    return Timed(array, 0.01 * array, examples, own, own, first_step=9.0, peak_memory=memory)


def test_the_same_steps_are_compared_one_by_one() -> None:
    times = {"fast": [timed([1.0, 10.0])] * 2, "slow": [timed([2.0, 20.0])] * 2}
    assert jobs.faster(times, "fast", "slow") == Ratio(2.0, (2.0, 2.0))


def test_other_steps_are_compared_as_a_whole() -> None:
    times = {"short": [timed([1.0, 1.0, 4.0], tokens=20)], "long": [timed([4.0, 2.0, 6.0], tokens=50)]}
    assert jobs.faster(times, "short", "long").ratio == 2.0


def test_weak_scaling_is_one_when_two_ranks_do_twice_the_work_in_the_same_time() -> None:
    alone = Timed(*(np.array(column) for column in ([2.0], [0.0], [16.0], [800.0], [800.0])), first_step=9.0, peak_memory=0)
    times = {"ours": [timed([2.0])], "1 rank": [alone]}
    assert [(gain.name, gain.ratio) for gain in speed.gains(speed.SCALING, times)] == [("weak scaling", 1.0)]


def test_rounds_that_differ_widen_the_interval() -> None:
    times = {"a": [timed([1.0] * 9)] * 3, "b": [timed([seconds] * 9) for seconds in (0.9, 1.0, 1.2)]}
    low, high = jobs.faster(times, "a", "b").interval
    assert low < 1 < high


def test_one_rank_has_the_same_steps_of_half_the_rows(parsed: tuple[Corpus, Job]) -> None:
    whole = jobs.sampled(parsed[0], 64)
    half = jobs.every_second(whole)
    alone, pair = (
        jobs.setting("", corpus, parsed[1], Ranks(processes=ranks), speed.QUICK) for ranks, corpus in ((1, half), (2, whole))
    )
    assert (len(half.train), alone.untimed) == (32, pair.untimed)
    lengths = [np.mean([len(row.text) for row in corpus.train]) for corpus in (half, whole)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.05)


def test_every_choice_is_compared_with_the_job_that_differs_in_it_alone(parsed: tuple[Corpus, Job]) -> None:
    chosen, _ = speed.scaling_settings(*parsed, speed.QUICK, gpus=2)
    by_name = {setting.name: vars(setting.job) for setting in chosen}
    expected = {
        "fp16": {"compression"},
        "sparse to dense": {"sparse_as_dense"},
        "both": {"compression", "sparse_as_dense"},
        "LazyAdam": {"optimizer"},
        "weak scaling": set(),
        "weak scaling, four times the rows a step": set(),
        "bucketing": {"batches"},
        "XLA": {"xla"},
        "bfloat16": {"amp"},
        "float16 (AMP)": {"amp"},
        "NCCL_P2P_DISABLE=1": set(),
    }
    differences = {
        pair.name: {key for key, value in by_name[pair.ours].items() if by_name[pair.theirs][key] != value}
        for pair in speed.SCALING
    }
    assert differences == expected


def test_without_gpus_their_settings_are_skipped_with_the_reason(parsed: tuple[Corpus, Job]) -> None:
    chosen, skipped = speed.scaling_settings(*parsed, speed.QUICK, gpus=0)
    assert [left.setting for left in skipped] == ["float16", "no P2P"]
    assert all("this machine has 0" in left.reason for left in skipped)
    assert {setting.ranks.cores_per_rank for setting in chosen} == {1}


def test_peer_to_peer_is_switched_off_in_its_own_setting_only(parsed: tuple[Corpus, Job]) -> None:
    chosen, _ = speed.scaling_settings(*parsed, speed.QUICK, gpus=2)
    assert {setting.name for setting in chosen if setting.environment == {"NCCL_P2P_DISABLE": "1"}} == {"no P2P"}
    assert {setting.ranks.cores_per_rank for setting in chosen} == {0}


def test_every_round_runs_every_setting_and_its_environment_does_not_stay(
    parsed: tuple[Corpus, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def fake(*_: Any) -> Timed:
        seen.append(os.environ.get("NCCL_P2P_DISABLE"))
        return timed([1.0])

    monkeypatch.setattr(jobs.trial, "run", fake)
    chosen, _ = speed.scaling_settings(*parsed, speed.QUICK, gpus=2)
    times = jobs.run(chosen, rounds=2)
    assert {len(rounds) for rounds in times.values()} == {2}
    assert seen.count("1") == 2
    assert "NCCL_P2P_DISABLE" not in os.environ


def test_what_differs_from_ours_in_how_it_is_fed_differs_in_nothing_else(parsed: tuple[Corpus, Job]) -> None:
    ours, fed, *_ = speed.example_settings(*parsed, Ranks(processes=2), speed.QUICK)
    differ = {key for key, value in vars(ours.job).items() if vars(fed.job)[key] != value}
    assert differ == {"padding", "batches", "max_steps"}
    assert (fed.job.padding, fed.job.batches) == ("fixed", "shuffled")


def speeds(example: float, memory: int = 10**9) -> dict[str, bool]:
    times = {speed.OURS: [timed([1.0] * 3, memory=memory)] * 3, speed.FED: [timed([example] * 2)] * 3}
    rows = [SettingRow(speed.OURS, 2, 0, {}, 3, Rate(1.0, 1.0, 1.0), 0.01, 0.1, 9.0, memory)]
    return {target.target[:3]: target.met for target in speed.targets(times, rows)}


def test_a_target_that_is_missed_is_told() -> None:
    assert speeds(example=6.5) == {"≥ 6": True, "< 5": True, "≤ 3": True}
    assert speeds(example=5.9, memory=4 * 10**9) == {"≥ 6": False, "< 5": True, "≤ 3": False}
