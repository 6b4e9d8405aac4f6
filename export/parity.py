"""Compare one artifact's answers with the FP32 SavedModel's again, and write the verdict.

python -m export.parity --run runs/demo --variant ort_int8      exits 1 when a limit is not held
"""

from __future__ import annotations

import argparse
from pathlib import Path

from export import artifact, gate, table
from export.variants import VARIANTS
from train import bundle, errors


def parity() -> int:
    arguments = _parse_parity()
    reference = bundle.load(arguments.run / "bundle")
    candidate = artifact.load(arguments.run / "artifacts" / arguments.variant)
    record = gate.check(candidate, reference, bundle.load_golden(reference))
    table.show([record])
    return 0 if record.passed else 1


def _parse_parity() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    parser.add_argument("--variant", choices=sorted(VARIANTS), required=True)
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(parity)
