"""A report of the linter as text, as JSON, and as SARIF for code hosts and editors."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import slipway
from slipway.lint.catalogue import RULES
from slipway.lint.linter import Report
from slipway.lint.models import Finding

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_PLACE = re.compile(r"(?P<field>\w+)(\[(?P<key>[^\]]*)\])?")


def render(report: Report, kind: str) -> str:
    """Return the report as `kind`: text, json or sarif."""
    if kind == "text":
        text = _text(report)
    else:
        text = json.dumps(report.to_json() if kind == "json" else sarif(report), indent=1, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # the name of a file may be any bytes


def _text(report: Report) -> str:
    counts = f"errors {report.count('error')}, warnings {report.count('warning')}, not checked {len(report.unchecked)}"
    return "\n".join(
        [
            *(f"{finding}\n" for finding in report.findings),
            *map(str, report.unchecked),
            f"{report.directory}: models {len(report.models)}, {counts}",
        ]
    )


def sarif(report: Report) -> dict[str, Any]:
    """Return the report as SARIF 2.1.0; what was not checked is a notification of the tool."""
    names = sorted({finding.rule for finding in report.findings})
    driver = {
        "name": "slipway lint",
        "version": slipway.__version__,
        "rules": [
            {
                "id": name,
                "shortDescription": {"text": RULES[name].meaning},
                "help": {"text": RULES[name].fix},
            }
            for name in names
        ],
    }
    notifications = [{"level": "note", "message": {"text": str(unchecked)}} for unchecked in report.unchecked]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notifications}],
                "results": [_result(report.directory, finding, names.index(finding.rule)) for finding in report.findings],
            }
        ],
    }


def _result(repository: Path, finding: Finding, index: int) -> dict[str, Any]:
    file, _, place = finding.where.partition(":")
    since = f" (since {finding.since})" if finding.since else ""
    text = f"{finding.model}: expected {finding.expected}; found {finding.found}; at {place or file}{since}"
    location = {
        "artifactLocation": {"uri": _uri(repository / file)},
        "region": {"startLine": _line(repository / file, place)},
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
    }


def _uri(path: Path) -> str:
    """Return the path from here, which is where code hosts look for it; else a file's address."""
    here = Path.cwd()
    whole = Path(os.path.normpath(here / path))
    return quote_from_bytes(bytes(whole.relative_to(here))) if whole.is_relative_to(here) else whole.as_uri()


def _line(path: Path, place: str) -> int:
    """Return the line of a field in a config.pbtxt; 1 where it is not there or in no such file.

    It is the first line with the field's name, and for one of many, with its number or key.
    """
    if place.isdecimal() or not place or not path.is_file() or path.suffix != ".pbtxt":
        return int(place) if place.isdecimal() else 1
    lines = path.read_text("utf-8", "replace").splitlines()
    at = 0
    for match in _PLACE.finditer(place):
        key = match["key"] or ""
        at = _following(lines, at, match["field"], int(key) if key.isdecimal() else 0)
        at = at if key.isdecimal() or not key else _following(lines, at, key, 0)
    return at + 1


def _following(lines: list[str], at: int, word: str, skipped: int) -> int:
    """Return the index of the line with a word, from `at` on, after so many others with it."""
    having = [number for number in range(at, len(lines)) if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", lines[number])]
    return having[skipped] if skipped < len(having) else at
