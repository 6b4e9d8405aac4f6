"""Every record of a run, checked to be of the state that is there now, and whether the answers stayed the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export import artifact
from serving.records import BENCHMARK, BENCHMARK_SCHEMA, REPOSITORY, SERVED
from train import bundle, manifest
from train.errors import ManifestError


def gather(run: Path) -> dict[str, Any]:
    """Every record of the run. Raises ManifestError naming the one that is missing and the command that writes it."""
    source = bundle.load(run / "bundle")
    repository = manifest.sha256(run / "model_repository" / REPOSITORY)
    return {
        "run": str(run),
        "bundle": source.facts,
        "history": _history(source),
        "labels": source.labels,
        "golden": bundle.load_golden(source),
        "parity": [_parity(run, name, source.sha256) for name in artifact.exported(run)],
        "skipped": artifact.skipped(run),
        "served": _of_repository(run / SERVED, repository, f"make verify RUN={run}"),
        "benchmark": _benchmark(run, repository),
    }


def _history(source: bundle.Bundle) -> dict[str, Any]:
    """Steps and validations of training; empty when the model was trained elsewhere, or by an earlier version of Slipway."""
    path = source.directory / "history.json"
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _parity(run: Path, variant: str, bundle_sha256: str) -> dict[str, Any]:
    """The record of a comparison, passed or not, of the bundle that is there now."""
    fix = f"make export RUN={run}"
    path = run / "artifacts" / variant / artifact.PARITY
    return _current(_json(path, fix), "bundle_sha256", bundle_sha256, path, fix)


def _benchmark(run: Path, repository_sha256: str) -> dict[str, Any]:
    path, fix = run / BENCHMARK, f"make bench RUN={run}"
    record = _current(_json(path, fix), "schema", BENCHMARK_SCHEMA, path, fix)
    return _current(record, "repository_sha256", repository_sha256, path, fix)


def _of_repository(path: Path, sha256: str, fix: str) -> dict[str, Any]:
    """A record of the server, of the repository that is there now."""
    return _current(_json(path, fix), "repository_sha256", sha256, path, fix)


def _json(path: Path, fix: str) -> dict[str, Any]:
    if not path.is_file():
        raise ManifestError("a record is missing", expected=path.name, found="no such file", where=str(path), fix=fix)
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def _current(record: dict[str, Any], what: str, expected: object, path: Path, fix: str) -> dict[str, Any]:
    if record.get(what) != expected:
        raise ManifestError(
            "a record is of an earlier state",
            expected=f"{what} {expected}",
            found=str(record.get(what)),
            where=str(path),
            fix=fix,
        )
    return record


def passed(facts: dict[str, Any]) -> bool:
    """Whether every variant gave the same answers, offline and served. Nothing compared is nothing passed."""
    offline = [bool(record["passed"]) for record in facts["parity"]]
    return bool(offline) and all(offline) and bool(facts["served"]["checks"]) and bool(facts["served"]["passed"])


def verdict(facts: dict[str, Any]) -> str:
    """The same in a sentence."""
    if not passed(facts):
        return "A conversion changed the answers: see the rows marked FAILED."
    served = {check["variant"] for check in facts["served"]["checks"]}
    names = [record["variant"] for record in facts["parity"]]
    offline = [name for name in names if name not in served]
    more = f"; {', '.join(offline)} offline" if offline else ""
    return f"The answers stayed the same: {', '.join(name for name in names if name in served)} passed offline and served{more}."
