"""Paths of the machine that made a run, as a page shows them that others read: their ends alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving.benchmark.record import BenchmarkRecord
from serving.report.records import BundleRecord, RunRecords

_PARTS = 2
# Within a sentence: in quotes also with spaces, and without a bracket or full stop behind it.
_QUOTED = re.compile(r"""(?<=['"`])(?:file://)?~?/[^'"`\n/]+/[^'"`\n]+(?=['"`])""")
_ABSOLUTE = re.compile(r"""(?<![\w.:/>)])(?:file://)?~?/[^\s/"'`,;:<>]+/[^\s"'`,;:<>]*[^\s"'`,;:<>().]""")
# Keys of records whose values a person or a model wrote: as they are, whatever they look like
_CONTENT = {"text", "texts", "text_b", "first_row", "of_two_labels", "neighbour", "label", "labels", "words", "tags"}


def short_place(place: str) -> str:
    """Return a path from the working directory if it is below, else its last parts; anything else
    as it is.
    """
    if not place.startswith(("/", "~", "../", "file://")):
        return place
    path = Path(place.removeprefix("file://"))
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    parts = [part for part in path.parts if part not in ("/", "..", "~")]
    own = parts[2:] if parts[:1] in (["home"], ["Users"]) else parts  # without the user's name
    return "/".join(own[-_PARTS:]) or ("~" if parts else place)


def without_paths(text: str) -> str:
    """Return a sentence whose absolute paths are short."""
    for pattern in (_QUOTED, _ABSOLUTE):
        text = pattern.sub(lambda found: short_place(found.group()), text)
    return text


def record_without_paths(text: str) -> str:
    """Return a record's JSON whose absolute paths are short, but for what stands in texts and
    labels. One without any is returned as it is, byte by byte.
    """
    record = json.loads(text)
    shown = _short(record)
    return text if shown == record else json.dumps(shown, ensure_ascii=False, indent=2) + "\n"


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: part if key in _CONTENT else _short(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_short(part) for part in value]
    if not isinstance(value, str):
        return value
    is_place = value.startswith(("/", "~/", "file://")) and ": " not in value
    return short_place(value) if is_place else without_paths(value)


def without_machine_paths(run: RunRecords) -> RunRecords:
    """Return the records with short paths. `run` itself stays: commands still to run need it."""
    return replace(
        run,
        bundle=_bundle(run.bundle),
        benchmark_or_error=run.benchmark_or_error if "benchmark" in run.missing else _benchmark(run.benchmark),
        left_out={variant: without_paths(why) for variant, why in run.left_out.items()},
        skipped={name: {key: without_paths(text) for key, text in facts.items()} for name, facts in run.skipped.items()},
    )


def _benchmark(record: BenchmarkRecord) -> BenchmarkRecord:
    rows = tuple(replace(row, command=without_paths(row.command)) for row in record.rows)
    return replace(record, rows=rows, command=without_paths(record.command))


def _bundle(source: BundleRecord) -> BundleRecord:
    encoder, card = source.encoder, source.data_card
    settings = {name: short_place(value) if isinstance(value, str) else value for name, value in source.hyper_parameters.items()}
    return replace(
        source,
        corpus=replace(source.corpus, where=short_place(source.corpus.where)),
        encoder=replace(encoder, handle=short_place(encoder.handle), made_from=short_place(encoder.made_from)),
        hyper_parameters=settings,
        data_card=card and replace(card, notes=[without_paths(note) for note in card.notes]),
        unlabelled=source.unlabelled and replace(source.unlabelled, where=short_place(source.unlabelled.where)),
    )
