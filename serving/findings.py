"""What serving.check_repository says: findings, each with what was expected, found, and where; and what was not checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """`error`: Triton refuses the model, stalls, or answers wrongly. `warning`: it loads, but does not do what the file says."""

    severity: Literal["error", "warning"]
    model: str  # its directory's name; "" for the repository itself
    where: str  # file:field, relative to the repository; of a file that cannot be parsed file:line
    rule: str
    expected: str
    found: str

    def __str__(self) -> str:
        about = f"{self.model}: {self.rule}" if self.model else self.rule
        return f"{self.severity}: {about}\n  expected  {self.expected}\n  found     {self.found}\n  where     {self.where}"


@dataclass(frozen=True)
class Unchecked:
    """Something that could be wrong and was not looked at."""

    model: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"not checked: {self.model}: {self.what}: {self.why}"


Found = Finding | Unchecked
