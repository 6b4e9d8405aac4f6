"""What a page shows of one run, out of its records (run_records.py): tiles, figures, what was not run, where it comes from."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from serving import cost_plots, load_plots, plots, run_records, speed_section, training_plots, training_section

Facts = dict[str, Any]


def tiles(facts: Facts) -> list[tuple[str, str]]:
    """(figure, what it is): accuracy, flips, texts a second, latency, share of the engine, cost."""
    metrics, record = facts["bundle"]["metrics"], facts["benchmark"]
    _, several = training_section.nouns(facts["bundle"]["task"])
    flips = max(facts["served"]["checks"], key=lambda check: check["flip_rate_bound"])
    found = [
        (f"{metrics['test_accuracy']:.2%}", f"test accuracy on {metrics['test_rows']:,d} {several}, FP32 SavedModel"),
        (f"{flips['flips']} of {flips['rows']}", f"labels changed at the live endpoint, at most ({flips['model']})"),
    ]
    return found + _speed_tiles(record, several)


def _speed_tiles(record: speed_section.Record, several: str) -> list[tuple[str, str]]:
    found = []
    if top := speed_section.best(record):
        low, high = top["throughput"]["interval"]
        much = f"{several} served ({low:.0f}–{high:.0f}), {speed_section.load(top)} over {speed_section.over(top)}"
        found.append((f"{top['throughput']['value']:.0f}/s", much if top["status"] == "ok" else f"{much}; invalid run"))
        if top["status"] == "ok" and (share := speed_section.of_engine(record, top)):
            found.append((f"{share:.0%}", "of what the same engine does without a server"))
    if single := speed_section.alone(record):
        p99, low_high = single["p99_ms"]["value"], "{:.1f}–{:.1f}".format(*single["p99_ms"]["interval"])
        found.append((f"{p99:.1f} ms", f"p99 latency ({low_high}) of one client over {speed_section.over(single)}"))
    for one in record["choice"]["rows"]:
        if one["row"] == record["choice"]["chosen"] and one["cost_per_million"] is not None:
            cost = f"{one['cost_per_million']:.2f} {record['choice']['currency']}"
            found.append((cost, f"a million {several}, p99 within {record['choice']['p99_ms']:g} ms"))
    return found


def figures(facts: Facts) -> dict[str, go.Figure]:
    """Every figure by its name."""
    record, history = facts["benchmark"], facts["history"]
    return {
        "ratios": cost_plots.ratios(record),
        "latency": load_plots.latency(record),
        "open_loop": load_plots.open_loop(record),
        "stages": cost_plots.stages(record),
        "padding": cost_plots.padding(record),
        "front": cost_plots.front(record),
        "parity": plots.parity(facts["parity"]),
        "confusion": training_plots.confusion(facts["bundle"]["metrics"]["confusion"], facts["labels"]),
        "training": training_plots.training(history) if history else go.Figure(),
    }


def summary(facts: Facts) -> Facts:
    """What stands at the head of a page: title, both verdicts, tiles, encoder, machine."""
    record = facts["bundle"]
    return {
        "title": training_section.title(record["task"], facts["labels"]),
        "verdict": run_records.verdict(facts),
        "passed": run_records.passed(facts),
        "speed": speed_section.headline(facts["benchmark"]),
        "tiles": tiles(facts),
        "encoder": record["encoder"]["made_from"] or record["encoder"]["handle"],
        "machine": facts["benchmark"]["machine"],
    }


def not_run(facts: Facts) -> list[tuple[str, str, str]]:
    """(what, why, what would provide it): variants, models and ways to them that this machine could not run."""
    variants = [(name, why["reason"], why["fix"]) for name, why in facts["skipped"].items()]
    return variants + [(name, why, "") for name, why in facts["benchmark"]["skipped"].items()]


def provenance(facts: Facts) -> list[tuple[str, str]]:
    record, measured = facts["bundle"], facts["benchmark"]
    versions = record["versions"] | facts["parity"][0]["versions"] | measured["versions"]
    machine, settings = measured["machine"], record["hyper_parameters"]
    return [
        ("corpus", f"{record['corpus']['where']} (sha256 {record['corpus']['sha256'][:16]}…)"),
        ("encoder", f"{record['encoder']['handle']} (sha256 {record['encoder']['sha256'][:16]}…)"),
        ("hyper-parameters", ", ".join(f"{name} {value}" for name, value in settings.items() if name != "corpus")),
        ("machine", f"{machine['cpu']}, {machine['cores']} cores, {', '.join(machine['cpu_flags'])}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))),
        ("commit", measured["commit"] or "not a git checkout"),
        ("model repository", f"sha256 {measured['repository_sha256']}"),
        ("benchmark", measured["command"]),
        ("it took", _took(measured)),
    ]


def _took(measured: speed_section.Record) -> str:
    took = f"{measured['seconds'] / 60:.1f} minutes, {measured['harness_share']:.1%} of them neither load nor server"
    resumed = measured["resumed_loads"]
    return f"{took}; {resumed} loads were measured by an earlier command that did not end" if resumed else took
