"""What the report says of a benchmark: benchmark.json (docs/benchmark.schema.json) in words. Nothing is judged here."""

from __future__ import annotations

from collections import Counter
from typing import Any

from serving import embedded_models

Row = dict[str, Any]
Record = dict[str, Any]

_OVER = {
    "network": "{}",
    "system_shared_memory": "{}, shared memory",
    "cuda_shared_memory": "{}, CUDA shared memory",
}
_PROTOCOLS = {"http": "HTTP", "grpc": "gRPC"}
_MEASURES = {
    "throughput": "the throughput",
    "p50_ms": "the median latency",
    "p95_ms": "the p95 latency",
    "p99_ms": "the p99 latency",
}
_CLASSES = {"faster": "good", "slower": "bad", "no difference": "soft", "invalid run": "wait"}


def over(row: Row) -> str:
    return _OVER[row["transport"]].format(_PROTOCOLS[row["protocol"]])


def load(row: Row) -> str:
    """How many ask, and with what."""
    if row["load"] == "poisson":
        share = row["offered_share"]  # None where the capacity is not known
        rate = "at random" if row["rate"] is None else f"{row['rate']:.0f} texts/s at random"
        asked = rate if share is None else f"{share:.0%} of capacity at random"
    else:
        asked = "1 client" if row["concurrency"] == 1 else f"{row['concurrency']} clients"
    return asked if row["lengths"] == "own" else f"{asked}, {row['lengths']} tokens each"


def name(row: Row) -> str:
    return ", ".join((row["subject"], load(row), over(row)))


def measured(record: Record, *statuses: str) -> list[Row]:
    """Rows that have figures; of these statuses where some are named."""
    return [row for row in record["rows"] if "throughput" in row and (not statuses or row["status"] in statuses)]


def of_engine(record: Record, row: Row) -> float | None:
    """Throughput ÷ `engine_limit`; None of rows that have none, or no throughput."""
    limit = engine_limit(record, row)
    return row["throughput"]["value"] / limit if limit and "throughput" in row else None


def engine_limit(record: Record, row: Row) -> float | None:
    """What the same engine does alone on the same texts, in texts/s; None of other texts, of a rate, and of an engine without."""
    subject = record["subjects"][row["subject"]]
    alike = (subject["provider"], row["lengths"], row["load"]) == (embedded_models.PROVIDER, "own", "closed")
    limit: float | None = record["engine_limit"]["by_variant"].get(subject["variant"])
    return limit if alike else None


def best(record: Record) -> Row | None:
    """The published model's row of highest throughput: of texts as they are, and of rows that count where there are any."""
    mine = [row for row in measured(record) if (row["subject"], row["lengths"], row["load"]) == (record["model"], "own", "closed")]
    counted = [row for row in mine if row["status"] == "ok"]
    return max(counted or mine, key=lambda row: row["throughput"]["value"], default=None)


def alone(record: Record) -> Row | None:
    """The published model's row of one client, by the faster protocol."""
    mine = [row for row in measured(record, "ok") if row["subject"] == record["model"] and row["concurrency"] == 1]
    return min(mine, key=lambda row: row["p99_ms"]["value"], default=None)


def short(value: float) -> str:
    """Three digits or so."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def figure(found: dict[str, Any]) -> str:
    """A value with its interval, `12.3 (11.9–12.8)`; a percentile of too few requests says so."""
    low, high = found["interval"]
    said = f"{short(found['value'])} ({short(low)}–{short(high)})"
    return said if found.get("enough", True) else f"{said}, of fewer than {found['needs']} requests"


def main(record: Record) -> list[dict[str, Any]]:
    """What is compared under the load that most share, of several the highest: models over gRPC, and ways to the published one."""
    rows = {row["id"]: row for row in record["rows"]}
    loads = Counter((rows[one["a"]]["lengths"] == "own", rows[one["a"]]["concurrency"]) for one in record["comparisons"])
    shared = max(loads, key=lambda load: (load[0], loads[load], load[1]), default=None)

    def is_main(one: dict[str, Any]) -> bool:
        a, b = rows[one["a"]], rows[one["b"]]
        over_grpc = (a["protocol"], a["transport"]) == ("grpc", "network")
        same = a["subject"] == b["subject"] == record["model"]
        return (a["lengths"] == "own", a["concurrency"]) == shared and (over_grpc or same)

    return [one for one in record["comparisons"] if is_main(one)]


def ranked(record: Record) -> list[dict[str, Any]]:
    """The comparisons: the main ones first, and of them the published model's with the baselines, then its others."""
    rows = {row["id"]: row for row in record["rows"]}
    pairs = {(one["a"], one["b"]) for one in main(record)}

    def rank(one: dict[str, Any]) -> tuple[bool, bool, bool]:
        a, b = (rows[one[side]]["subject"] for side in "ab")
        return (one["a"], one["b"]) not in pairs, a != record["model"], not record["subjects"][b]["baseline"]

    return sorted(record["comparisons"], key=rank)


def comparisons(record: Record) -> list[dict[str, str]]:
    """Each pair that was compared: verdict, its CSS class, text, and more: the other measures."""
    rows = {row["id"]: row for row in record["rows"]}
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in ranked(record):
        pairs.setdefault((one["a"], one["b"]), []).append(one)
    said = []
    for (a, b), found in pairs.items():
        first, *others = found
        made = {"verdict": first["verdict"], "css": _CLASSES[first["verdict"]], "text": _in_words(first, rows[a], rows[b])}
        said.append(made | {"more": "; ".join(_shortly(one) for one in others if one["why"] != first["why"] or one["interval"])})
    return said


