"""Find the cheapest configuration of text_classifier that holds an SLO on this machine: variant, processes, threads of each.

Serves every candidate in turn, on the embedded Triton, and measures it with perf_analyzer on golden texts with their own lengths:
more and more clients, until the p99 is too high. The choice is tried once more with texts that arrive at random. Rounds over all
candidates are repeated while there is time. Writes tuning.json; exits 1 when nothing holds the SLO.

    python -m serving.tune --run runs/demo --p99-ms 100
    python -m serving.tune --run runs/demo --p99-ms 100 --rate 200
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from export import artifact
from export.artifact import Artifact
from serving import embedded_models, flags, perf_analyzer, tuning, tuning_rounds
from serving.records import TUNING
from serving.tuning import Candidate, Measured, Slo
from serving.tuning_rounds import Bench, Tried, figures
from train import bundle, errors, manifest, provenance, terminal
from train.bundle import Bundle
from train.errors import ParityError

_WHY_NONE = {
    False: "nothing that was measured holds the SLO",
    True: "what holds the SLO with clients that wait for their answers does not with texts that arrive at random",
}
_CONFIRMING = 40  # seconds kept for the choice, with texts that arrive at random


def main() -> int:
    arguments = _parse()
    ends = time.monotonic() + 60 * arguments.minutes - _CONFIRMING
    source = bundle.load(arguments.run / "bundle")
    artifacts = _engines(arguments.run, source, arguments.engines)
    slo = Slo(arguments.p99_ms, arguments.rate)
    cores = embedded_models.cores()
    found = tuning.candidates(list(artifacts), cores)
    print(f"tune        {len(found)} candidates on {cores} cores, at most {arguments.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch) / "texts.json"
        perf_analyzer.write_texts(bundle.load_golden(source).texts[: arguments.texts], source.task, inputs)
        bench = Bench(arguments.run, source, artifacts, inputs, slo, arguments.window_ms)
        tried = tuning_rounds.rounds(bench, found, ends)
        chosen, confirmed = tuning_rounds.choose(bench, tried)
    record = _record(bench, found, tried, chosen, confirmed)
    manifest.write_json(arguments.run / TUNING, record)
    _show(record)
    return 0 if chosen else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    parser.add_argument("--p99-ms", type=flags.positive, required=True, help="what 99 of 100 texts have to be answered within")
    parser.add_argument("--rate", type=flags.positive, default=0.0, help="texts/s to be held; default: the cheapest a text")
    parser.add_argument("--minutes", type=flags.positive, default=4, help="no candidate is begun that would end later; default: 4")
    engines = embedded_models.FASTEST_FIRST
    parser.add_argument("--engines", nargs="+", choices=engines, default=[], help="default: of every precision the fastest")
    parser.add_argument("--window-ms", type=int, default=700, help="length of each of perf_analyzer's windows, three or more")
    parser.add_argument("--texts", type=int, default=1000, help="golden texts sent in turn")
    return parser.parse_args()


def _engines(run: Path, source: Bundle, wanted: list[str]) -> dict[str, Artifact]:
    """The variants to try, fastest first: those wanted, or one of each precision. Raises ParityError without one that passed."""
    passed = {one.variant.name: one for one in artifact.all_passed(run, source.sha256)}
    names = [name for name in embedded_models.FASTEST_FIRST if name in (wanted or passed)]
    if not names or not set(names) <= set(passed):
        raise ParityError(
            "there is no such engine to tune",
            expected=", ".join(names or embedded_models.FASTEST_FIRST),
            found=f"passing artifacts: {', '.join(passed) or 'none'}",
            where=str(run / "artifacts"),
            fix=f"make export RUN={run}",
        )
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(name if wanted else passed[name].variant.precision, name)
    return {name: passed[name] for name in first.values()}


def _record(
    bench: Bench, found: list[Candidate], tried: list[Tried], chosen: Measured | None, confirmed: list[dict[str, Any]]
) -> dict[str, Any]:
    done = {one.candidate: one for one in tried}
    measured = [one.measured() for one in tried]
    use = f"python -m serving.build_repository --run {bench.run} " if chosen else ""
    return {
        "slo": asdict(bench.slo),
        "cores": embedded_models.cores(),
        "bundle_sha256": bench.source.sha256,
        "artifacts": {name: one.sha256 for name, one in bench.artifacts.items()},
        "candidates": [_row(bench, one, done.get(one)) for one in found],
        "choice": asdict(chosen.candidate) if chosen else None,
        "reason": tuning.reason(chosen, measured, bench.slo) if chosen else _WHY_NONE[bool(confirmed)],
        "arriving_at_random": confirmed,
        "use": use + _flags(chosen.candidate) if chosen else "",
        **provenance.record("tritonclient", "onnxruntime", "tokenizers", "numpy"),
    }


def _row(bench: Bench, candidate: Candidate, tried: Tried | None) -> dict[str, Any]:
    row: dict[str, Any] = {**asdict(candidate), "cores": candidate.cores, "status": "measured" if tried else "not measured"}
    if tried:
        best = tried.measured().best(bench.slo)
        levels = [
            {"clients": one.clients, **figures(one), "requests": tried.requests(one.clients)} for one in tried.measured().levels
        ]
        row |= {"ready_seconds": tried.ready_seconds, "rounds": len(tried.ready_seconds), "levels": levels}
        row |= {"holds": {"clients": best.clients, **figures(best)} if best else None, "failures": tried.failures()}
    return row


def _flags(candidate: Candidate) -> str:
    return f"--engine {candidate.engine} --instances {candidate.instances} --threads {candidate.threads}"


def _show(record: dict[str, Any]) -> None:
    columns = ("engine", "processes", "threads", "cores", "ready s", "clients", "texts/s", "a core", "p99 ms", "")
    rate = f" at {record['slo']['rate']:g} texts/s" if record["slo"]["rate"] else ""
    table = terminal.table(f"Highest load with p99 ≤ {record['slo']['p99_ms']:g} ms{rate}", *columns, left=("engine", ""))
    for row in record["candidates"]:
        table.add_row(*_cells(row, {name: row[name] for name in ("engine", "instances", "threads")} == record["choice"]))
    console = terminal.console()
    console.print(table)
    for one in record["arriving_at_random"]:
        p99 = "no figure" if one["p99_ms"] is None else f"p99 {one['p99_ms']:.0f} ms"
        verdict = "held" if one["held"] else "NOT held"
        print(f"arriving at random, {one['rate']:.0f} texts/s: {p99}, {one['texts_per_second']:.0f} answered: {verdict}")
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
    figures = (f"{held['texts_per_second']:.0f}", f"{held['texts_per_second'] / row['cores']:.0f}", f"{held['p99_ms']:.0f}")
    return [*cells, str(held["clients"]), *figures, "chosen" if chosen else ""]


if __name__ == "__main__":
    errors.run(main)
