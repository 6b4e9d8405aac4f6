"""All records of a run that belong to its present state; of the others, what writes them.

JSON enters the report here; everything after this file reads the dataclasses of records.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from serving.benchmark.record import BenchmarkRecord
from serving.report.records import (
    MODEL_CARD,
    BundleRecord,
    Configuration,
    ElsewhereRecord,
    OfflineCheck,
    RunRecords,
    ServedRecord,
    TrainingRecord,
    TuningRecord,
)
from slipway import errors
from slipway.contract import artifact, bundle, manifest
from slipway.contract.records import (
    BENCHMARK,
    BENCHMARK_SCHEMA,
    ENDPOINT,
    REPOSITORIES,
    REPOSITORY,
    SERVED,
    TEXT_MODEL,
    TUNING,
    from_json,
)
from slipway.contract.variants import VARIANTS
from slipway.errors import ManifestError

_Record = TypeVar("_Record")


def read_run(run: Path) -> RunRecords:
    """Return what the run has of each record. Raises ManifestError if it has no bundle."""
    source = bundle.load(run / "bundle")
    history = source.directory / "history.json"
    left_out = artifact.examine(run, source.sha256).reasons
    own_words = run / MODEL_CARD
    records = RunRecords(
        run=str(run),
        bundle=from_json(BundleRecord, source.facts),
        labels=source.labels,
        training=from_json(TrainingRecord, json.loads(history.read_text("utf-8"))) if history.is_file() else None,
        golden=bundle.load_golden(source),
        parity_or_error=_if_there(lambda: _parity(run, left_out, {"bundle_sha256": source.sha256})),
        left_out=left_out,
        skipped=artifact.skipped(run),
        served_or_error=_if_there(lambda: _of_repository(run, partial(from_json, ServedRecord), SERVED, "verify")),
        benchmark_or_error=_if_there(
            lambda: _of_repository(run, BenchmarkRecord.from_json, BENCHMARK, "bench", schema=BENCHMARK_SCHEMA)
        ),
        elsewhere=_elsewhere(run) if (run / ENDPOINT).is_file() else None,
        configuration=_configuration(run),
        tuning=_tuning(run, {"bundle_sha256": source.sha256}),
        own_words=own_words.read_text("utf-8", errors="replace") if own_words.is_file() else "",
    )
    return replace(records, files={name: (run / name).read_text("utf-8") for name in _shown(records, history.is_file())})


def _shown(run: RunRecords, has_history: bool) -> list[str]:
    """Return the names, below the run's directory, of the records that the page shows."""
    parity = [] if "parity" in run.missing else [f"artifacts/{record.variant}/{artifact.PARITY}" for record in run.parity]
    there = {
        f"bundle/{bundle.MANIFEST}": True,
        "bundle/history.json": has_history,
        **dict.fromkeys(parity, True),
        SERVED: "served" not in run.missing,
        ENDPOINT: isinstance(run.elsewhere, ElsewhereRecord),
        BENCHMARK: "benchmark" not in run.missing,
        TUNING: run.tuning is not None,
    }
    return [name for name, shown in there.items() if shown]


def _elsewhere(run: Path) -> ElsewhereRecord | ManifestError:
    """Read what servers elsewhere answered, if the run still has the repository of then."""
    record = manifest.read_json(run / ENDPOINT, errors.command("verify", run, "--address", "URL"))
    repositories = [run / directory / REPOSITORY for directory in REPOSITORIES.values()]
    present = [manifest.sha256(repository) for repository in repositories if repository.is_file()]
    asked = record.get("repository_sha256")
    expected = {"repository_sha256": asked if asked in present else " or ".join(present)}
    addresses = (word for address in record.get("addresses", ()) for word in ("--address", address))
    fix = errors.command("verify", run, *addresses)
    return _if_there(lambda: _current(partial(from_json, ElsewhereRecord), run / ENDPOINT, expected, fix))


def _configuration(run: Path) -> Configuration | None:
    """Return how the embedded server runs text_classifier."""
    repository = run / REPOSITORIES["embedded"] / REPOSITORY
    built = manifest.read_json(repository, errors.command("build", run)) if repository.is_file() else {}
    if TEXT_MODEL not in built or "built_with" not in built:
        return None
    configuration: Configuration = from_json(Configuration, built["built_with"] | {"engine": built[TEXT_MODEL]})
    return configuration


def _tuning(run: Path, of_bundle: Mapping[str, object]) -> TuningRecord | None:
    read = _if_there(lambda: _current(partial(from_json, TuningRecord), run / TUNING, of_bundle, errors.command("tune", run)))
    return None if isinstance(read, ManifestError) else read


def _if_there(read: Callable[[], _Record]) -> _Record | ManifestError:
    try:
        return read()
    except ManifestError as error:
        return error


def _of_repository(run: Path, build: Callable[[Any], _Record], name: str, command: str, **expected: object) -> _Record:
    """Read a record of the run's repository, which `slipway <command> RUN` writes."""
    repository = run / REPOSITORIES["embedded"] / REPOSITORY
    _refuse_missing(repository, errors.command("build", run))
    of_repository = {"repository_sha256": manifest.sha256(repository), **expected}
    return _current(build, run / name, of_repository, errors.command(command, run))


def _parity(run: Path, left_out: Mapping[str, str], of_bundle: Mapping[str, object]) -> tuple[OfflineCheck, ...]:
    """Return the record of every variant that was exported, and those of what was left out."""
    fix = errors.command("export", run)
    tried = [name for name in left_out if _is_of(run / "artifacts" / name / artifact.PARITY, of_bundle)]
    exported = artifact.exported(run) if not tried or (run / "artifacts" / artifact.EXPORTED).is_file() else []
    paths = [run / "artifacts" / name / artifact.PARITY for name in VARIANTS if name in exported or name in tried]
    return tuple(_current(partial(from_json, OfflineCheck), path, of_bundle, fix) for path in paths)


def _is_of(path: Path, expected: Mapping[str, object]) -> bool:
    try:
        return bool(expected.items() <= manifest.read_json(path, "").items())
    except ManifestError:  # then it is said why the variant was left out
        return False


def _current(build: Callable[[Any], _Record], path: Path, expected: Mapping[str, object], fix: str) -> _Record:
    """Read a record that has these values, and `build` it.

    Raises ManifestError if it is missing, has others, or was written by an earlier version.
    """
    _refuse_missing(path, fix)
    record = manifest.read_json(path, fix)
    for name, value in expected.items():
        if (actual := record.get(name)) != value:
            raise _outdated(path, f"{name} {value}", str(actual), fix)
    try:
        return build(record)
    except TypeError as error:
        raise _outdated(path, "every key that this version writes", str(error), fix) from error


def _outdated(path: Path, expected: str, found: str, fix: str) -> ManifestError:
    return ManifestError("a record is of an earlier state", expected=expected, found=found, where=str(path), fix=fix)


def _refuse_missing(path: Path, fix: str) -> None:
    if not path.is_file():
        raise ManifestError("a record is missing", expected=path.name, found="no such file", where=str(path), fix=fix)
