"""peers.json as a table of benchmarks/README.md."""

from __future__ import annotations

from typing import Any

_EMPTY = "Not measured yet: `make peers RUN=runs/agnews`.\n"


def table(record: dict[str, Any] | None) -> str:
    if record is None:
        return _EMPTY
    loads = record["concurrency"]
    found = {(one["a"], one["b"], one["concurrency"], one["measure"]): one for one in record["comparisons"]}
    in_flight = " | ".join(f"{load} in flight" for load in loads)
    lines = [f"| | against | {in_flight} | p99 at {loads[-1]} |", "|---" * (len(loads) + 3) + "|"]
    for a, b in dict.fromkeys((one["a"], one["b"]) for one in record["comparisons"]):
        cells = [cell(found[a, b, load, "texts_per_second"]) for load in loads] + [cell(found[a, b, loads[-1], "p99_ms"])]
        lines.append(f"| {a} | {b} | {' | '.join(cells)} |")
    lines += [f"| | {name} | skipped: {why} |" + " |" * len(loads) for name, why in record["skipped"].items()]
    return "\n".join([*lines, "", _facts(record)]) + "\n"


def cell(one: dict[str, Any]) -> str:
    """A comparison: its ratio, and the verdict where that is not to be seen."""
    if one["verdict"] == "invalid run":
        return "invalid run"
    low, high = one["interval"]
    shown = f"{one['ratio']:.2f} × ({low:.2f} to {high:.2f})"
    return f"{shown}, no difference" if one["verdict"] == "no difference" else shown


def _facts(record: dict[str, Any]) -> str:
    answers = "; ".join(f"{one['subject']} {one['flips']} of {one['rows']}" for one in record["answers"])
    what = "; ".join(f"{one['subject']}: {one['what']}" for one in record["answers"])
    cpu = [row["client_cpu_ms"] for row in record["rows"]]
    why = list(dict.fromkeys(one["why"] for one in record["comparisons"] if one["verdict"] == "invalid run"))
    invalid = f" Invalid: {', '.join(why)}; load average before it {record['load_average_before']:.1f}." if why else ""
    versions = ", ".join(f"{name} {version}" for name, version in record["peer_versions"].items())
    machine, tokens = record["machine"], f"{record['mean_tokens']:.0f} tokens on average"
    sentences = (
        "Texts/s, Slipway ÷ peer (95 %): above 1, Slipway is faster; of p99, below 1.",
        f"{record['starts']} starts × {record['rounds']} rounds, {record['texts']} texts of {tokens}.{invalid}",
        f"Labels changed: {answers}. {what}.",
        f"The client took {min(cpu):.1f} to {max(cpu):.1f} ms of CPU a text. {versions}.",
        f"{machine['cores']} cores of {machine['cpu']}, commit {record['commit']}.",
    )
    return " ".join(sentences)
