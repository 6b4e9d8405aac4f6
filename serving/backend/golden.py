"""Golden rows that a version answers before it is ready. Copied into every served model version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def answer(engine: Any, rows: Sequence[dict[str, list[int]]]) -> None:
    """Run them one by one, ids and types each, so that no client waits for the engine's first runs.

    Raises RuntimeError, on which Triton refuses the version, for a row whose logits are not finite; and what the engine raises.
    """
    for row in rows:
        [logits] = engine.run([np.array(row["ids"], np.int32)], [np.array(row["types"], np.int32)]).logits
        if not np.isfinite(logits).all():
            raise RuntimeError(f"the logits of a golden row of {len(row['ids'])} tokens are not finite")
