"""Each record as the table that a page shows of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks.gpu import pages
from benchmarks.peers import page as peers

_BASELINES = {"usual_tf2onnx": "tf2onnx's own", "usual_savedmodel": "the SavedModel's"}  # as the README calls them


def _demo(record: dict[str, Any]) -> str:
    cells = {(one["variant"], one["baseline"]): peers.cell(one) for one in record["against_baselines"]}
    against = " | ".join(f"texts/s ÷ {shown} (95 %)" for shown in _BASELINES.values())
    lines = [
        f"| variant | labels changed, offline | accuracy lost, at most (95 %) | labels changed, served | {against} |",
        "|---" * (4 + len(_BASELINES)) + "|",
    ]
    for one in record["parity"]:
        served = max((check["flips"] for check in record["served"] if check["variant"] == one["variant"]), default=None)
        shown = f"{served} of {one['rows']}" if served is not None else "–"
        ratios = " | ".join(cells.get((one["variant"], baseline), "–") for baseline in _BASELINES)
        name = one["variant"] if one["as_meant"] else f"{one['variant']} (on a CPU)"
        lines.append(f"| {name} | {one['flips']} of {one['rows']} | {one['accuracy_loss_bound']:.2%} | {shown} | {ratios} |")
    lines += [f"| {name} | skipped: {why['reason']} |" + " |" * (2 + len(_BASELINES)) for name, why in record["skipped"].items()]
    best, machine = record["benchmark"], record["machine"]
    least, most = best["of_engine"]
    lines += [
        "",
        "Texts/s are those of the live server, beside what users copy today, in the same server and the same rounds: tf2onnx's own "
        f"graph in ONNX Runtime, and the SavedModel in TensorFlow, both padded to 128 tokens; {_clients(record)}.\n",
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
    found: dict[tuple[str, str], dict[tuple[str, str], str]] = defaultdict(dict)
    for one in record["comparisons"]:
        (ours, protocol, transport, lengths, clients), (theirs, *_) = (one[side].split("/") for side in "ab")
        shown = ours if lengths == "own" else f"{ours}, {lengths} tokens"
        if ours == theirs == record["model"]:
            found[f"{ours}, {protocol} {transport.replace('_', ' ')}", "gRPC"][clients, one["measure"]] = peers.cell(one)
        elif ours != theirs and (protocol, transport) == ("grpc", "network"):
            found[shown, theirs][clients, one["measure"]] = peers.cell(one)
    loads = sorted({clients for cells in found.values() for clients, _ in cells}, key=int)
    tail = max(loads, key=lambda clients: (sum((clients, "p99_ms") in cells for cells in found.values()), int(clients)))
    in_flight = " | ".join(f"{clients} in flight" for clients in loads)
    lines = [f"| texts/s of | ÷ that of | {in_flight} | p99 at {tail} |", "|---" * (len(loads) + 3) + "|"]
    for (ours, theirs), cells in found.items():
        shown = " | ".join(cells.get(key, "–") for key in [*((one, "throughput") for one in loads), (tail, "p99_ms")])
        lines.append(f"| {ours} | {theirs} | {shown} |")
    lines += [f"| {name} | skipped: {why} |" + " |" * (len(loads) + 1) for name, why in record["skipped"].items()]
    lines += [
        f"| {row['id']} | FAILED: {row['why'][0]} |" + " |" * (len(loads) + 1)
        for row in record["rows"]
        if row["status"] == "FAILED"
    ]
    why = list(dict.fromkeys(one["why"] for one in record["comparisons"] if one["verdict"] == "invalid run"))
    what = f"text_classifier is on {record['variant']}. Above 1 it is faster; of a p99, below 1."
    what += f" Invalid: {'; '.join(why)}." if why else ""
    effort = f"{record['setting']} setting, {record['rounds']} rounds, {record['seconds'] / 60:.0f} minutes"
    return _signed(lines, record, f"{what} {effort}, the harness {record['harness_share']:.1%} of them; `{record['command']}`.")


def _clients(record: dict[str, Any]) -> str:
    """Of the comparisons with the baselines: one load for all."""
    return f"{record['against_baselines'][0]['a'].split('/')[-1]} clients over gRPC"


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


# Every record is in the checkout, but for the GPU's: those tables say so while there is none.
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
