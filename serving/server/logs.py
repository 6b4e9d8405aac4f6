"""The server's log: JSON Lines of Triton, its Python models and the supervisor alike.

Every line has `time`, `level`, `message`; those about requests `request_ids`, of a model `model`
and `version`. Models write such lines themselves (backend/outputs.py), Triton's are translated.

    grep 3f0c9a runs/demo/triton.log | jq .
"""

from __future__ import annotations

import contextlib
import json
import os
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


def begin(log: Path) -> None:
    """Make the log if there is none; it is for its owner alone, and so is one that was there."""
    os.close(_for_its_owner(log, os.O_WRONLY | os.O_CREAT))
    log.chmod(0o600)


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
        with contextlib.suppress(ValueError, RecursionError):
            facts: Facts = json.loads(line)
            if {"level", "message"} <= facts.keys():
                return facts
    if not (match := _TRITONS.fullmatch(line)):
        return {"level": "info", "message": line}
    message = _unquoted(match["message"])
    ids = [request for request in _REQUEST.findall(message) if request != "<id_unknown>"]
    facts = {"level": _LEVELS[match["level"]], "message": message, "where": match["where"]}
    return facts | ({"request_ids": ids} if ids else {})


def messages(log: Path, since: int = 0) -> list[str]:
    """Return the message of every line of the log; half a line is one as it is.

    `since` is a size that the log had: only lines after that, unless a new one was begun meanwhile.
    """
    lines = log.read_bytes() if log.exists() else b""
    return [
        record(line.decode("utf-8", "replace"))["message"] for line in lines[since if since <= len(lines) else 0 :].splitlines()
    ]


def _append(log: Path, facts: Facts) -> None:
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}) + "\n"
    with _WRITING, contextlib.suppress(OSError):  # a full disk must not stop the server
        if log.exists() and log.stat().st_size > _MOST_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        with open(log, "a+b", buffering=0, opener=_for_its_owner) as file:
            file.write(_on_its_own(line, file).encode())


def _for_its_owner(path: Path | str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _on_its_own(line: str, log: IO[bytes]) -> str:
    """Put the line break before it that the line before lacks, if a full disk has cut that."""
    if log.tell() == 0:
        return line
    log.seek(-1, os.SEEK_END)
    return line if log.read(1) == b"\n" else f"\n{line}"


def _unquoted(message: str) -> str:
    """Decode a message that Triton wrote as a JSON string, a line break in it as \\n."""
    try:
        return str(json.loads(message)) if message.startswith('"') else message
    except ValueError:
        return message
