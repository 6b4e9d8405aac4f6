"""The server's log: JSON Lines, of Triton, of its Python models and of the supervisor alike.

Every line has `time`, `level` and `message`; what belongs to requests has `request_ids`; what a model says has its `model` and
`version`, its failure a `trace`. Models write such lines themselves (serving/backend/journal.py), Triton's are translated.

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


def write(log: Path, level: str, message: str, **facts: Any) -> None:
    """Append one line; safe beside `take`."""
    _append(log, {"level": level, "message": message, **facts})


def take(output: IO[bytes], log: Path) -> None:
    """Append what comes out of the server, until all its processes have closed it."""
    with output:
        for line in output:
            if text := line.decode("utf-8", "replace").strip():
                _append(log, record(text))


def record(line: str) -> dict[str, Any]:
    """One line of the server's output, without its time: the log has that of its arrival."""
    if line.startswith("{"):
        with contextlib.suppress(ValueError):
            said: dict[str, Any] = json.loads(line)
            if {"level", "message"} <= said.keys():
                return said
    if not (found := _TRITONS.fullmatch(line)):
        return {"level": "info", "message": line}
    message = _unquoted(found["message"])
    requests = [one for one in _REQUEST.findall(message) if one != "<id_unknown>"]
    facts = {"request_ids": requests} if requests else {}
    return {"level": _LEVELS[found["level"]], "message": message, "where": found["where"], **facts}


def messages(log: Path) -> list[str]:
    """What every line of the log says."""
    return [json.loads(line)["message"] for line in log.read_bytes().splitlines()]


def _append(log: Path, facts: dict[str, Any]) -> None:
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}) + "\n"
    with _WRITING, contextlib.suppress(OSError):  # a full disk must not stop the server
        if log.exists() and log.stat().st_size > _MOST_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        with log.open("ab", buffering=0) as file:
            file.write(line.encode())


def _unquoted(message: str) -> str:
    """Triton writes most messages as a JSON string, a line break in them as \\n."""
    try:
        return str(json.loads(message)) if message.startswith('"') else message
    except ValueError:
        return message
