"""The parity gate: an artifact's answers on every golden row, measured, judged, and written down as parity.json."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np

from export import artifact, comparison, cost_model, precision, runner
from export.artifact import Artifact
from train import bundle, manifest, provenance
from train.bundle import Bundle, Golden
from train.ragged import pad

_BATCH = 32
_INVARIANCE_ROWS = 64


def check(candidate: Artifact, reference: Bundle) -> dict[str, Any]:
    """Measure, judge, write parity.json, and return what it holds."""
    golden = bundle.load_golden(reference)
    with runner.open_session(candidate.model, providers=candidate.variant.providers) as session:
        started = time.monotonic()
        logits = session.infer_rows(golden.ids, _BATCH)
        seconds = time.monotonic() - started
        measured = comparison.compare(golden.logits, logits, golden.labels, golden.ids.lengths, reference.labels)
        measured["invariance"] = _invariance(session, golden)
        provider = session.provider
        cost = cost_model.fit(session.infer, reference.max_seq_len)
    measured["precision"] = precision.proof(candidate.model)
    failures = comparison.judge_artifact(measured, candidate.variant)
    record = {
        "variant": candidate.variant.name,
        "artifact_sha256": candidate.sha256,
        "bundle_sha256": reference.sha256,
        "passed": not failures,
        "failures": failures,
        "limits": asdict(candidate.variant.limits),
        "texts_per_second": len(golden.texts) / seconds,
        "cost": cost,
        "compared_on": provider,
        **measured,
        **provenance.record("onnxruntime", "numpy", "scipy"),
    }
    manifest.write_json(candidate.directory / artifact.PARITY, record)
    return record


def _invariance(session: runner.Session, golden: Golden) -> dict[str, Any]:
    """Rows of every length, each alone, in batches of unequal neighbours, and padded to the longest of all."""
    by_length = np.argsort(golden.ids.lengths, kind="stable")
    chosen = by_length[np.linspace(0, len(by_length) - 1, min(_INVARIANCE_ROWS, len(by_length))).astype(int)]
    rows = [golden.ids[i] for i in chosen]
    longest = int(golden.ids.lengths.max())
    alone = np.concatenate([session.infer(pad([row])) for row in rows])
    mixed = np.random.default_rng(0).permutation(len(rows))
    batched = np.concatenate([session.infer(pad([rows[i] for i in part])) for part in np.array_split(mixed, 4)])
    return comparison.invariance(
        alone,
        {
            "in a batch": batched[np.argsort(mixed)],
            "padded": np.concatenate([session.infer(pad([row], longest)) for row in rows]),
        },
    )
