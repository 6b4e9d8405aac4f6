"""Find the cheapest configuration of text_classifier that holds an SLO on this machine.

A configuration is a variant, a number of processes, and the threads of each. The choice is tried
once more with texts that arrive at random. Writes tuning.json; exits 1 when nothing holds the SLO.

    slipway tune runs/demo --p99-ms 100
    slipway tune runs/demo --p99-ms 100 --rate 200
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.load import perf_analyzer
from serving.repository import embedded, engines
from serving.tuning import search
from serving.tuning.search import Configuration, MeasuredConfiguration, OpenTrial, Slo, Trials, TuningSetup
from slipway import console, errors, provenance
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.records import TEXT_MODEL, TUNING
from slipway.errors import ParityError

_WHY_NONE = {
    False: "nothing that was measured holds the SLO",
    True: "what holds the SLO with clients that wait for their answers does not with texts that arrive at random",
}
_CONFIRMING = 40  # seconds kept for the choice, with texts that arrive at random


@dataclass(frozen=True)
class TuningRecord:
    """What was tried, what it held, and what was chosen."""

    setup: TuningSetup
    ways: list[Configuration]
    trials: dict[Configuration, Trials]  # of those there was time for
    chosen: MeasuredConfiguration | None
    opened: list[OpenTrial]  # tries with texts that arrive at random

    @property
    def reason(self) -> str:
        if self.chosen is None:
            return _WHY_NONE[bool(self.opened)]
        return search.reason(self.chosen, [trial.measured() for trial in self.trials.values()], self.setup.slo)

    @property
    def use(self) -> str:
        """The command that builds the choice; empty: there is none."""
        if self.chosen is None:
            return ""
        way = self.chosen.configuration
        options = ("--engine", way.engine, "--instances", way.instances, "--threads", way.threads)
        return errors.command("build", self.setup.run, *options)

    def to_json(self) -> dict[str, Any]:
        """Return what tuning.json holds."""
        return {
            "made_at": provenance.now(),
            "slo": asdict(self.setup.slo),
            "cores": embedded.cores(),
            "bundle_sha256": self.setup.source.sha256,
            "artifacts": {name: variant.sha256 for name, variant in self.setup.artifacts.items()},
            "candidates": [_candidate(way, self.trials.get(way), self.setup.slo) for way in self.ways],
            "choice": asdict(self.chosen.configuration) if self.chosen else None,
            "reason": self.reason,
            "arriving_at_random": [trial.to_json() for trial in self.opened],
            "use": self.use,
            **provenance.record("tritonclient", "onnxruntime", "tokenizers", "numpy"),
        }


def tune(arguments: argparse.Namespace) -> int:
    ends = time.monotonic() + 60 * arguments.minutes - _CONFIRMING
    source = bundle.load(arguments.run / "bundle")
    golden = bundle.load_golden(source)
    artifacts = _engines(arguments.run, source, golden, arguments.engines)
    slo = Slo(arguments.p99_ms, arguments.rate)
    cores = embedded.cores()
    ways = search.configurations(list(artifacts), cores)
    print(f"tune        {len(ways)} configurations on {cores} cores, at most {arguments.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch) / "texts.json"
        perf_analyzer.write_texts(golden.texts[: arguments.texts], source.task, inputs)
        setup = TuningSetup(arguments.run, source, golden, artifacts, inputs, slo, arguments.window_ms)
        trials = search.measure_configurations(setup, ways, ends)
        chosen, opened = search.choose(setup, trials)
    record = TuningRecord(setup, ways, {trial.configuration: trial for trial in trials}, chosen, opened)
    manifest.write_json(arguments.run / TUNING, record.to_json())
    _show(record)
    return 0 if chosen else 1


def _engines(run: Path, source: Bundle, golden: Golden, wanted: list[str]) -> dict[str, Artifact]:
    """Return the variants to try, fastest first: those wanted, or one of each precision."""
    by_speed = engines.by_speed(artifact.verdicts(run, source.sha256).passed, source, golden)
    usable = {converted.variant.name: converted for converted in by_speed}
    if not usable or not set(wanted) <= set(usable):
        raise ParityError(
            "there is no such engine to tune",
            expected=", ".join(wanted) or "one that was compared where it is served",
            found=f"passing artifacts that {TEXT_MODEL} can run here: {', '.join(usable) or 'none'}",
            where=str(run / "artifacts"),
            fix=f"{errors.command('export', run)}, or other --engines",
        )
    first: dict[str, str] = {}
    for name in usable:
        if not wanted or name in wanted:
            first.setdefault(name if wanted else usable[name].variant.precision, name)
    return {name: usable[name] for name in first.values()}


def _candidate(way: Configuration, trials: Trials | None, slo: Slo) -> dict[str, Any]:
    """Return a configuration of tuning.json, measured or not."""
    facts = {**asdict(way), "cores": way.cores, "status": "measured" if trials else "not measured"}
    if trials is None:
        return facts
    measured = trials.measured()
    best = measured.best(slo)
    return {
        **facts,
        "ready_seconds": trials.ready_seconds,
        "rounds": len(trials.ready_seconds),
        "levels": [{**level.to_json(), "requests": trials.requests(level.clients)} for level in measured.levels],
        "holds": best.to_json() if best else None,
        "failures": trials.failures(),
    }


def _show(record: TuningRecord) -> None:
    columns = ("engine", "processes", "threads", "cores", "ready s", "clients", "texts/s", "a core", "p99 ms", "")
    slo = record.setup.slo
    rate = f" at {slo.rate:g} texts/s" if slo.rate else ""
    table = console.table(f"Highest load with p99 ≤ {slo.p99_ms:g} ms{rate}", *columns, left=("engine", ""))
    for way in record.ways:
        table.add_row(way.engine, *map(str, (way.instances, way.threads, way.cores)), *_held_cells(record, way))
    console.console().print(table)
    for trial in record.opened:
        p99 = f"p99 {trial.level.p99_ms:.0f} ms" if np.isfinite(trial.level.p99_ms) else "no figure"
        answered, verdict = f"{trial.level.texts_per_second:.0f} answered", "held" if trial.held else "NOT held"
        print(f"arriving at random, {trial.rate:.0f} texts/s: {p99}, {answered}: {verdict}")
    print(f"because     {record.reason}")
    if record.use:
        print(f"use it      {record.use}")


def _held_cells(record: TuningRecord, way: Configuration) -> list[str]:
    """Return ready s, clients, texts/s, texts/s a core, p99 ms and verdict of a configuration."""
    if way not in record.trials:
        return [*[""] * 5, "not measured"]
    ready, best = np.median(record.trials[way].ready_seconds), record.trials[way].measured().best(record.setup.slo)
    if best is None:
        return [f"{ready:.1f}", *[""] * 4, "no load holds"]
    held = (f"{best.texts_per_second:.0f}", f"{best.texts_per_second / way.cores:.0f}", f"{best.p99_ms:.0f}")
    chosen = record.chosen is not None and record.chosen.configuration == way
    return [f"{ready:.1f}", str(best.clients), *held, "chosen" if chosen else ""]
