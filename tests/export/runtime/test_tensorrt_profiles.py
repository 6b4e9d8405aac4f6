"""What engines are tuned for, and where they are refused: pure functions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.runtime import tensorrt_profiles
from export.runtime.tensorrt_profiles import Fingerprint, Profile
from slipway import errors
from slipway.errors import ConversionError

HERE = Fingerprint("10.16.1.11", "NVIDIA H200", "9.0", "Linux x86_64", "580.65.06")
ENGINE = Path("runs/agnews/artifacts/tensorrt_fp16/model.plan")


def shapes(lengths: list[int], max_seq_len: int, max_batch: int = 32) -> list[tuple[tuple[int, int], ...]]:
    profiles = tensorrt_profiles.plan_profiles(np.array(lengths), max_seq_len, max_batch)
    return [(profile.least, profile.best, profile.most) for profile in profiles]


def test_lengths_that_are_alike_share_one_range_tuned_for_their_median() -> None:
    assert shapes([30, 50, 52, 90], 128) == [((1, 1), (32, 64), (32, 128)), ((1, 1), (1, 64), (1, 128))]


def test_short_and_long_texts_get_ranges_of_their_own() -> None:
    assert shapes([20] * 90 + [400] * 10, 512) == [
        ((1, 1), (32, 32), (32, 512)),
        ((1, 1), (1, 32), (1, 32)),
        ((1, 1), (32, 32), (32, 32)),
        ((1, 33), (1, 400), (1, 512)),
        ((1, 33), (32, 400), (32, 512)),
    ]


def test_there_are_never_more_than_three_ranges() -> None:
    assert len(shapes(list(range(1, 513)), 512)) == 1 + 3 * 2


def test_ranges_are_cut_where_the_tuned_lengths_are_nearest_to_the_texts() -> None:
    lengths = [16] * 40 + [48] * 40 + [64] * 40 + [512] * 5  # an outlier range costs less than to serve 512 with a tuning for 48
    assert [profile[1][1] for profile in shapes(lengths, 512)[1::2]] == [48, 512]


def test_the_first_profile_accepts_every_shape() -> None:
    first = tensorrt_profiles.plan_profiles(np.array([20] * 9 + [500]), 512, 8)[0]
    assert all(first.holds(batch, sequence) for batch in (1, 8) for sequence in (1, 512))


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_every_length_is_held_by_a_profile_other_than_the_first(batch: int) -> None:
    profiles = tensorrt_profiles.plan_profiles(np.random.default_rng(0).integers(5, 512, 500), 512, 8)
    assert all(any(profile.holds(batch, length) for profile in profiles[1:]) for length in range(1, 513))


def test_nothing_is_tuned_for_more_tokens_than_the_longest_sequence() -> None:
    assert max(profile[1][1] for profile in shapes([40, 40, 90], 40)) == 40


def test_a_batch_of_one_needs_no_second_profile() -> None:
    assert shapes([40], 64, max_batch=1) == [((1, 1), (1, 48), (1, 64))]


PROFILES = [Profile((1, 1), (32, 64), (32, 512)), Profile((1, 1), (1, 64), (1, 128)), Profile((1, 129), (1, 384), (1, 512))]


@pytest.mark.parametrize(("shape", "number"), [((1, 50), 1), ((1, 300), 2), ((32, 300), 0), ((2, 10), 0)])
def test_a_shape_runs_in_the_profile_tuned_nearest_to_it(shape: tuple[int, int], number: int) -> None:
    assert tensorrt_profiles.choose(PROFILES, *shape) == number


def test_a_shape_no_profile_holds_is_refused_with_the_largest_one() -> None:
    with pytest.raises(ConversionError, match="at most 32 texts of 512 tokens"):
        tensorrt_profiles.choose(PROFILES, 33, 64)


def test_an_engine_of_this_machine_is_not_refused() -> None:
    tensorrt_profiles.refuse_elsewhere(Fingerprint.of(HERE.facts()), HERE, ENGINE)


@pytest.mark.parametrize("field", sorted(HERE.facts()))
def test_an_engine_of_another_machine_is_refused_with_both_values_and_the_command(field: str) -> None:
    with pytest.raises(ConversionError) as refused:
        tensorrt_profiles.refuse_elsewhere(replace(HERE, **{field: "other"}), HERE, ENGINE)
    assert refused.value.expected == f"{field} other"
    assert refused.value.found == f"{field} {HERE.facts()[field]}"
    assert refused.value.fix == "build it here: " + errors.command("export", "runs/agnews")


def test_a_manifest_without_a_fingerprint_is_refused() -> None:
    with pytest.raises(ConversionError, match="not recorded"):
        tensorrt_profiles.refuse_elsewhere(Fingerprint.of({}), HERE, ENGINE)


def test_the_timing_cache_is_beside_the_variants_and_of_one_machine() -> None:
    result = tensorrt_profiles.timing_cache(Path("artifacts"), HERE)
    assert result == Path("artifacts/.timing/10.16.1.11-NVIDIA-H200-9.0-Linux-x86-64-580.65.06.cache")
    assert tensorrt_profiles.timing_cache(Path("artifacts"), replace(HERE, driver="570.10")) != result
