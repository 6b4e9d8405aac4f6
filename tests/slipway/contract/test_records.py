from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from slipway.contract.records import from_json


@dataclass(frozen=True)
class Point:
    x: float


@dataclass(frozen=True)
class Named(Point):
    name: str


@dataclass(frozen=True)
class Record:
    points: tuple[Point, ...]
    by_name: dict[str, Point]
    best: Named | Point | None = None
    values: NDArray[np.float64] | None = None


def test_objects_become_dataclasses_at_every_depth_and_unknown_keys_are_left_out() -> None:
    record = from_json(Record, {"points": [{"x": 1.0, "y": 2.0}], "by_name": {"a": {"x": 3.0}}, "later": 1})
    assert record == Record((Point(1.0),), {"a": Point(3.0)})


def test_of_a_union_the_first_class_is_taken_whose_keys_are_there() -> None:
    both = [from_json(Record, {"points": [], "by_name": {}, "best": best}).best for best in ({"x": 1.0}, {"x": 1.0, "name": "a"})]
    assert both == [Point(1.0), Named(1.0, "a")]


def test_numbers_become_an_array_where_one_is_declared() -> None:
    values = from_json(Record, {"points": [], "by_name": {}, "values": [1, 2]}).values
    assert values is not None
    assert (values.dtype, values.tolist()) == (np.float64, [1.0, 2.0])


@pytest.mark.parametrize("record", [{"points": []}, {"points": [{}], "by_name": {}}, {"points": [], "by_name": {}, "best": {}}])
def test_a_missing_key_is_an_error(record: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="missing"):
        from_json(Record, record)
