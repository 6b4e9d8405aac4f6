"""The server's log: JSON Lines of Triton, its Python models and the supervisor alike.

Every line has `time`, `level`, `message`; those about requests `request_ids`, of a model `model`
and `version`. Models write such lines themselves (backend/outputs.py), Triton's are translated.

    grep 3f0c9a runs/demo/triton.log | jq .
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

_MOST_BYTES = 64 << 20  # then the log is <log>.1, and a new one begins: a day at full load would be gigabytes
_WRITING = threading.Lock()
_LEVELS = {"I": "info", "W": "warning", "E": "error", "F": "fatal"}
_TRITONS = re.compile(r"(?P<level>[IWEF])\d{4} [\d:.]+ \d+ (?P<where>\S+:\d+)\] (?P<message>.*)")
_REQUEST = re.compile(r"\[request id: (.*?)\]")
Facts = dict[str, Any]  # JSON


def write(log: Path, level: str, message: str) -> None:
    """Append one line; safe beside `take`."""
    _append(log, {"level": level, "message": message})


def take(output: IO[bytes], log: Path) -> None:
    """Append the server's output, until all its processes have closed it."""
    with output:
        for line in output:
            if text := line.decode("utf-8", "replace").strip():
                _append(log, record(text))


def record(line: str) -> Facts:
    """Translate a line of the server's output; not its time: the log has that of its arrival."""
    if line.startswith("{"):
        with contextlib.suppress(ValueError):
            facts: Facts = json.loads(line)
            if {"level", "message"} <= facts.keys():
                return facts
    if not (match := _TRITONS.fullmatch(line)):
        return {"level": "info", "message": line}
    message = _unquoted(match["message"])
    ids = [request for request in _REQUEST.findall(message) if request != "<id_unknown>"]
    facts = {"level": _LEVELS[match["level"]], "message": message, "where": match["where"]}
    return facts | ({"request_ids": ids} if ids else {})


def messages(log: Path) -> list[str]:
    """Return the message of every line of the log."""
    return [json.loads(line)["message"] for line in log.read_bytes().splitlines()]


def _append(log: Path, facts: Facts) -> None:
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}) + "\n"
    with _WRITING, contextlib.suppress(OSError):  # a full disk must not stop the server
        if log.exists() and log.stat().st_size > _MOST_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        with log.open("ab", buffering=0) as file:
            file.write(line.encode())


def _unquoted(message: str) -> str:
    """Decode a message that Triton wrote as a JSON string, a line break in it as \\n."""
    try:
        return str(json.loads(message)) if message.startswith('"') else message
    except ValueError:
        return message
