"""Check a run from the bundle to the last verdict: every hash, every chain, every comparison.

Exits 0 when all holds, else with the code of the first thing that does not, and shows them all. A
variant that did not pass and is not exported is left out, which is no fault. Takes seconds: nothing
is computed but hashes.

With --rebuild all is done again and compared, which takes as long as the export did: the reference
logits, each conversion, and the gate's counts. Only this sees a record that was typed over with its
hashes.

    slipway check runs/demo [--rebuild]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.text import Text

from export.disk_space import stage
from export.parity import rebuild
from export.parity.rebuild import NotRebuilt, Rebuild
from slipway import console, errors
from slipway.contract import artifact, bundle
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle
from slipway.contract.variants import VARIANTS
from slipway.errors import ManifestError, ParityError, SlipwayError

_T = TypeVar("_T")
BUNDLE = "bundle"


@dataclass(frozen=True)
class Checked:
    """What was loaded of a run, and what is wrong with it: of BUNDLE and of each variant."""

    problems: dict[str, list[SlipwayError]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # variant → why
    rebuilt: dict[str, str | Text] = field(default_factory=dict)  # what came out of it, for a person
    artifacts: list[Artifact] = field(default_factory=list)

    def hold(self, name: str, check: Callable[[], _T]) -> _T | None:
        """Return what `check` does; None when it finds a problem, which is kept."""
        problems = self.problems.setdefault(name, [])
        try:
            return check()
        except SlipwayError as problem:
            problems.append(problem)
            return None


def check(arguments: argparse.Namespace) -> int:
    run, checked = arguments.run, Checked()
    source = checked.hold(BUNDLE, partial(bundle.load, run / "bundle"))
    exported = checked.hold(BUNDLE, partial(artifact.exported, run)) or []
    for name in [name for name in VARIANTS if name in exported or (run / "artifacts" / name).is_dir()]:
        candidate = checked.hold(name, partial(artifact.load, run / "artifacts" / name))
        if candidate:
            checked.artifacts.append(candidate)
            bundle_sha256 = source.sha256 if source else ""
            checked.hold(name, partial(_check_chain, candidate, run, bundle_sha256))
            checked.hold(name, partial(_check_verdict, candidate, bundle_sha256, name in exported, checked.left_out))
    if arguments.rebuild and source:
        _rebuild(run, source, checked)
    _show(run, checked)
    return next((problem.exit_code for problems in checked.problems.values() for problem in problems), 0)


def _show(run: Path, checked: Checked) -> None:
    columns = ["what", "made from", "holds", *(["rebuilt"] if checked.rebuilt else []), ""]
    table = console.table(str(run), *columns, left=tuple(columns))
    for name, problems in checked.problems.items():
        made_from = VARIANTS[name].made_from if name in VARIANTS else ""
        rebuilt = [checked.rebuilt.get(name, "no")] if checked.rebuilt else []
        left_out = checked.left_out.get(name, "")
        holds = Text("left out", "yellow") if left_out and not problems else console.verdict(not problems)
        table.add_row(name, made_from, holds, *rebuilt, left_out)
    console.console().print(table)
    for problem in [problem for problems in checked.problems.values() for problem in problems]:
        print(f"\n{problem}")


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


def _check_verdict(candidate: Artifact, bundle_sha256: str, exported: bool, left_out: dict[str, str]) -> None:
    """Raise ParityError when an exported artifact has no passing verdict; of another, note why."""
    try:
        artifact.verdict(candidate, bundle_sha256)
    except ParityError as error:
        if exported:
            raise
        left_out[candidate.variant.name] = error.found


def _rebuild(run: Path, source: Bundle, checked: Checked) -> None:
    """Do again what the run's records say, and keep what comes out otherwise."""
    reference = checked.hold(BUNDLE, partial(bundle.load_reference, source))
    if reference is None:
        return
    again = errors.command("check", run, "--rebuild")
    with tempfile.TemporaryDirectory() as scratch, stage("rebuilding", Path(scratch), again), console.activity("check") as say:
        _compare(checked, BUNDLE, partial(rebuild.reference_logits, reference, say))
        rebuilding, undone = Rebuild(run, reference, Path(scratch)), set()
        for candidate in checked.artifacts:
            name, origin = candidate.variant.name, candidate.variant.made_from
            if origin in undone:
                checked.rebuilt[name] = f"not rebuilt: {origin}, which it is made from, was not"
            elif _compare(checked, name, partial(rebuilding.differences, candidate, say)):
                continue
            undone.add(name)


def _compare(checked: Checked, name: str, differences: Callable[[], Iterable[SlipwayError]]) -> bool:
    """Keep the differences between what is there and what was made again; False: it was not."""
    problems = checked.problems[name]
    before = len(problems)
    try:
        problems.extend(differences())
    except NotRebuilt as reason:
        checked.rebuilt[name] = f"not rebuilt: {reason}"
        return False
    except SlipwayError as problem:
        problems.append(problem)
        checked.rebuilt[name] = console.verdict(False)
        return False
    checked.rebuilt[name] = console.verdict(len(problems) == before)
    return True
