"""Is every fault that is planted into a finished run caught, and named?

Reads a run after its export; writes benchmarks/records/faults.json. The gate judges each fault
anew, so the run is copied with fewer golden rows, compared once without a fault, and every fault
goes into a copy of that. It takes a minute for each ten faults of MiniLM and 1,500 rows on two
quiet cores.

    python -m benchmarks.faults.measure --run runs/demo --rows 1500
    python -m benchmarks.faults.measure --run runs/demo --kind graph --kind rows
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.faults import catalogue, graphs, rebuilt, records, repositories, rows, served, weights
from benchmarks.faults.catalogue import Catch, Fault
from benchmarks.harness import Signed, Table, Target
from export.parity import gate
from slipway import errors, provenance
from slipway.contract import artifact, bundle
from slipway.contract.records import from_json
from slipway.contract.variants import VARIANTS

OFFLINE: tuple[Fault, ...] = (*graphs.FAULTS, *weights.FAULTS, *rows.FAULTS, *records.FAULTS, *rebuilt.FAULTS)
# With a repository, or a server, for all of them together.
TOGETHER = {"repository": repositories.catches, "live": served.catches}
KINDS = {
    "graph": "in what a graph computes, or in its weights",
    "rows": "in the golden rows",
    "record": "in a record or a file",
    "rebuild": "passed by the gate, and seen by a second conversion (`slipway check --rebuild`)",
    "import": "in what is imported",
    "repository": "in a compiled repository, sealed anew",
    "live": "in a served version, through HTTP and gRPC",
}
_LEAST = 60  # faults
_LONGEST = 110  # characters of a sentence in the table


@dataclass(frozen=True)
class PlantedFault:
    name: str
    kind: str
    caught_by: str  # a part of the sentence that names it
    caught: bool
    named: str  # that sentence; "": nothing names it
    seconds: float  # to examine it


@dataclass(frozen=True, kw_only=True)
class Faults(Signed):
    run: str
    golden_rows: int  # of the copy that the faults went into
    of_golden_rows: int  # of the run
    seconds: float  # altogether
    faults: list[PlantedFault]
    targets: list[Target]


def main() -> int:
    arguments = _parse()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".faults-", dir=arguments.run.parent) as scratch:  # one disk: files are linked
        sound = Path(scratch) / "sound"
        kept, of = reduced(arguments.run, sound, arguments.rows)
        planted = []
        for caught in catches(sound, Path(scratch), arguments.kind or list(KINDS)):
            print(caught, flush=True)
            planted.append(from_json(PlantedFault, asdict(caught)))
    named = sum(bool(fault.named) for fault in planted)
    record = Faults(
        run=str(arguments.run),
        golden_rows=kept,
        of_golden_rows=of,
        seconds=round(time.monotonic() - started, 1),
        faults=planted,
        targets=[
            Target.least("share of the faults that are caught and named", named / len(planted), 1),
            Target.least(f"faults, at least {_LEAST}", len(planted), _LEAST),
        ],
        **_signature(),
    )
    harness.finish(arguments.record, record, table(record))
    return 0 if named == len(planted) else 1


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "faults.json")
    parser.add_argument("--run", type=Path, required=True, help="a run after its export")
    parser.add_argument("--rows", type=int, default=1500, help="golden rows of the copy; default: %(default)s")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="the faults to plant; default: all")
    return parser.parse_args()


def _signature() -> dict[str, Any]:
    facts = provenance.record("onnxruntime", "onnx", "numpy", "scipy", "tensorflow", "tf2onnx")
    return {**facts, "machine": from_json(harness.Machine, facts["machine"])}


def reduced(run: Path, target: Path, most: int) -> tuple[int, int]:
    """Copy a run with fewer golden rows to `target`, compare what it has, and count the rows.

    What passed has to pass there too. Raises ParityError or ManifestError.
    """
    catalogue.copy(run, target)
    golden = bundle.load_golden(bundle.load(target / "bundle"))
    if len(golden.ids) > most:
        rows.keep(target, golden, np.linspace(0, len(golden.ids) - 1, most).astype(int))
    reference = bundle.load_reference(bundle.load(target / "bundle"))
    for name in VARIANTS:
        if (target / "artifacts" / name).is_dir():
            candidate = artifact.load(target / "artifacts" / name)
            gate.check(candidate, reference)
            artifact.verdict(candidate, reference.bundle.sha256)
    return len(reference.golden.ids), len(golden.ids)


def catches(sound: Path, scratch: Path, kinds: list[str]) -> Iterator[Catch]:
    """Plant each fault of these kinds into a copy of the run `sound`."""
    for number, fault in enumerate(OFFLINE):
        if fault.kind in kinds:
            target = scratch / f"fault-{number}"
            yield catalogue.catch(fault, catalogue.copy(sound, target))
            shutil.rmtree(target)
    for kind, together in TOGETHER.items():
        if kind in kinds:
            (scratch / kind).mkdir()
            yield from together(sound, scratch / kind)


def table(record: Faults) -> Table:
    rows = [(fault.name, _shown(fault), _clause(fault)) for fault in record.faults]
    return Table("Planted faults", ("fault", "", "named by"), _by_kind(record, rows), _note(record))


def _by_kind(record: Faults, rows: list[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    """Put a line with the kind, and how many were caught, before the rows of each kind."""
    shown: list[tuple[str, ...]] = []
    for kind, where in KINDS.items():
        own = [row for row, fault in zip(rows, record.faults, strict=True) if fault.kind == kind]
        if own:
            named = sum(bool(fault.named) for fault in record.faults if fault.kind == kind)
            shown += [(f"**{where}**", f"**{named} of {len(own)}**"), *own]
    return shown


def _shown(fault: PlantedFault) -> str:
    return "caught" if fault.named else "caught, not named" if fault.caught else "GOT PAST"


def _clause(fault: PlantedFault) -> str:
    """Return the part of the sentence that names the fault, not longer than a line."""
    clauses = re.split(r"; found |; |: expected |shown to be worse: ", fault.named)
    text = next((clause for clause in clauses if fault.caught_by in clause), fault.named)
    text = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1…", text)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} …"
    return text.replace("|", "\\|")


def _note(record: Faults) -> str:
    targets = "; ".join(map(str, record.targets))
    return (
        f"{targets}. {record.run}, {record.golden_rows:,} of its {record.of_golden_rows:,} golden rows; "
        f"{record.seconds / 60:.0f} minutes; `{record.command}`. {record.signature}"
    )


if __name__ == "__main__":
    errors.run(main)
