"""A model file to be made: from what, where to, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slipway.contract.bundle import Bundle, Golden
from slipway.contract.variants import VARIANTS, Variant

REPAIRED_FOR = "repaired_for"  # in artifact.json: `Conversion.changed` of a second attempt


@dataclass(frozen=True)
class Conversion:
    """A model file to be made, with its sources and its place."""

    variant: Variant
    source: Bundle
    golden: Golden  # the golden rows of `source`
    artifacts: Path  # the run's artifacts/, with the variants made before
    building: Path  # directory to write into; becomes artifacts/<variant> when it is complete
    # Texts whose answers changed when the gate refused the first attempt; None: this is the first.
    changed: NDArray[np.int64] | None = None

    @property
    def origin(self) -> Path:
        """The model file or directory that it is made from."""
        if self.variant.made_from == "bundle":
            return self.source.saved_model
        return self.artifacts / self.variant.made_from / VARIANTS[self.variant.made_from].model_file

    @property
    def target(self) -> Path:
        return self.building / self.variant.model_file


@dataclass(frozen=True)
class Converted:
    how: str  # for a person
    facts: Mapping[str, object] = field(default_factory=dict)  # what else artifact.json has to record
