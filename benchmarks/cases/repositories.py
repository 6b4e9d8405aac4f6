"""Lints the cases' model repositories, as the scripts beside them made them.

The good verdicts are Triton's own: each case was loaded into the embedded server, and what it
refuses is an error. What the server loads is none; where it does not do what the file says, a
warning is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cases.answers import Answer
from slipway.errors import ManifestError
from slipway.lint import linter
from slipway.lint.linter import Report
from slipway.lint.models import CONFIG

_NOTHING = "nothing found"
_NO_ERROR = "no error"
_NOT_CHECKED = "not checked: instance_group[0]"
# A model, or a repository of its own → what has to be found in it, and nothing severer.
_VERDICTS = {
    # The server loads both and answers single rows; several are refused, or answered as one.
    "r03-ensembles/ensemble-does-not-batch": "warning: ensemble-batching",
    "r03-ensembles/tokenizer-does-not-batch": "warning: ensemble-batching",
    "r03-ensembles/keys-and-values-swapped": "error: ensemble-mapping",
    "r03-ensembles/mask-forgotten": "error: ensemble-mapping",
    "r03-ensembles/no-version": "error: version-missing",
    "r03-ensembles/output-called-score": "error: ensemble-output",
    "r03-ensembles/reshape-of-the-ensemble-alone": "error: ensemble-dims",
    "r03-ensembles/reshape-of-the-tokenizer-alone": _NOTHING,
    "r03-ensembles/token-classifier": _NOTHING,
    "r05-schedulers/repository/batches_without_batcher": _NO_ERROR,
    "r05-schedulers/repository/cache_and_decoupled": "error: cache",
    "r05-schedulers/repository/cache_and_sequence": "error: cache",
    "r05-schedulers/repository/corrid_of_fp32": "error: sequence-control",
    "r05-schedulers/repository/decoupled_and_batching": "warning: queue-delay",
    "r05-schedulers/repository/default_level_0": "error: priority",
    "r05-schedulers/repository/ordered_delay": "error: ordering",
    "r05-schedulers/repository/ordered_priorities": "error: ordering",
    "r05-schedulers/repository/policy_of_no_level": "error: queue-policy",
    "r05-schedulers/repository/policy_of_no_versions": "error: version-policy",
    "r05-schedulers/repository/policy_without_levels": "warning: queue-policy",
    "r05-schedulers/repository/queue_delay_5_s": "warning: queue-delay",
    "r05-schedulers/repository/scatter_twice": "error: batch-input",
    "r05-schedulers/repository/sequence_right": _NOTHING,
    "r05-schedulers/repository/slot_utilization_2": "error: sequence",
    "r05-schedulers/repository/start_of_two_kinds": "error: sequence-control",
    "r05-schedulers/repository/start_one_value": "error: sequence-control",
    "r05-schedulers/repository/start_without_values": "error: sequence-control",
    # Only since its model.py answers no request does the server refuse it, and that is not run.
    "r05-schedulers/repository/warm_up_of_sequences": "not checked: the answers to warm-up samples",
    "r07-gpu-on-cpu/repository/count_0": _NO_ERROR,  # the same as none: Triton takes its default
    "r07-gpu-on-cpu/repository/cpu_with_gpu": "error: instance-group",
    "r07-gpu-on-cpu/repository/cpu_with_tensorrt": "warning: accelerator",
    "r07-gpu-on-cpu/repository/gpu_7": _NOT_CHECKED,
    "r07-gpu-on-cpu/repository/kind_gpu": _NOT_CHECKED,
    "r07-gpu-on-cpu/repository/negative_count": "warning: instance-count",
    "r07-gpu-on-cpu/repository/negative_gpu": "error: instance-group",
    "r07-gpu-on-cpu/repository/unknown_accelerator": "error: accelerator",
    "r09-large-onnx/repository/cut_short": "error: model-file",
    "r09-large-onnx/repository/directory": _NOTHING,  # the backend opens model.onnx/model.onnx
    "r09-large-onnx/repository/forgotten": "error: model-file",
    "r09-large-onnx/repository/other_extension": "error: model-file",
    "r09-large-onnx/repository/outside": "error: model-file",
    "r09-large-onnx/repository/renamed": "error: model-file",
    "r09-large-onnx/repository/right": _NOTHING,
}


def answers(cases: Path) -> Iterator[Answer]:
    """Lint each repository of a folder; one called `repository` has a model for each case."""
    for folder in sorted(cases.glob("r*/")):
        shared = folder / "repository"
        for repository in [shared] if shared.is_dir() else sorted(path for path in folder.iterdir() if path.is_dir()):
            name = str(repository.relative_to(cases))
            try:
                report = _linted(repository)
            except ManifestError as error:
                yield Answer(name, error.exit_code, f"error: {error}")
                continue
            if repository == shared:
                yield from (_answer(f"{name}/{model}", report, model) for model in report.models)
            else:
                yield _answer(name, report)


def _linted(repository: Path) -> Report:
    """Lint a copy that has its ensembles' versions, which are empty directories: git keeps none."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(repository, Path(scratch) / repository.name, symlinks=True))
        for config in copy.glob(f"*/{CONFIG}") if repository.name != "no-version" else ():
            if b"ensemble_scheduling" in config.read_bytes():
                (config.parent / "1").mkdir(exist_ok=True)
        return linter.check(copy)


def _answer(case: str, report: Report, model: str = "") -> Answer:
    """Judge the findings on a model of the report, or on all models; the expected one is shown."""
    own = [finding for finding in report.findings if model in ("", finding.model)]
    findings = sorted(f"{finding.severity}: {finding.rule}: {finding.found}" for finding in own)
    unchecked = [part for part in report.unchecked if model in ("", part.model)]
    lines = [*(findings or [_NOTHING]), *(f"not checked: {part.what}: {part.why}" for part in unchecked)]
    worst = lines[0].partition(":")[0]
    expected = _VERDICTS.get(case)
    shown = next((line for line in lines if expected and f"{line}:".startswith(f"{expected}:")), "")
    good = None
    if expected == _NO_ERROR:
        good = worst != "error"
    elif expected is not None:
        severity = expected.partition(":")[0]
        good = bool(shown) and worst == (severity if severity in ("error", "warning") else _NOTHING)
    return Answer(case, ManifestError.exit_code if worst == "error" else 0, shown or lines[0], good)
