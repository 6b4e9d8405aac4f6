"""Keep a run's results as a record, and write the tables of README.md and benchmarks/README.md from the records.

python -m benchmarks.write_tables --run runs/demo     takes the run's figures into demo.json first
python -m benchmarks.write_tables --bench runs/agnews  takes its benchmark.json into served.json first
python -m benchmarks.write_tables                     only writes the tables anew
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.tables import TABLES
from serving import speed_section
from train import errors, manifest
from train.errors import ManifestError

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
        "against_baselines": _against_baselines(benchmark),
        **{name: benchmark[name] for name in ("machine", "versions", "commit")},
    }


def _against_baselines(benchmark: dict[str, Any]) -> list[dict[str, Any]]:
    """Texts/s of each variant that answers texts, beside the baselines', under the load that most comparisons share."""
    subject = {row["id"]: row["subject"] for row in benchmark["rows"]}
    of = benchmark["subjects"]
    return [
        {"variant": of[subject[one["a"]]]["variant"], "baseline": subject[one["b"]], **one}
        for one in speed_section.main(benchmark)
        if one["measure"] == "throughput" and of[subject[one["a"]]]["kind"] == "text" and of[subject[one["b"]]]["baseline"]
    ]


def _best(benchmark: dict[str, Any]) -> dict[str, Any]:
    """The load under which text_classifier answers most, as a share of what its engine did alone in the same rounds.

    Raises ManifestError where no load counts: that is no record.
    """
    row = speed_section.best(benchmark)
    limit = speed_section.engine_limit(benchmark, row) if row and row["status"] == "ok" else None
    if row is None or limit is None:
        raise ManifestError(
            "there is nothing to keep of this benchmark",
            expected=f"a load of {benchmark['model']} that counts",
            found="; ".join(row["why"]) if row else "none",
            where=benchmark["command"],
            fix="that command again, on a quiet machine",
        )
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


PAGES = (_CHECKOUT / "README.md", _CHECKOUT / "benchmarks" / "README.md")


if __name__ == "__main__":
    errors.run(main)
