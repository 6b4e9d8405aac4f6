from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from serving.registry import golden_rows
from serving.registry.registry import Origin, Published, PublishedVersion, Registry
from slipway.contract import bundle, manifest
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.ragged import Ragged
from slipway.errors import ManifestError


@pytest.fixture
def source(tmp_path: Path) -> Bundle:
    directory = tmp_path / "run" / "bundle"
    directory.mkdir(parents=True)
    (directory / "labels.txt").write_text("no\nyes\n")
    golden = Golden(["a text", "another"], Ragged.of([[2, 3], [2, 5, 3]]), np.array([0, 1]), np.eye(2, dtype=np.float32))
    bundle.write_golden(directory, golden)
    manifest.seal(directory, bundle.MANIFEST, {"schema": bundle.SCHEMA, "task": "single_text"})
    return bundle.load(directory)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "model_repository")


def origin(source: Bundle) -> Origin:
    return Origin("run", source.sha256, "", {}, {}, [])


def test_they_outlive_the_run(registry: Registry, source: Bundle) -> None:
    golden_rows.keep(registry, source)
    shutil.rmtree(source.directory)
    kept, golden = golden_rows.load(registry, origin(source))
    assert (kept.labels, kept.task) == (["no", "yes"], "single_text")
    assert (golden.texts, golden.labels.tolist()) == (["a text", "another"], [0, 1])


@pytest.mark.parametrize("name", ["bundle.json", "golden.jsonl", "golden.npz", "labels.txt"])
def test_a_changed_file_is_refused_by_name(registry: Registry, source: Bundle, name: str) -> None:
    golden_rows.keep(registry, source)
    path = registry.state / "golden" / source.sha256 / name
    path.unlink()
    path.write_text("{}")
    with pytest.raises(ManifestError, match=name):
        golden_rows.load(registry, origin(source))


def test_missing_ones_come_back_with_the_run(registry: Registry, source: Bundle) -> None:
    with pytest.raises(ManifestError, match=r"publish run"):
        golden_rows.load(registry, origin(source))
    golden_rows.keep(registry, source)
    assert golden_rows.load(registry, origin(source))[1].texts


def test_those_of_no_version_are_dropped(registry: Registry, source: Bundle) -> None:
    golden_rows.keep(registry, source)
    golden_rows.drop_unused(registry, {source.sha256})
    assert golden_rows.load(registry, origin(source))
    golden_rows.drop_unused(registry, set())
    assert not list((registry.state / "golden").iterdir())


def published(source: Bundle) -> Published:
    """An active version of a bundle that is nowhere any more, and one of `source`."""
    run = str(source.directory.parent)
    entries = {
        number: PublishedVersion(run, sha256, "", {}, {}, [], published="")
        for number, sha256 in ((1, "0" * 64), (2, source.sha256))
    }
    return Published(1, (1,), entries)


def test_a_version_of_before_they_were_kept_can_be_replaced_for_a_reason(registry: Registry, source: Bundle) -> None:
    golden_rows.keep(registry, source)
    with pytest.raises(ManifestError, match="promote --reason WHY"):
        golden_rows.of_both(registry, published(source), 2, "", "promote")
    [rows] = golden_rows.of_both(registry, published(source), 2, "an old registry", "")
    assert (rows.version, rows.golden.texts) == (2, ["a text", "another"])


def test_the_rows_of_one_bundle_are_asked_once(registry: Registry, source: Bundle) -> None:
    golden_rows.keep(registry, source)
    versions = published(source).versions
    both = Published(2, (2,), {2: versions[2], 3: versions[2]})
    assert [rows.version for rows in golden_rows.of_both(registry, both, 3, "", "")] == [2]


def test_no_reason_makes_up_for_rows_that_were_changed(registry: Registry, source: Bundle) -> None:
    golden_rows.keep(registry, source)
    kept = registry.state / "golden" / source.sha256 / "golden.jsonl"
    kept.unlink()
    kept.write_text("{}")
    both = Published(2, (2,), {2: published(source).versions[2], 3: published(source).versions[2]})
    with pytest.raises(ManifestError, match=r"golden\.jsonl"):
        golden_rows.of_both(registry, both, 3, "a reason", "promote")
