"""Check a run from the bundle to the last verdict: every hash, every chain, every comparison. Names what differs.

Exits 0 when all holds, 1 with a line for each thing that does not. Runs in seconds: nothing is computed but hashes.

    python -m export.verify runs/demo
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from export import artifact
from export.artifact import Artifact
from export.variants import VARIANTS
from train import bundle, errors, terminal
from train.errors import ManifestError, SlipwayError

_T = TypeVar("_T")


def main() -> int:
    run = _parse().run
    problems: list[SlipwayError] = []
    bundle_sha256 = _checked(problems, lambda: bundle.load(run / "bundle").sha256)
    bundle_sha256 = bundle_sha256 or ""
    table = terminal.table(str(run), "what", "made from", "holds", left=("what", "made from", "holds"))
    table.add_row("bundle", "", terminal.verdict(bool(bundle_sha256)))
    exported = _checked(problems, partial(artifact.exported, run)) or []
    for name in [name for name in VARIANTS if name in exported or (run / "artifacts" / name).is_dir()]:
        variant, directory = VARIANTS[name], run / "artifacts" / name
        before = len(problems)
        one = _checked(problems, partial(artifact.load, directory))
        if one:
            _checked(problems, partial(_check_chain, one, run, bundle_sha256))
            _checked(problems, partial(artifact.verdict, one, bundle_sha256))
        table.add_row(name, variant.made_from, terminal.verdict(len(problems) == before))
    terminal.console().print(table)
    for problem in problems:
        print(f"\n{problem}")
    return 1 if problems else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("run", type=Path, help="the run's directory, for example runs/demo")
    return parser.parse_args()


def _checked(problems: list[SlipwayError], check: Callable[[], _T]) -> _T | None:
    try:
        return check()
    except SlipwayError as problem:
        problems.append(problem)
        return None


def _check_chain(one: Artifact, run: Path, bundle_sha256: str) -> None:
    """The artifact was made from what lies upstream of it now. Raises ManifestError."""
    origin = one.variant.made_from
    upstream = bundle_sha256 if origin == "bundle" else artifact.load(run / "artifacts" / origin).sha256
    recorded = one.facts["made_from"]["sha256"]
    if recorded != upstream:
        raise ManifestError(
            f"{one.variant.name} was made from another {origin}",
            expected=f"made from sha256 {upstream}",
            found=f"made from sha256 {recorded}",
            where=str(one.directory / artifact.MANIFEST),
            fix=f"make export RUN={run}",
        )


if __name__ == "__main__":
    errors.run(main)
