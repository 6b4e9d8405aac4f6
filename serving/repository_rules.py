"""All rules on all models of a repository: those of one model are in its files, those between models here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving import batching_rules, config_rules, ensemble_rules, repository_models, version_rules, warmup_rules
from serving.findings import Finding, Found, Unchecked
from serving.repository_models import CONFIG, Model
from train.errors import ManifestError


@dataclass(frozen=True)
class Report:
    directory: Path
    models: tuple[str, ...]
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]

    def count(self, severity: str) -> int:
        return sum(one.severity == severity for one in self.findings)

    def record(self) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "models": list(self.models),
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "findings": [asdict(one) for one in self.findings],
            "not_checked": [asdict(one) for one in self.unchecked],
        }


def check(repository: Path) -> Report:
    """Every rule on every model of `repository`. Raises ManifestError when it is no repository."""
    models = repository_models.read(repository)
    found = [*_of_the_repository(repository, models), *(one for model in models.values() for one in _of(model, models))]
    return Report(
        repository,
        tuple(models),
        tuple(one for one in found if isinstance(one, Finding)),
        tuple(dict.fromkeys(one for one in found if isinstance(one, Unchecked))),
    )


def refuse_errors(repository: Path, fix: str) -> None:
    """Raises ManifestError for the first thing that a server would stumble over. `fix` is what to do about it."""
    for one in check(repository).findings:
        if one.severity == "error":
            raise ManifestError(
                f"the repository that was built is not sound: {one.model}: {one.rule}",
                expected=one.expected,
                found=one.found,
                where=one.where,
                fix=fix,
            )


def _of_the_repository(repository: Path, models: dict[str, Model]) -> Iterator[Finding]:
    if not models:
        yield Finding("error", "", ".", "repository-empty", "at least one model's directory", "none")
    for path in sorted(repository.iterdir()):
        if path.is_dir() and path.name.startswith("."):
            expected = "models only: Triton takes every directory here for one, and complains at every poll"
            yield Finding("warning", "", path.name, "hidden-directory", expected, path.name)
    owners: dict[str, list[str]] = {}
    for model in models.values():
        owners.setdefault(model.config.name or model.name, []).append(model.name)
    for name, directories in owners.items():
        if len(directories) > 1:
            found = f"{name}: {', '.join(directories)}"
            yield models[directories[-1]].error("name-twice", "name", "one model of each name", found)
    yield from ensemble_rules.cycles(models)


def _of(model: Model, models: dict[str, Model]) -> Iterator[Found]:
    if model.parse_error:
        yield model.parse_error
        yield model.unchecked("everything else", f"{CONFIG} cannot be read")
        return
    if not model.has_config:
        yield from _without_config(model)
    else:
        yield from config_rules.check(model)
        yield from batching_rules.check(model)
        yield from warmup_rules.check(model)
        yield from ensemble_rules.check(model, models)
    yield from version_rules.check(model)


def _without_config(model: Model) -> Iterator[Finding]:
    if model.backend:
        expected = f"a {CONFIG}; without one the backend {model.backend} guesses inputs, outputs and max_batch_size"
        yield model.finding("warning", "config-missing", CONFIG, expected, "no such file")
    else:
        expected = f"a {CONFIG}, or a model file of a default name in a version directory"
        yield model.finding("error", "config-missing", CONFIG, expected, "neither")
