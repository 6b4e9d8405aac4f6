"""How often the supervisor had to bring something back, for Prometheus.

It writes RUN/triton.prom beside the log, in Prometheus' text format. scripts/hidden_key.c puts that
file's text at the end of Triton's own metrics page.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterable
from pathlib import Path

from slipway.contract import manifest

_MEANINGS = {
    "slipway_server_restarts": "Times that Triton had ended by itself and was started again",
    "slipway_failed_starts": "Starts again of Triton after which it was not ready",
    "slipway_model_restarts": "Times that a model's Python process was gone and the model was loaded anew",
}


def page(log: Path) -> Path:
    """Return where the counts of the server with this log are."""
    return log.with_suffix(".prom")


class Restarts:
    """Counters since the supervisor began, each of them on disk as soon as it has changed."""

    def __init__(self, log: Path, models: Iterable[str]) -> None:
        self._page = page(log)
        self._counts = collections.Counter[str]()
        for name in ("slipway_server_restarts", "slipway_failed_starts"):
            self._counts[name] = 0
        for model in models:
            self._counts[_of(model)] = 0
        self._write()

    def server(self) -> None:
        self._add("slipway_server_restarts")

    def failed_start(self) -> None:
        self._add("slipway_failed_starts")

    def model(self, name: str) -> None:
        self._add(_of(name))

    def _add(self, series: str) -> None:
        self._counts[series] += 1
        self._write()

    def _write(self) -> None:
        lines: list[str] = []
        for name, meaning in _MEANINGS.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} counter"]
            lines += [f"{series} {count}" for series, count in self._counts.items() if series.partition("{")[0] == name]
        with contextlib.suppress(OSError):  # a full disk must not stop the server
            manifest.write_text(self._page, "\n".join(lines) + "\n")


def _of(model: str) -> str:
    quoted = model.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'slipway_model_restarts{{model="{quoted}"}}'
