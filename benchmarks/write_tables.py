"""Keep a run's results as a record, and write the README's table from the record.

python -m benchmarks.write_tables --run runs/demo     takes the run's figures into demo.json first
python -m benchmarks.write_tables                     only writes the table anew
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from train import errors, manifest

_CHECKOUT = Path(__file__).parents[1]
RECORD = Path(__file__).parent / "demo.json"
README = _CHECKOUT / "README.md"
_START, _END = "<!-- table: benchmarks/demo.json -->\n", "<!-- end -->"


def main() -> int:
    arguments = _parse()
    if arguments.run:
        manifest.write_json(RECORD, gather(arguments.run))
    README.write_text(with_table(README.read_text("utf-8"), json.loads(RECORD.read_text("utf-8"))), "utf-8")
    print(f"table  {README}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, help="a finished run to take the figures from")
    return parser.parse_args()


def gather(run: Path) -> dict[str, Any]:
    """What the table needs of a finished run, with where it came from."""
    bundle, served, benchmark = (_json(run / name) for name in ("bundle/bundle.json", "served.json", "benchmark.json"))
    parity = [_json(path) for path in sorted(run.glob("artifacts/*/parity.json"))]
    kept = ("variant", "rows", "flips", "flip_rate_bound", "accuracy", "accuracy_loss_bound", "texts_per_second", "command")
    return {
        "train": {"rows": bundle["metrics"]["examples"], "test_accuracy": bundle["metrics"]["test_accuracy"]},
        "generated_corpus": bundle["corpus"]["generated"],
        "parity": [{name: record[name] for name in kept} for record in parity],
        "skipped": _json(run / "artifacts" / "skipped.json"),
        "served": [{name: check[name] for name in ("model", "variant", "protocol", "flips", "rows")} for check in served["checks"]],
        "benchmark": {name: benchmark[name] for name in ("variant", "rows", "engine_limit", "padding", "command")},
        **{name: benchmark[name] for name in ("machine", "versions", "commit")},
    }


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def with_table(text: str, record: dict[str, Any]) -> str:
    """`text` with what stands between the marks replaced by the record's table."""
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END)
    return f"{before}{_START}{table(record)}{_END}{after}"


def table(record: dict[str, Any]) -> str:
    base = next(one for one in record["parity"] if one["variant"] == "onnx_fp32")
    lines = [
        "| variant | labels changed, offline | accuracy lost, at most (95 %) | labels changed, served | engine speed |",
        "|---|---|---|---|---|",
    ]
    for one in sorted(record["parity"], key=lambda found: found["texts_per_second"]):
        served = max((check["flips"] for check in record["served"] if check["variant"] == one["variant"]), default=None)
        shown = f"{served} of {one['rows']}" if served is not None else "–"
        ratio = one["texts_per_second"] / base["texts_per_second"]
        lines.append(
            f"| {one['variant']} | {one['flips']} of {one['rows']} | {one['accuracy_loss_bound']:.2%} | {shown} | {ratio:.2f} × |"
        )
    lines += [f"| {name} | skipped: {why['reason']} | | | |" for name, why in record["skipped"].items()]
    best = max(record["benchmark"]["rows"], key=lambda row: row["throughput"])
    limit = record["benchmark"]["engine_limit"]["texts_per_second"]
    least, most = best["throughput_least"] / limit, best["throughput_most"] / limit
    machine = record["machine"]
    lines += [
        "",
        f"Test accuracy {record['train']['test_accuracy']:.2%} after {record['train']['rows']} rows. "
        f"Served with real texts ({record['benchmark']['variant']}, {best['concurrency']} clients, {best['protocol']}): "
        f"{least:.0%} to {most:.0%} of what the engine did alone in the same rounds; "
        f"{record['benchmark']['padding']['waste']:.1%} of the tokens computed were padding. "
        f"{machine['cores']} cores of {machine['cpu']}, commit {record['commit']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    errors.run(main)
