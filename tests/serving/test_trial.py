from __future__ import annotations

import pytest

from serving import trial
from serving.trial import Trial
from train.errors import PublishingError


def slower(model: str, least: float) -> Trial:
    latency = {"passed": least <= 1.25, "interval": [least, 9.0], "ratio": 9.0, "limit": 1.25, "pairs": 50}
    return {"model": model, "checks": [], "latency": latency}


def test_of_several_too_slow_models_the_slowest_is_named() -> None:
    with pytest.raises(PublishingError, match="second is slower than version 1"):
        trial.refuse([slower("first", 1.3), slower("second", 7.0), slower("third", 1.0)], 1, "here")


def test_models_within_the_limit_are_not_refused() -> None:
    trial.refuse([slower("first", 1.25), slower("second", 0.9)], 1, "here")