def _shortly(one: dict[str, Any]) -> str:
    if one["interval"] is None:
        return f"{_MEASURES[one['measure']]}: {one['verdict']}, {one['why']}"
    low, high = one["interval"]
    return f"{_MEASURES[one['measure']]}: {one['verdict']}, {one['ratio']:.2f} × ({low:.2f} to {high:.2f})"


def apart(a: Row, b: Row) -> tuple[str, str, str]:
    """What tells two rows apart, of each, and what they share."""
    of = [[row["subject"], load(row), over(row)] for row in (a, b)]
    pairs = list(zip(*of, strict=True))
    if a["id"] == b["id"]:
        return name(a), name(b), ""
    first, second = (", ".join(pair[side] for pair in pairs if pair[0] != pair[1]) for side in (0, 1))
    return first, second, ", ".join(pair[0] for pair in pairs if pair[0] == pair[1])


def _in_words(one: dict[str, Any], a: Row, b: Row) -> str:
    first, second, shared = apart(a, b)
    where = f" ({shared})" if shared else ""
    what = _MEASURES[one["measure"]]
    if one["verdict"] == "invalid run":
        return f"{first} against {second}{where}: no result, {one['why']}"
    low, high = one["interval"]
    ratio = f"{one['ratio']:.2f} × {what}, 95 %: {low:.2f} to {high:.2f}"
    if one["verdict"] == "no difference":
        return f"between {first} and {second} no difference can be shown: {ratio}{where}"
    return f"{first} is {one['verdict']} than {second}: {ratio}{where}"


def headline(record: Record) -> tuple[str, str]:
    """The verdict on speed in a sentence, and its CSS class: the published model against the baselines, at the highest load."""
    top = best(record)
    if top is None:
        return f"Nothing could be measured: {_first_why(record)}.", "bad"
    if top["status"] != "ok":
        return f"Its speed is no result, the run was invalid: {'; '.join(top['why'])}.", "wait"
    compared, against = _against_baselines(record)
    row = compared if compared and compared["status"] == "ok" else top
    said = f"With {load(row)} over {over(row)} it answers {row['throughput']['value']:.0f} texts a second"
    if not against:
        return f"{said}; it was compared with nothing.", "soft"
    return f"{said}: {', '.join(words for words, _ in against)}.", _worst([css for _, css in against])


def _first_why(record: Record) -> str:
    return next((row["why"][0] for row in record["rows"] if row["why"]), "there is no row of the published model")


def _worst(classes: list[str]) -> str:
    return next(css for css in ("bad", "wait", "soft", "good") if css in classes)


def _against_baselines(record: Record) -> tuple[Row | None, list[tuple[str, str]]]:
    """The row compared with the baselines under the most clients; with each, its throughput, as a clause and its CSS class."""
    rows = {row["id"]: row for row in record["rows"]}
    found: dict[str, dict[str, Any]] = {}
    for one in sorted(record["comparisons"], key=lambda one: rows[one["a"]]["concurrency"] or 0):
        usual = rows[one["b"]]["subject"]
        mine = rows[one["a"]]["subject"] == record["model"] and record["subjects"][usual]["baseline"]
        if mine and rows[one["a"]]["lengths"] == "own" and one["measure"] == "throughput":
            found[usual] = one
    clauses = {
        "faster": "{ratio:.1f} × what {usual} does (95 %: {low:.1f} to {high:.1f})",
        "slower": "only {ratio:.2f} × what {usual} does (95 %: {low:.2f} to {high:.2f})",
        "no difference": "no difference to {usual} can be shown",
        "invalid run": "against {usual} the run was invalid",
    }
    made = []
    for usual, one in found.items():
        low, high = one["interval"] or (None, None)
        clause = clauses[one["verdict"]].format(ratio=one["ratio"], usual=usual, low=low, high=high)
        made.append((clause, _CLASSES[one["verdict"]]))
    compared = [rows[one["a"]] for one in found.values()]
    return compared[-1] if compared else None, made


def machine_state(record: Record) -> str:
    """What else the machine did while it was measured: the most of any round, and how often it was measured again for it."""
    rounds = [one for row in record["rows"] for one in row["rounds"]]
    if not rounds:
        return ""
    said = f"other processes used up to {max(one['others_share'] for one in rounds):.1%} of the cores"
    said += f", the hypervisor took up to {max(one['steal_share'] for one in rounds):.1%}"
    if again := sum(one["tries"] > 1 for one in rounds):
        said += f", {again} of {len(rounds)} measurements were made again for that"
    clocks = [one["mhz"] for one in rounds if one["mhz"]]
    return f"{said}, clocks {min(clocks):.0f} to {max(clocks):.0f} MHz" if clocks else said


def padding(record: Record) -> list[tuple[str, float]]:
    """(subject, share of the tokens computed that were padding): the mean over the rows that tell."""
    wastes: dict[str, list[float]] = {}
    for row in record["rows"]:
        if row["padding_waste"] is not None and row["lengths"] == "own":
            wastes.setdefault(row["subject"], []).append(row["padding_waste"])
    return [(subject, sum(found) / len(found)) for subject, found in wastes.items()]


def offers(record: Record) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The choice's rows: of each subject the best, and all of them; what holds first, then the most texts a second."""
    rows = {row["id"]: row for row in record["rows"]}
    found = [{**one, "name": name(rows[one["row"]])} for one in record["choice"]["rows"]]
    found.sort(key=lambda one: (not one["holds"], -one["texts_per_second"] if one["holds"] else one["p99_ms"]))
    first: dict[str, dict[str, Any]] = {}
    for one in found:
        first.setdefault(one["subject"], one)
    return list(first.values()), found
