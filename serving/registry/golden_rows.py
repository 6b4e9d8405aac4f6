"""The golden rows of published versions, kept in the registry's state: later versions answer them.

golden/<sha256 of bundle.json>/   of a bundle: bundle.json, golden.jsonl, golden.npz, labels.txt

A run may be trained again, or be gone. Of one bundle's versions there is one copy; bundle.json has
the hashes of the others, and the registry's manifest has its own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from serving.registry.proof import Origin
from serving.registry.registry import Registry
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
