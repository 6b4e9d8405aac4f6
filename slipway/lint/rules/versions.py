"""Rules on version directories, on which of them are served, and on links."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from slipway.lint.models import ENSEMBLE, LARGEST, Finding, ModelDirectory, RuleResult, Severity, listed
from slipway.lint.rules.model_files import check_model_file, unread

_LIKE_A_VERSION = re.compile(r"[vV]?[0-9][0-9._]*")


def check_versions(model: ModelDirectory) -> Iterator[RuleResult]:
    yield from _served(model)
    yield from _names(model)
    yield from _links(model)
    if model.backend == ENSEMBLE:  # its version directory is empty by design
        return
    for version in model.versions:
        served = int(version.name) in model.served
        for result in check_model_file(model, version):
            if isinstance(result, Finding) and not served:  # it would fail once it is served
                result = replace(result, severity="warning")
            yield result
    yield from unread(model)


def _served(model: ModelDirectory) -> Iterator[Finding]:
    policy, at = model.config.version_policy, "version_policy"
    if not model.numbers:
        expected = "at least one version directory, for example 1; git keeps an empty one only with a file in it"
        yield model.finding("error", "version-missing", "1", expected, "none")
    elif not model.served and not policy.HasField("specific"):
        yield model.error("version-policy", f"{at}.latest.num_versions", "1 or more", str(policy.latest.num_versions))
    elif policy.HasField("specific"):
        wanted, present = set(policy.specific.versions), set(model.numbers.values())
        if not wanted:
            yield model.error("version-policy", f"{at}.specific.versions", f"versions that are there: {listed(present)}", "none")
        elif missing := wanted - present:
            report = model.warning if wanted & present else model.error
            yield report(
                "version-policy", f"{at}.specific.versions", f"versions that are there: {listed(present)}", listed(missing)
            )


def _names(model: ModelDirectory) -> Iterator[Finding]:
    right = {int(version.name) for version in model.versions}
    for name, number in model.numbers.items():
        severity: Severity = "error" if number in model.served and model.is_known else "warning"
        if abs(number) > LARGEST:
            expected = f"a number up to {LARGEST}: for a larger one Triton ends"
            yield model.finding("error", "version-name", name, expected, name)
        elif number < 0:
            yield model.finding(severity, "version-name", name, "a number that is not negative: Triton waits for ever", name)
        elif number not in right:
            expected = f"{number}: Triton takes this for version {number} and opens {number}/, which is not there"
            yield model.finding(severity, "version-name", name, expected, name)
    for path in sorted(model.directory.iterdir()):
        if path.is_dir() and _LIKE_A_VERSION.fullmatch(path.name) and path.name not in model.numbers:
            expected = "a number that does not begin with 0; Triton ignores others"
            yield model.finding("warning", "version-name", path.name, expected, path.name)


def _links(model: ModelDirectory) -> Iterator[Finding]:
    """Report links to nowhere: Triton asks for the time of all that lies beside config.pbtxt."""
    for folder, directories, files in os.walk(model.directory):
        for name in sorted((*directories, *files)):
            path = Path(folder, name)
            if path.is_symlink() and not path.exists():
                severity: Severity = "error" if path.parent == model.directory else "warning"
                at = str(path.relative_to(model.directory))
                yield model.finding(severity, "link", at, "a link to something that is there", str(path.readlink()))
