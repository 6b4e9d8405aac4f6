from __future__ import annotations

import time

import pytest

from export.parity import gate
from slipway.contract.ragged import Feed


def test_a_known_cost_is_found_again() -> None:
    def engine(feed: Feed) -> None:
        time.sleep(0.002 + 2e-5 * feed["input_word_ids"].size)

    result = gate.fit_cost_model(engine, max_seq_len=128)
    assert result["fixed"] == pytest.approx(0.002, rel=0.3)
    assert result["per_token"] == pytest.approx(2e-5, rel=0.3)
