"""The linter of Triton repositories: all rules on all models.

The rules on one model are in files of their own; those between models are here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slipway.errors import ManifestError
from slipway.lint.models import CONFIG, Finding, ModelDirectory, RuleResult, Severity, Unchecked, read_models
from slipway.lint.rules.batching import check_batching
from slipway.lint.rules.ensembles import check_ensemble, find_cycles
from slipway.lint.rules.instances import check_instances
from slipway.lint.rules.labels import check_labels
from slipway.lint.rules.python_models import check_python
from slipway.lint.rules.sequences import check_sequences
from slipway.lint.rules.tensors import check_config
from slipway.lint.rules.versions import check_versions
from slipway.lint.rules.warmups import check_warmup

_GUESSING = ("onnxruntime", "openvino", "python", "tensorflow", "tensorrt")  # without a config.pbtxt


@dataclass(frozen=True)
class Report:
    """The findings in a repository, and what was not checked."""

    directory: Path
    models: tuple[str, ...]
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "models": list(self.models),
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "findings": [asdict(finding) for finding in self.findings],
            "not_checked": [asdict(unchecked) for unchecked in self.unchecked],
        }


def lint(directory: str | Path) -> list[Finding]:
    """Return what is wrong in the Triton model repository `directory`; empty where nothing is.

    Reads files alone: no server, no GPU, no model is run. Findings stand in the order of models;
    `check` also tells what was not looked at. Raises ManifestError, a SlipwayError, when
    `directory` is no model repository.
    """
    return list(check(Path(directory)).findings)


def check(repository: Path) -> Report:
    """Apply every rule to every model. Raise ManifestError when `repository` is none."""
    models = read_models(repository)
    results = [*_check_repository(repository, models)]
    for model in models.values():
        results.extend(_check_model(model, models))
    return Report(
        repository,
        tuple(models),
        tuple(result for result in results if isinstance(result, Finding)),
        tuple(dict.fromkeys(result for result in results if isinstance(result, Unchecked))),
    )


def refuse_errors(repository: Path, fix: str) -> None:
    """Raise ManifestError for the first error in a repository; `fix` goes into it."""
    for finding in lint(repository):
        if finding.severity == "error":
            raise ManifestError(
                f"the repository is not sound: {finding.model}: {finding.rule}",
                expected=finding.expected,
                found=finding.found,
                where=finding.where,
                fix=fix,
            )


def _check_repository(repository: Path, models: dict[str, ModelDirectory]) -> Iterator[RuleResult]:
    if not models:
        yield Finding("error", "", ".", "repository-empty", "at least one model's directory", "none")
    for path in sorted(repository.iterdir()):
        if path.is_symlink() and not path.exists():
            expected = "a link to something that is there: with it Triton loads no model of this directory"
            yield Finding("error", "", path.name, "link", expected, str(path.readlink()))
        if path.is_dir() and path.name.startswith("."):
            expected = "models only: Triton takes this for one, too, and ends at its start unless --exit-on-error=false"
            yield Finding("error", "", path.name, "hidden-directory", expected, path.name)
    owners: dict[str, list[str]] = {}
    for model in models.values():
        owners.setdefault(model.config.name or model.name, []).append(model.name)
    for name, directories in owners.items():
        if len(directories) > 1:
            owner = models[directories[-1]]
            yield owner.error("name-twice", "name", "one model of each name", f"{name}: {', '.join(directories)}")
    yield from find_cycles(models)


def _check_model(model: ModelDirectory, models: dict[str, ModelDirectory]) -> Iterator[RuleResult]:
    try:
        yield from _rules(model, models)
    except OSError as error:  # above all for want of permission
        yield model.finding("error", "unreadable", ".", "files and directories that can be read", str(error))


def _rules(model: ModelDirectory, models: dict[str, ModelDirectory]) -> Iterator[RuleResult]:
    if model.parse_error:
        yield model.parse_error
    if model.parse_error and model.parse_error.severity == "error":
        yield model.unchecked("everything else", f"{CONFIG} cannot be read")
        return
    if not model.has_config:
        yield from _without_config(model)
    else:
        yield from check_config(model)
        yield from check_labels(model)
        yield from check_batching(model)
        yield from check_sequences(model)
        yield from check_instances(model)
        yield from check_python(model)
        yield from check_warmup(model)
        yield from check_ensemble(model, models)
    yield from check_versions(model)


def _without_config(model: ModelDirectory) -> Iterator[Finding]:
    if model.backend in _GUESSING:
        expected = f"a {CONFIG}; without one the backend {model.backend} guesses inputs, outputs and max_batch_size"
        yield model.finding("warning", "config-missing", CONFIG, expected, "no such file")
    else:
        backends = ", ".join(_GUESSING)
        expected = f"a {CONFIG}, or the model file of a backend that does without one ({backends}) in a version directory"
        yield model.finding("error", "config-missing", CONFIG, expected, "neither")
