"""The golden rows of published versions, kept in the registry's state: later versions answer them.

golden/<sha256 of bundle.json>/   of a bundle: bundle.json, golden.jsonl, golden.npz, labels.txt

A run may be trained again, or be gone. Of one bundle's versions there is one copy; bundle.json has
the hashes of the others, and the registry's manifest has its own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from serving.registry.proof import golden_source
from serving.registry.registry import Origin, Published, PublishedVersion, Registry
from serving.registry.regression import GoldenSet
from slipway.contract import bundle, manifest
from slipway.contract.bundle import Bundle, Golden
from slipway.errors import ManifestError

_FILES = (bundle.MANIFEST, "golden.jsonl", "golden.npz", "labels.txt")


def keep(registry: Registry, source: Bundle) -> None:
    """Keep the golden rows of a bundle, as links."""
    with manifest.atomic_directory(_directory(registry, source.sha256)) as building:
        for name in _FILES:
            manifest.link(source.directory / name, building / name)


def load(registry: Registry, origin: Origin) -> tuple[Bundle, Golden]:
    """Return what is kept of a version's bundle. Raises ManifestError if it is not all there."""
    directory = _directory(registry, origin.bundle_sha256)
    present = manifest.hashes(directory) if directory.is_dir() else {}
    if present.get(bundle.MANIFEST) != origin.bundle_sha256:
        raise _changed(registry, origin, directory / bundle.MANIFEST)
    facts = json.loads((directory / bundle.MANIFEST).read_text("utf-8"))
    for name in _FILES[1:]:
        if present.get(name) != facts["files"][name]:
            raise _changed(registry, origin, directory / name)
    source = Bundle(directory, origin.bundle_sha256, facts)
    return source, bundle.load_golden(source)


def of_both(registry: Registry, before: Published, number: int, reason: str, promote: str) -> list[GoldenSet]:
    """Return the golden rows of the active version and, if they are others, of version `number`.

    An active version that was published before golden rows were kept has none once its run was
    trained again. With a `reason`, those of version `number` then have to do; without one the
    ManifestError's fix is `promote`, the command, with one.
    """
    alone = f"{promote} --reason WHY"
    active, version = before.versions[before.active], before.versions[number]
    sets = []
    try:
        sets.append(GoldenSet(before.active, *load(registry, active)))
    except ManifestError as error:
        if _directory(registry, active.bundle_sha256).exists():  # what was changed stays refused
            raise
        if own := _of_run(active):
            sets.append(GoldenSet(before.active, *own))
        elif reason:
            print(f"            no golden rows of version {before.active} were kept: version {number}'s alone are asked")
        else:
            error.fix = f"its run is gone or was trained again; compare on version {number}'s rows alone: {alone}"
            raise
    source = golden_source(version, registry.command("publish", version.run))
    if not sets or sets[0].source.sha256 != source.sha256:
        sets.append(GoldenSet(number, source, bundle.load_golden(source)))
    return sets


def _of_run(version: PublishedVersion) -> tuple[Bundle, Golden] | None:
    """Return the bundle of a version's run, if that is still the one it was published with."""
    try:
        source = golden_source(version, "")
        return source, bundle.load_golden(source)
    except (ManifestError, OSError):
        return None


def drop_unused(registry: Registry, used: set[str]) -> None:
    """Delete the rows of all but these bundles."""
    for directory in _directory(registry, "").iterdir():
        if directory.name not in used:
            shutil.rmtree(directory)


def _directory(registry: Registry, bundle_sha256: str) -> Path:
    return registry.state / "golden" / bundle_sha256


def _changed(registry: Registry, origin: Origin, path: Path) -> ManifestError:
    return ManifestError(
        "the golden rows of a published version are not there",
        expected=f"{path.name} of the bundle {origin.bundle_sha256[:12]}, kept when it was published",
        found="another file" if path.exists() else "no such file",
        where=str(path),
        fix=f"its run, published again, brings them back: {registry.command('publish', origin.run)}",
    )
