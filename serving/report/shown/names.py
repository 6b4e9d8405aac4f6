"""Names of measured models as people say them: `tf2onnx, padded` for `usual_tf2onnx`."""

from __future__ import annotations

import re
from dataclasses import replace

from serving.benchmark.record import BenchmarkRecord, MeasuredModel, Row
from serving.benchmark.subjects import SAVED_MODEL, TF2ONNX
from serving.report.benchmark_text import row_name
from serving.report.records import RunRecords
from serving.repository import engines
from slipway.contract.records import TEXT_MODEL

_BASELINES = {TF2ONNX: "tf2onnx, padded", SAVED_MODEL: "SavedModel, padded"}


def plain_name(model: MeasuredModel) -> str:
    """Return what a model is called; what is published keeps the name that clients ask for."""
    if model.name == TEXT_MODEL or not model.variant:
        return _BASELINES.get(model.name, model.name)
    if model.kind == "ids":
        return f"{model.variant}, by ids"
    return f"{model.variant}, on the GPU" if model.provider == engines.CUDA else model.variant


def with_plain_names(run: RunRecords) -> RunRecords:
    """Return the records with plain names in the benchmark. Its rows keep their ids, by which they
    are referred to, and its models the names in which a command takes them.
    """
    return run if "benchmark" in run.missing else replace(run, benchmark_or_error=_renamed(run.benchmark))


def _renamed(record: BenchmarkRecord) -> BenchmarkRecord:
    names = {name: plain_name(model) for name, model in record.subjects.items()}
    rows = tuple(replace(row, subject=names[row.subject]) for row in record.rows)
    offers = tuple(replace(offer, subject=names[offer.subject]) for offer in record.choice.rows)
    by_id = {row.id: row for row in rows}
    return replace(
        record,
        subjects={names[name]: model for name, model in record.subjects.items()},
        rows=rows,
        comparisons=tuple(replace(comparison, why=_named(comparison.why, by_id)) for comparison in record.comparisons),
        choice=replace(record.choice, rows=offers),
    )


def _named(why: str, rows: dict[str, Row]) -> str:
    """Return a reason that begins with a row's name, where it began with its id."""
    row_id, words = re.match(r"(\S*)(.*)", why, re.DOTALL).groups()  # type: ignore[union-attr]  # it matches everything
    return row_name(rows[row_id]) + words if row_id in rows else why
