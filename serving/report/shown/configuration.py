"""How text_classifier is to be run: engine, processes, threads; by tuning.json, or as it is."""

from __future__ import annotations

from dataclasses import dataclass

from serving.report.records import Candidate, Configuration, RunRecords, Slo
from slipway import errors

_P99 = 100  # ms, where none was asked for yet
_REST = "finds out whether another configuration is cheaper"


@dataclass(frozen=True, slots=True)
class Advice:
    """What to run, and the command that is next."""

    what: str
    command: str
    purpose: str  # of the command


def advice(run: RunRecords) -> Advice | None:
    """Return how to run the model; None before a repository is built."""
    built, tuning = run.configuration, run.tuning
    if built is None:
        return None
    if tuning is None:
        p99 = _P99 if "benchmark" in run.missing else run.benchmark.choice.p99_ms
        return Advice(f"It is built to run {in_words(built)}.", errors.command("tune", run.run, "--p99-ms", f"{p99:g}"), _REST)
    promise = slo_text(tuning.slo)
    if tuning.choice is None:
        again = errors.command("tune", run.run, "--p99-ms", f"{2 * tuning.slo.p99_ms:g}")
        what = f"It is built to run {in_words(built)}. No configuration that was tried keeps the promise of {promise}."
        return Advice(what, again, "tries a promise that is easier to keep")
    what = f"Run {in_words(tuning.choice)}: the cheapest that was found to answer {promise}."
    if tuning.choice == built:
        return Advice(f"{what} It is built so.", errors.command("serve", run.run), "serves it")
    return Advice(f"{what} It is built to run {in_words(built)}.", tuning.use, "builds what is to be run")


def in_words(configuration: Configuration) -> str:
    """Return `ort_int8 in 2 processes with 1 thread each`."""
    processes = "1 process" if configuration.instances == 1 else f"{configuration.instances} processes"
    threads = "1 thread" if configuration.threads == 1 else f"{configuration.threads} threads"
    return f"{configuration.engine} in {processes} with {threads}{' each' if configuration.instances > 1 else ''}"


def in_short(configuration: Configuration) -> str:
    """Return `ort_int8, 2 × 1 thread`."""
    return f"{configuration.engine}, {configuration.instances} × {configuration.threads} thread{'s' * (configuration.threads > 1)}"


def slo_text(slo: Slo) -> str:
    rate = f", at {slo.rate:g} texts a second" if slo.rate else ""
    return f"99 of 100 texts within {slo.p99_ms:g} ms{rate}"


def is_chosen(candidate: Candidate, chosen: Configuration | None) -> bool:
    own = (candidate.engine, candidate.instances, candidate.threads)
    return chosen is not None and own == (chosen.engine, chosen.instances, chosen.threads)
