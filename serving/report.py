"""Render a run's records as one self-contained page, and print its summary. Nothing is measured or judged here.

Reads bundle.json, history.json, parity.json, skipped.json, served.json, benchmark.json; writes report.html.

    python -m serving.report --run runs/demo
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
import plotly.offline
from markupsafe import Markup

from export import artifact
from serving import plots, training_plots, training_section
from serving.records import BENCHMARK, REPOSITORY, SERVED, TEXT_MODEL
from train import bundle, errors, manifest, terminal
from train.errors import ManifestError

_TEMPLATE = "report.html.jinja"
_PLOT_SETTINGS = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def main() -> int:
    arguments = _parse()
    facts = _gather(arguments.run)
    page = arguments.run / "report.html"
    _write(page, _render(facts))
    _summary(facts, page)
    return 0 if _passed(facts) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    return parser.parse_args()


def _gather(run: Path) -> dict[str, Any]:
    """Every record of the run. Raises ManifestError naming the one that is missing and the command that writes it."""
    source = bundle.load(run / "bundle")
    repository = manifest.sha256(run / "model_repository" / REPOSITORY)
    return {
        "run": str(run),
        "bundle": source.facts,
        "history": _history(source),
        "labels": source.labels,
        "golden": bundle.load_golden(source),
        "parity": [_parity(run, name, source.sha256) for name in artifact.exported(run)],
        "skipped": artifact.skipped(run),
        "served": _of_repository(run / SERVED, repository, f"make verify RUN={run}"),
        "benchmark": _swept(_of_repository(run / BENCHMARK, repository, f"make bench RUN={run}")),
    }


def _swept(benchmark: dict[str, Any]) -> dict[str, Any]:
    """With the rows alone that ask text_classifier over the network, clients in a closed loop, in single figures."""
    rows = [
        row for row in benchmark["rows"] if (row["subject"], row["transport"], row["load"]) == (TEXT_MODEL, "network", "closed")
    ]
    return {**benchmark, "rows": [_flat(row) for row in rows if row["lengths"] == "own"]}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {name: row[name]["value"] for name in ("throughput", "p50_ms", "p95_ms", "p99_ms") if name in row}
    spread = dict(zip(("throughput_least", "throughput_most"), row["throughput"]["interval"], strict=True)) if figures else {}
    return {**row, **figures, **spread}


def _history(source: bundle.Bundle) -> dict[str, Any]:
    """Steps and validations of training; empty when the model was trained elsewhere, or by an earlier version of Slipway."""
    path = source.directory / "history.json"
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _json(path: Path, mend: str) -> Any:
    if not path.is_file():
        raise ManifestError("a record is missing", expected=path.name, found="no such file", where=str(path), mend=mend)
    return json.loads(path.read_text("utf-8"))


def _parity(run: Path, variant: str, bundle_sha256: str) -> dict[str, Any]:
    """The record of a comparison, passed or not, of the bundle that is there now."""
    mend = f"make export RUN={run}"
    path = run / "artifacts" / variant / artifact.PARITY
    record: dict[str, Any] = _json(path, mend)
    return _current(record, "bundle_sha256", bundle_sha256, path, mend)


def _of_repository(path: Path, sha256: str, mend: str) -> dict[str, Any]:
    """A record of the server, of the repository that is there now."""
    return _current(_json(path, mend), "repository_sha256", sha256, path, mend)


def _current(record: dict[str, Any], what: str, expected: str, path: Path, mend: str) -> dict[str, Any]:
    if record.get(what) != expected:
        found = str(record.get(what))
        raise ManifestError(
            "a record is of an earlier state", expected=f"{what} {expected}", found=found, where=str(path), mend=mend
        )
    return record


def _passed(facts: dict[str, Any]) -> bool:
    offline = [bool(record["passed"]) for record in facts["parity"]]
    return bool(offline) and all(offline) and bool(facts["served"]["checks"]) and bool(facts["served"]["passed"])


def _verdict(facts: dict[str, Any]) -> str:
    if not _passed(facts):
        return "A conversion changed the answers: see the rows marked FAILED."
    served = {check["variant"] for check in facts["served"]["checks"]}
    names = [record["variant"] for record in facts["parity"]]
    offline = [name for name in names if name not in served]
    more = f"; {', '.join(offline)} offline" if offline else ""
    return f"The answers stayed the same: {', '.join(name for name in names if name in served)} passed offline and served{more}."


def _fastest(facts: dict[str, Any]) -> dict[str, Any]:
    """The benchmark's row of highest throughput. Raises ManifestError when every load failed."""
    rows: list[dict[str, Any]] = [row for row in facts["benchmark"]["rows"] if "throughput" in row]
    if not rows:
        raise ManifestError(
            "the benchmark has no figures",
            expected="at least one load that was answered",
            found="; ".join(facts["benchmark"]["rows"][0]["why"]),
            where=BENCHMARK,
            mend=f"make bench RUN={facts['run']}",
        )
    return max(rows, key=lambda row: row["throughput"])


