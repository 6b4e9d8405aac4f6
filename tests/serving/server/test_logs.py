from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from serving.server import logs


def test_tritons_own_line_keeps_level_message_and_where_it_was_said() -> None:
    line = """I1123 14:54:27.000145 1801 model_lifecycle.cc:839] "successfully loaded 'two'\""""
    assert logs.record(line) == {
        "level": "info",
        "message": "successfully loaded 'two'",
        "where": "model_lifecycle.cc:839",
    }


def test_a_request_id_that_triton_mentions_is_a_field_of_its_own() -> None:
    record = logs.record('E1123 14:54:27.1 1801 infer_request.cc:1] "[request id: 3f0c] queue full"')
    assert (record["level"], record["request_ids"]) == ("error", ["3f0c"])
    assert "request_ids" not in logs.record('E1123 14:54:27.1 1801 a.cc:1] "[request id: <id_unknown>] queue full"')


def test_a_models_line_is_taken_as_it_is() -> None:
    facts = {"level": "error", "message": "the model failed", "request_ids": ["3f0c"], "trace": "…"}
    assert logs.record(json.dumps(facts)) == facts


def test_what_nobody_formatted_is_a_message_all_the_same() -> None:
    for line in ("Signal (15) received.", "{not json", '{"json": "of another kind"}', "I1123 half a line"):
        assert logs.record(line) == {"level": "info", "message": line}


def test_lines_are_appended_with_their_time_and_empty_ones_are_not(tmp_path: Path) -> None:
    log = tmp_path / "log"
    logs.write(log, "info", "before")
    logs.take(io.BytesIO(b"\nfirst\n\n\xff second\n"), log)
    assert logs.messages(log) == ["before", "first", "\ufffd second"]
    assert all(json.loads(line)["time"].endswith("+00:00") for line in log.read_text().splitlines())


def test_a_log_that_has_grown_large_is_put_aside_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_MOST_BYTES", 1000)
    log = tmp_path / "log"
    logs.take(io.BytesIO(b"".join(b"line %d\n" % number for number in range(100))), log)
    assert {path.name for path in tmp_path.iterdir()} == {"log", "log.1"}
    kept = logs.messages(tmp_path / "log.1") + logs.messages(log)
    assert kept == [f"line {number}" for number in range(100 - len(kept), 100)]
    assert all(path.stat().st_size < 1200 for path in tmp_path.iterdir())


def test_half_a_line_is_a_message_and_the_next_one_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b'{"time": "now", "level": "info", "mess')
    logs.write(log, "info", "next")
    assert logs.messages(log) == ['{"time": "now", "level": "info", "mess', "next"]


def test_a_log_is_for_its_owner_alone_and_so_is_an_old_one_and_what_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.touch(0o644)
    logs.begin(log)
    monkeypatch.setattr(logs, "_MOST_BYTES", 0)
    for _ in range(2):
        logs.write(log, "info", "next")
    assert {path.stat().st_mode & 0o777 for path in (log, tmp_path / "log.1")} == {0o600}


def test_a_full_disk_does_not_stop_the_reader() -> None:
    output = io.BytesIO(b"first\nsecond\n")
    logs.take(output, Path("/dev/full"))
    assert output.closed
