"""Keep a run's results as a record, and write the tables of README.md and benchmarks/README.md from the records.

python -m benchmarks.write_tables --run runs/demo     takes the run's figures into demo.json first
python -m benchmarks.write_tables --bench runs/agnews  takes its benchmark.json into served.json first
python -m benchmarks.write_tables                     only writes the tables anew
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.gpu import pages
from benchmarks.peers import page as peers
from train import errors, manifest

_CHECKOUT = Path(__file__).parents[1]
RECORD = Path(__file__).parent / "demo.json"
SERVED = RECORD.with_name("served.json")
_END = "<!-- end -->"


def main() -> int:
    arguments = _parse()
    if arguments.run:
        manifest.write_json(RECORD, gather(arguments.run))
    if arguments.bench:
        manifest.write_json(SERVED, gather_served(arguments.bench))
    for page in PAGES:
        page.write_text(with_tables(page.read_text("utf-8")), "utf-8")
        print(f"tables  {page}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, help="a finished run to take the figures from")
    parser.add_argument("--bench", type=Path, help="a run to take the benchmark from")
    return parser.parse_args()


def gather(run: Path) -> dict[str, Any]:
    """What the table needs of a finished run, with where it came from."""
    bundle, served, benchmark = (_json(run / name) for name in ("bundle/bundle.json", "served.json", "benchmark.json"))
    parity = [_json(path) for path in sorted(run.glob("artifacts/*/parity.json"))]
    kept = (
        "variant",
        "rows",
        "flips",
        "flip_rate_bound",
        "accuracy",
        "accuracy_loss_bound",
        "texts_per_second",
        "as_meant",
        "command",
    )
    return {
        "train": {"rows": bundle["metrics"]["examples"], "test_accuracy": bundle["metrics"]["test_accuracy"]},
        "generated_corpus": bundle["corpus"]["generated"],
        "parity": [{name: record[name] for name in kept} for record in parity],
        "skipped": _json(run / "artifacts" / "skipped.json"),
        "served": [{name: check[name] for name in ("model", "variant", "protocol", "flips", "rows")} for check in served["checks"]],
        "benchmark": _best(benchmark),
        "baselines": [one for one in benchmark["comparisons"] if _against_a_baseline(one, benchmark)],
        **{name: benchmark[name] for name in ("machine", "versions", "commit")},
    }


def _against_a_baseline(comparison: dict[str, Any], benchmark: dict[str, Any]) -> bool:
    a, b = (comparison[one].split("/")[0] for one in "ab")
    return bool(comparison["measure"] == "throughput" and a == benchmark["model"] and benchmark["subjects"][b]["baseline"])


def _best(benchmark: dict[str, Any]) -> dict[str, Any]:
    """The load under which text_classifier answers most, as a share of what its engine did alone in the same rounds."""
    found = [row for row in benchmark["rows"] if row["subject"] == benchmark["model"] and row["load"] == "closed"]
    row = max((row for row in found if "throughput" in row), key=lambda row: row["throughput"]["value"])
    limit = benchmark["engine_limit"]["texts_per_second"]
    return {
        **{name: row[name] for name in ("protocol", "concurrency")},
        "of_engine": [one / limit for one in row["throughput"]["interval"]],
        "padding_waste": benchmark["padding"]["waste"],
        **{name: benchmark[name] for name in ("variant", "command")},
    }


def gather_served(run: Path) -> dict[str, Any]:
    """A benchmark without its single rounds."""
    record = _json(run / "benchmark.json")
    rows = [{name: value for name, value in row.items() if name != "rounds"} for row in record["rows"]]
    return {**record, "rows": rows}


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def with_tables(text: str) -> str:
    """`text` with what stands between the marks of each record replaced by its table."""
    for name, table in TABLES.items():
        before, start, rest = text.partition(f"<!-- table: benchmarks/{name} -->\n")
        if start:
            _, _, after = rest.partition(_END)
            path = RECORD.parent / name
            text = f"{before}{start}{table(_json(path) if path.is_file() else None)}{_END}{after}"
    return text


_WHAT = {
    "usual_tf2onnx": "tf2onnx's own graph in ONNX Runtime, padded to 128 tokens, in the same server",
    "usual_savedmodel": "the SavedModel in TensorFlow, padded likewise, in the same server",
}


def _demo(record: dict[str, Any]) -> str:
    base = next(one for one in record["parity"] if one["variant"] == "onnx_fp32")
    lines = [
        "| variant | labels changed, offline | accuracy lost, at most (95 %) | labels changed, served | engine speed |",
        "|---|---|---|---|---|",
    ]
    for one in sorted(record["parity"], key=lambda found: found["texts_per_second"]):
        served = max((check["flips"] for check in record["served"] if check["variant"] == one["variant"]), default=None)
        shown = f"{served} of {one['rows']}" if served is not None else "–"
        ratio = one["texts_per_second"] / base["texts_per_second"]
        name = one["variant"] if one["as_meant"] else f"{one['variant']} (on a CPU)"
        lines.append(f"| {name} | {one['flips']} of {one['rows']} | {one['accuracy_loss_bound']:.2%} | {shown} | {ratio:.2f} × |")
    lines += [f"| {name} | skipped: {why['reason']} | | | |" for name, why in record["skipped"].items()]
    best, machine = record["benchmark"], record["machine"]
    least, most = best["of_engine"]
    lines += [
        "",
        *(
            f"Texts a second against {_WHAT[one['b'].split('/')[0]]}: **{one['verdict']}{_interval(one)}**.\n"
            for one in record["baselines"]
        ),
        f"Test accuracy {record['train']['test_accuracy']:.2%} after {record['train']['rows']} rows. "
        f"Served with real texts ({best['variant']}, {best['concurrency']} clients, {best['protocol']}): "
        f"{least:.0%} to {most:.0%} of what the engine did alone in the same rounds; "
        f"{best['padding_waste']:.1%} of the tokens computed were padding. "
        f"{machine['cores']} cores of {machine['cpu']}, commit {record['commit']}.",
    ]
    return "\n".join(lines) + "\n"


def _served(record: dict[str, Any] | None) -> str:
    if record is None:
        return "Not measured yet: `make bench BENCH=full`, then `python -m benchmarks.write_tables --bench RUN`.\n"
    lines = ["| | against | load | texts/s (95 %) | p50 (95 %) | p99 (95 %) |", "|---|---|---|---|---|---|"]
    for (a, b), measures in groupby(record["comparisons"], lambda one: (one["a"], one["b"])):
        ours, other = a.split("/")[0], b.split("/")[0]
        if ours != other:
            cells = [f"{one['verdict']}{_interval(one)}" for one in measures]
            lines.append("| " + " | ".join([ours, other, " ".join(b.split("/")[1:]), *cells]) + " |")
    loads = f"{record['setting']} setting, {record['rounds']} rounds, {record['seconds'] / 60:.0f} minutes"
    return _signed(lines, record, f"text_classifier on {record['variant']}; {loads}; `{record['command']}`.")


def _interval(one: dict[str, Any]) -> str:
    return "" if one["ratio"] is None else f", {one['ratio']:.2f} × ({one['interval'][0]:.2f} to {one['interval'][1]:.2f})"


def _variant_speed(record: dict[str, Any]) -> str:
    lines = [
        "| model | speed over ort_fp32 (95 %) | MB | labels changed | accuracy lost, at most | comparing ÷ engine |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        parity, (low, high) = row.get("parity"), row["speed_over_ort_fp32"]["interval"]
        cells = [row["model"], f"{row['speed_over_ort_fp32']['ratio']:.2f} × ({low:.2f} to {high:.2f})"]
        if parity:
            cells += [f"{row['megabytes']:.0f}", f"{parity['flips']} of {parity['rows']}", f"{parity['accuracy_loss_bound']:.2%}"]
            cells += [f"{parity['seconds'] / parity['engine_seconds']:.2f}"]
        lines.append("| " + " | ".join(cells + ["–"] * (6 - len(cells))) + " |")
    return _signed(lines, record, f"{record['texts']} AG News texts, {record['mean_tokens']:.0f} tokens on average.")


def _fused_latency(record: dict[str, Any]) -> str:
    lines = ["| batch × tokens | ort_fp32 ÷ strongest peer (95 %) | peer | |", "|---|---|---|---|"]
    for row in record["rows"]:
        low, high = row["interval"]
        shape, latency = f"{row['batch']} × {row['tokens']}", f"{row['ratio']:.3f} ({low:.3f} to {high:.3f})"
        lines.append(f"| {shape} | {latency} | {row['strongest_peer']} | {row['verdict']} |")
    return _signed(lines, record, "Latency; below 1 is faster.")


def _whole_export(record: dict[str, Any]) -> str:
    stages = ", ".join(f"{stage['command'][2]} {stage['seconds']:.0f} s" for stage in record["stages"])
    most = f"{record['seconds']:.0f} s, {record['peak_gib']:.1f} GiB at most ({stages})"
    total = f"{record['size']}, {record['rows']} golden rows: {most}."
    return _signed([], record, total)


def _training_speed(record: dict[str, Any]) -> str:
    lines = ["| training | examples/s (95 %) | waste | outside TensorFlow | memory of a rank |", "|---|---|---|---|---|"]
    base = "fed as the example"
    ratios = {row["ours"]: row for row in record["ratios"] if row["theirs"] == base}
    for row in record["rows"]:
        found = ratios.get(row["setting"])
        low, high = found["interval"] if found else (1.0, 1.0)
        speed = f"{found['ratio']:.2f} × ({low:.2f} to {high:.2f})" if found else "1 ×"
        shares = f"{row['padding_waste']:.1%} | {row['outside_tensorflow']:.2%}"
        lines.append(f"| {row['setting']} | {speed} | {shares} | {row['peak_memory_bytes'] / 1e9:.2f} GB |")
    ours, example = (next(row for row in record["rows"] if row["setting"] == name) for name in ("ours", base))
    saved = (1 - ours["padding_waste"]) / (1 - example["padding_waste"])
    others = [row for row in record["ratios"] if row["theirs"] != base]
    told = [
        f"{one['ours']} ÷ {one['theirs']}: {one['ratio']:.2f} ({one['interval'][0]:.2f} to {one['interval'][1]:.2f})"
        for one in others
    ]
    rows = f"{record['effort']['rows']} rows an epoch, {record['effort']['rounds']} rounds"
    return _signed(lines, record, f"{'; '.join(told)}. Tokens that feeding saves: {saved:.2f} ×. {rows}.")


def _scaling(record: dict[str, Any]) -> str:
    lines = ["| what | examples/s, with ÷ without (95 %) | with | without |", "|---|---|---|---|"]
    for row in record["ratios"]:
        low, high = row["interval"]
        lines.append(f"| {row['name']} | {row['ratio']:.3f} ({low:.3f} to {high:.3f}) | {row['ours']} | {row['theirs']} |")
    lines += [f"| {row['setting']} | skipped: {row['reason']} | | |" for row in record["skipped"]]
    return _signed(lines, record, "Weak scaling: two ranks ÷ twice one rank, a core each.")


def _training_accuracy(record: dict[str, Any]) -> str:
    lines = ["| seed | test accuracy | macro F1 | trained on | peak memory of a rank |", "|---|---|---|---|---|"]
    for row in record["runs"]:
        trained = f"{row['train_rows']} rows, {row['epochs']} epochs"
        memory = f"{row['peak_memory_bytes'] / 1e9:.2f} GB"
        lines.append(f"| {row['seed']} | {row['test_accuracy']:.4f} | {row['macro_f1']:.4f} | {trained} | {memory} |")
    published = record["runs"][0]["published"]
    figures = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in published["test_accuracy"].items())
    test = f"Mean {record['mean']:.4f}, on AG News' official {record['runs'][0]['test_rows']} test rows"
    return _signed(lines, record, f"{test}. Published, on {published['trained_on']}: {figures}.")


def _client_speed(record: dict[str, Any]) -> str:
    lines = [
        f"| over | in flight | client ÷ perf_analyzer (95 %) | the client's CPU, ms a text | {record['limit']} is |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        low, high = row["interval"]
        ratio = f"{row['ratio']:.3f} ({low:.3f} to {high:.3f})"
        lines.append(f"| {row['protocol']} | {row['concurrency']} | {ratio} | {row['client_cpu_ms']:.2f} | {row['verdict']} |")
    what = f"Texts a second, one text a request, {record['variant']}, {record['rounds']} rounds"
    what += f"; load average before, of others: {record['load_average_before']:.1f}."
    return _signed(lines, record, what)


def _signed(lines: list[str], record: dict[str, Any], what: str) -> str:
    machine = record["machine"]
    return "\n".join([*lines, "", f"{what} {machine['cores']} cores of {machine['cpu']}, commit {record['commit']}."]) + "\n"


PAGES = (_CHECKOUT / "README.md", _CHECKOUT / "benchmarks" / "README.md")
# Every record is in the checkout, but for the GPU's, served.json and peers.json: those tables say so while there is none.
TABLES: dict[str, Callable[[Any], str]] = {
    "demo.json": _demo,
    "served.json": _served,
    "variant_speed.json": _variant_speed,
    "fused_latency.json": _fused_latency,
    "whole_export.json": _whole_export,
    "training_accuracy.json": _training_accuracy,
    "training_speed.json": _training_speed,
    "scaling.json": _scaling,
    "peers.json": peers.table,
    "client_speed.json": _client_speed,
    "gpu/engines.json": pages.engines,
    "gpu/serving.json": pages.serving,
}


if __name__ == "__main__":
    errors.run(main)