def _tiles(facts: dict[str, Any]) -> list[tuple[str, str]]:
    metrics, fastest = facts["bundle"]["metrics"], _fastest(facts)
    _, several = training_section.nouns(facts["bundle"]["task"])
    flips = max(facts["served"]["checks"], key=lambda check: check["flip_rate_bound"])
    single = min((row for row in facts["benchmark"]["rows"] if "p99_ms" in row), key=lambda row: row["concurrency"])
    return [
        (f"{metrics['test_accuracy']:.2%}", f"test accuracy on {metrics['test_rows']:,d} {several}, FP32 SavedModel"),
        (f"{flips['flips']} of {flips['rows']}", f"labels changed at the live endpoint, at most ({flips['model']})"),
        (f"{fastest['throughput']:.0f}/s", f"texts served, {fastest['concurrency']} clients over {fastest['protocol']}"),
        (f"{single['p99_ms']:.1f} ms", f"p99 latency of one text at a time over {single['protocol']}"),
    ]


def _render(facts: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    record, metrics, labels = facts["bundle"], facts["bundle"]["metrics"], facts["labels"]
    one, several = training_section.nouns(record["task"])
    figures = {
        **({"training": training_plots.training(facts["history"])} if facts["history"] else {}),
        "confusion": training_plots.confusion(metrics["confusion"], labels),
        "parity": plots.parity(facts["parity"]),
        "latency": plots.latency(facts["benchmark"]),
    }
    return environment.get_template(_TEMPLATE).render(
        **facts,
        title=training_section.title(record["task"], labels),
        one=one,
        several=several,
        verdict=_verdict(facts),
        passed=_passed(facts),
        encoder=record["encoder"]["made_from"] or record["encoder"]["handle"],
        machine=facts["benchmark"]["machine"],
        tiles=_tiles(facts),
        rows=facts["parity"][0]["rows"],
        text_of=training_section.texts(facts["golden"]),
        training=training_section.training(record, facts["history"]),
        accuracies=training_section.accuracies(record),
        classes=training_section.worst_classes(metrics),
        mix_ups=training_section.mix_ups(metrics, labels),
        weights=lambda one: ", ".join(
            f"{share:.0%} {kind}" for kind, share in one["precision"]["weights"].items() if share > 0.005
        ),
        plots={name: _embed(name, figure) for name, figure in figures.items()},
        plotly=Markup(plotly.offline.get_plotlyjs()),  # noqa: S704
        provenance=_provenance(facts),
    )


def _embed(name: str, figure: go.Figure) -> Markup:
    html = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=_PLOT_SETTINGS)
    return Markup(html)  # noqa: S704 (Plotly's own output)


def _provenance(facts: dict[str, Any]) -> list[tuple[str, str]]:
    record, measured = facts["bundle"], facts["benchmark"]
    versions = record["versions"] | facts["parity"][0]["versions"] | measured["versions"]
    return [
        ("corpus", f"{record['corpus']['where']} (sha256 {record['corpus']['sha256'][:16]}…)"),
        ("encoder", f"{record['encoder']['handle']} (sha256 {record['encoder']['sha256'][:16]}…)"),
        (
            "hyper-parameters",
            ", ".join(f"{name} {value}" for name, value in record["hyper_parameters"].items() if name != "corpus"),
        ),
        (
            "machine",
            f"{measured['machine']['cpu']}, {measured['machine']['cores']} cores, {', '.join(measured['machine']['cpu_flags'])}",
        ),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))),
        ("commit", measured["commit"] or "not a git checkout"),
        ("benchmark", measured["command"]),
        ("perf_analyzer", measured["rows"][0]["command"]),
    ]


def _write(page: Path, html: str) -> None:
    beside = page.with_name(f".{page.name}.{os.getpid()}")
    beside.write_text(html, "utf-8")
    beside.replace(page)


def _summary(facts: dict[str, Any], page: Path) -> None:
    columns = ("variant", "flips", "accuracy", "loss <", "served flips", "texts/s, offline", "verdict")
    table = terminal.table("Summary", *columns, left=("variant", "verdict"))
    for record in facts["parity"]:
        checks = [check for check in facts["served"]["checks"] if check["variant"] == record["variant"]]
        worst = max(checks, key=lambda check: check["flips"], default=None)
        good = record["passed"] and all(check["passed"] for check in checks)
        table.add_row(
            record["variant"],
            f"{record['flips']}/{record['rows']}",
            f"{record['accuracy']:.2%}",
            f"{record['accuracy_loss_bound']:.2%}",
            f"{worst['flips']}/{worst['rows']}" if worst else "–",
            f"{record['texts_per_second']:.0f}",
            terminal.verdict(good) + ("" if record["as_meant"] else " *"),
        )
    for name in facts["skipped"]:
        table.add_row(name, "–", "–", "–", "–", "–", terminal.VERDICTS["skipped"])
    console = terminal.console()
    console.print(table)
    if not all(record["as_meant"] for record in facts["parity"]):
        print("* compared on a CPU, but meant for a GPU, whose arithmetic is another")
    fastest, metrics = _fastest(facts), facts["bundle"]["metrics"]
    _, several = training_section.nouns(facts["bundle"]["task"])
    console.print(f"test accuracy {metrics['test_accuracy']:.2%} on {metrics['test_rows']} {several}")
    console.print(
        f"served {fastest['throughput']:.0f} texts/s on {facts['benchmark']['variant']}"
        f" ({fastest['throughput'] / facts['benchmark']['engine_limit']['texts_per_second']:.0%} of the engine alone)"
    )
    print(f"report  {page}")


if __name__ == "__main__":
    errors.run(main)
