"""Check a run from the bundle to the last verdict: every hash, every chain, every comparison.

Exits 0 when all holds, 1 with a line for each thing that does not. Takes seconds: nothing is
computed but hashes.

    slipway check runs/demo
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from slipway import console, errors
from slipway.contract import artifact, bundle
from slipway.contract.artifact import Artifact
from slipway.contract.variants import VARIANTS
from slipway.errors import ManifestError, SlipwayError

_T = TypeVar("_T")


def check(arguments: argparse.Namespace) -> int:
    run = arguments.run
    problems: list[SlipwayError] = []
    source = _checked(problems, partial(bundle.load, run / "bundle"))
    table = console.table(str(run), "what", "made from", "holds", left=("what", "made from", "holds"))
    table.add_row("bundle", "", console.verdict(source is not None))
    exported = _checked(problems, partial(artifact.exported, run)) or []
    for name in [name for name in VARIANTS if name in exported or (run / "artifacts" / name).is_dir()]:
        before = len(problems)
        candidate = _checked(problems, partial(artifact.load, run / "artifacts" / name))
        if candidate:
            bundle_sha256 = source.sha256 if source else ""
            _checked(problems, partial(_check_chain, candidate, run, bundle_sha256))
            _checked(problems, partial(artifact.verdict, candidate, bundle_sha256))
        table.add_row(name, VARIANTS[name].made_from, console.verdict(len(problems) == before))
    console.console().print(table)
    for problem in problems:
        print(f"\n{problem}")
    return 1 if problems else 0


def _checked(problems: list[SlipwayError], check: Callable[[], _T]) -> _T | None:
    try:
        return check()
    except SlipwayError as problem:
        problems.append(problem)
        return None


def _check_chain(candidate: Artifact, run: Path, bundle_sha256: str) -> None:
    """Raise ManifestError unless the artifact was made from what lies upstream of it now."""
    origin = candidate.variant.made_from
    upstream = bundle_sha256 if origin == "bundle" else artifact.load(run / "artifacts" / origin).sha256
    recorded = candidate.facts["made_from"]["sha256"]
    if recorded != upstream:
        raise ManifestError(
            f"{candidate.variant.name} was made from another {origin}",
            expected=f"made from sha256 {upstream}",
            found=f"made from sha256 {recorded}",
            where=str(candidate.directory / artifact.MANIFEST),
            fix=errors.command("export", run),
        )
