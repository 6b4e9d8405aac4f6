"""Whose errors are taken for a full disk."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from export import disk_space
from slipway.errors import ConversionError, StorageError


def refusal() -> ConversionError:
    return ConversionError("no BERT", expected="a BERT", found="a CNN", where="model", fix="another")


def test_where_room_is_scarce_our_own_refusal_is_still_itself(tmp_path: Path) -> None:
    with (
        mock.patch.object(disk_space, "_SCARCE", 1 << 62),
        pytest.raises(ConversionError, match="no BERT"),
        disk_space.stage("converting", tmp_path, "again"),
    ):
        raise refusal()


def test_where_room_is_scarce_a_librarys_error_is_taken_for_it(tmp_path: Path) -> None:
    library = type("Failed", (Exception,), {"__module__": "onnx.checker"})
    with (
        mock.patch.object(disk_space, "_SCARCE", 1 << 62),
        pytest.raises(StorageError, match="room is scarce"),
        disk_space.stage("converting", tmp_path, "again"),
    ):
        raise library("cut off")
