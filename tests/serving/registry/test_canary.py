from __future__ import annotations

from pathlib import Path

import pytest

from serving.registry.canary import CanaryResult, LatencyComparison, refuse_failed
from serving.registry.registry import Registry
from slipway.errors import PublishingError

REGISTRY = Registry(Path("model_repository"))


def slower(model: str, least: float) -> CanaryResult:
    p99, interval = (1.0, 9.0), (least, 9.0)
    return CanaryResult(model, [], LatencyComparison(50, p99, p99, 9.0, interval, 1.25, least <= 1.25, other_answers=0), [])


def test_of_several_too_slow_models_the_slowest_is_named() -> None:
    with pytest.raises(PublishingError, match="second is slower than version 1"):
        refuse_failed([slower("first", 1.3), slower("second", 7.0), slower("third", 1.0)], 1, REGISTRY)


def test_models_within_the_limit_are_not_refused() -> None:
    refuse_failed([slower("first", 1.25), slower("second", 0.9)], 1, REGISTRY)
