"""What Slipway answers to a case, and whether that is a good answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What Slipway answers to a case."""

    case: str
    status: int | str  # of the process, or the one that it would end with; "": nothing was asked
    text: str  # all of it
    good: bool | None = None  # None: a person has to judge

    @property
    def line(self) -> str:
        """The line that says most: of an error its first, else the last."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "")
