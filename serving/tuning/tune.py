"""Find the cheapest configuration of text_classifier that holds an SLO on this machine.

A configuration is a variant, a number of processes, and the threads of each. Each is served in turn
on the embedded Triton and measured with perf_analyzer on golden texts with their own lengths: more
and more clients, until the p99 is too high. The choice is tried once more with texts that arrive at
random. Rounds over all configurations are repeated while there is time. Writes tuning.json; exits 1
when nothing holds the SLO.

    slipway tune runs/demo --p99-ms 100
    slipway tune runs/demo --p99-ms 100 --rate 200
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from serving.load import perf_analyzer
from serving.repository import embedded
from serving.tuning import search
from serving.tuning.search import Configuration, MeasuredConfiguration, OpenTrial, Slo, Trials, TuningSetup, figures
from slipway import console, errors, provenance
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle
from slipway.contract.names import TUNING
from slipway.errors import ParityError

_WHY_NONE = {
    False: "nothing that was measured holds the SLO",
    True: "what holds the SLO with clients that wait for their answers does not with texts that arrive at random",
}
_CONFIRMING = 40  # seconds kept for the choice, with texts that arrive at random


def tune(arguments: argparse.Namespace) -> int:
    ends = time.monotonic() + 60 * arguments.minutes - _CONFIRMING
    source = bundle.load(arguments.run / "bundle")
    artifacts = _engines(arguments.run, source, arguments.engines)
    slo = Slo(arguments.p99_ms, arguments.rate)
    cores = embedded.cores()
    ways = search.configurations(list(artifacts), cores)
    print(f"tune        {len(ways)} configurations on {cores} cores, at most {arguments.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch) / "texts.json"
        perf_analyzer.write_texts(bundle.load_golden(source).texts[: arguments.texts], source.task, inputs)
        setup = TuningSetup(arguments.run, source, artifacts, inputs, slo, arguments.window_ms)
        trials = search.measure_configurations(setup, ways, ends)
        chosen, opened = search.choose(setup, trials)
    record = _record(setup, ways, trials, chosen, opened)
    manifest.write_json(arguments.run / TUNING, record)
    _show(record)
    return 0 if chosen else 1


def _engines(run: Path, source: Bundle, wanted: list[str]) -> dict[str, Artifact]:
    """Return the variants to try, fastest first: those wanted, or one of each precision.

    Raises ParityError when one is wanted, or none is there, that passed.
    """
    passed = {variant.variant.name: variant for variant in artifact.all_passed(run, source.sha256)}
    names = [name for name in embedded.FASTEST_FIRST if name in (wanted or passed)]
    if not names or not set(names) <= set(passed):
        raise ParityError(
            "there is no such engine to tune",
            expected=", ".join(names or embedded.FASTEST_FIRST),
            found=f"passing artifacts: {', '.join(passed) or 'none'}",
            where=str(run / "artifacts"),
            fix=errors.command("export", run),
        )
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(name if wanted else passed[name].variant.precision, name)
    return {name: passed[name] for name in first.values()}


def _record(
    setup: TuningSetup,
    ways: list[Configuration],
    trials: list[Trials],
    chosen: MeasuredConfiguration | None,
    opened: list[OpenTrial],
) -> dict[str, Any]:
    tried = {trial.configuration: trial for trial in trials}
    measured = [trial.measured() for trial in trials]
    return {
        "slo": asdict(setup.slo),
        "cores": embedded.cores(),
        "bundle_sha256": setup.source.sha256,
        "artifacts": {name: variant.sha256 for name, variant in setup.artifacts.items()},
        "candidates": [_row(setup.slo, way, tried.get(way)) for way in ways],
        "choice": asdict(chosen.configuration) if chosen else None,
        "reason": search.reason(chosen, measured, setup.slo) if chosen else _WHY_NONE[bool(opened)],
        "arriving_at_random": [trial.to_json() for trial in opened],
        "use": _build_command(setup.run, chosen.configuration) if chosen else "",
        **provenance.record("tritonclient", "onnxruntime", "tokenizers", "numpy"),
    }


def _build_command(run: Path, way: Configuration) -> str:
    return errors.command("build", run, "--engine", way.engine, "--instances", way.instances, "--threads", way.threads)


def _row(slo: Slo, way: Configuration, tried: Trials | None) -> dict[str, Any]:
    row: dict[str, Any] = {**asdict(way), "cores": way.cores, "status": "measured" if tried else "not measured"}
    if not tried:
        return row
    measured = tried.measured()
    best = measured.best(slo)
    levels = [{"clients": level.clients, **figures(level), "requests": tried.requests(level.clients)} for level in measured.levels]
    row |= {"ready_seconds": tried.ready_seconds, "rounds": len(tried.ready_seconds), "levels": levels}
    return row | {"holds": {"clients": best.clients, **figures(best)} if best else None, "failures": tried.failures()}


def _show(record: dict[str, Any]) -> None:
    columns = ("engine", "processes", "threads", "cores", "ready s", "clients", "texts/s", "a core", "p99 ms", "")
    rate = f" at {record['slo']['rate']:g} texts/s" if record["slo"]["rate"] else ""
    table = console.table(f"Highest load with p99 ≤ {record['slo']['p99_ms']:g} ms{rate}", *columns, left=("engine", ""))
    for row in record["candidates"]:
        table.add_row(*_cells(row, {name: row[name] for name in ("engine", "instances", "threads")} == record["choice"]))
    console.console().print(table)
    for trial in record["arriving_at_random"]:
        p99 = "no figure" if trial["p99_ms"] is None else f"p99 {trial['p99_ms']:.0f} ms"
        verdict = "held" if trial["held"] else "NOT held"
        print(f"arriving at random, {trial['rate']:.0f} texts/s: {p99}, {trial['texts_per_second']:.0f} answered: {verdict}")
    print(f"because     {record['reason']}")
    if record["use"]:
        print(f"use it      {record['use']}")


def _cells(row: dict[str, Any], chosen: bool) -> list[str]:
    cells = [row["engine"], *(str(row[name]) for name in ("instances", "threads", "cores"))]
    if row["status"] != "measured":
        return [*cells, "", "", "", "", "", "not measured"]
    cells.append(f"{np.median(row['ready_seconds']):.1f}")
    if not row["holds"]:
        return [*cells, "", "", "", "", "no load holds"]
    held = row["holds"]
    held_figures = (f"{held['texts_per_second']:.0f}", f"{held['texts_per_second'] / row['cores']:.0f}", f"{held['p99_ms']:.0f}")
    return [*cells, str(held["clients"]), *held_figures, "chosen" if chosen else ""]
