"""What was done to a published repository is on record, however it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.registry.audit import AUDIT_FILE, audited, last_entries
from serving.registry.registry import Registry
from slipway.errors import PublishingError, StorageError


def test_every_end_leaves_its_line(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "model_repository")
    with audited(registry, "publish") as entry:
        entry["version"] = 1
    refusal = PublishingError("too slow", expected="faster", found="slow", where="here", fix="")
    with pytest.raises(PublishingError), audited(registry, "promote"):
        raise refusal
    with pytest.raises(KeyboardInterrupt), audited(registry, "promote"):
        raise KeyboardInterrupt
    done, refused, interrupted = last_entries(registry, 5)
    assert (done["action"], done["result"], done["version"]) == ("publish", "done", 1)
    assert (refused["result"], refused["why"], refused["found"]) == ("refused", "too slow", "slow")
    assert interrupted["result"] == "interrupted"
    assert {"time", "by", "command", "commit", "seconds"} <= done.keys()


def test_an_entry_that_a_full_disk_cut_off_harms_no_other(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "model_repository")
    for version in (1, 2):
        with audited(registry, "publish") as entry:
            entry["version"] = version
        path = registry.state / AUDIT_FILE
        path.write_bytes(path.read_bytes() + b'{"time": "2026-')
    with audited(registry, "promote") as entry:
        entry["version"] = 2
    assert [entry["action"] for entry in last_entries(registry, 5)] == ["publish", "publish", "promote"]


def test_what_is_done_need_not_be_done_again_for_want_of_its_line(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "model_repository")
    (registry.state / AUDIT_FILE).mkdir(parents=True)
    with pytest.raises(StorageError, match="the promote is done") as raised, audited(registry, "promote"):
        pass
    assert "promote" not in raised.value.fix


def test_a_place_where_nothing_was_done_has_no_lines(tmp_path: Path) -> None:
    assert last_entries(Registry(tmp_path / "model_repository"), 5) == []
