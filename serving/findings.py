"""Findings of the linter, each with expected, found and where; and what it did not check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a repository.

    `error`: Triton refuses the model, stalls, or answers wrongly. `warning`: Triton loads the
    model, which then does not do what its file says.
    """

    severity: Severity
    model: str  # its directory's name; "" for the repository itself
    where: str  # file:field, relative to the repository; file:line, if it cannot be parsed
    rule: str
    expected: str
    found: str

    def __str__(self) -> str:
        about = f"{self.model}: {self.rule}" if self.model else self.rule
        return f"{self.severity}: {about}\n  expected  {self.expected}\n  found     {self.found}\n  where     {self.where}"


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Something that could be wrong and was not looked at."""

    model: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"not checked: {self.model}: {self.what}: {self.why}"


RuleResult = Finding | Unchecked
