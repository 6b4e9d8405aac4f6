"""Closed-loop repair: the fewest nodes to keep in FP32 so that an FP16 graph passes the gate.

Parity is the judge, not a tolerance per layer. `smallest_set` narrows the nodes down by delta
debugging (Zeller and Hildebrandt 2002): halves, then quarters, …, until no part of what is kept can
be given up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def smallest_set(nodes: Sequence[str], passes: Callable[[frozenset[str]], bool]) -> frozenset[str] | None:
    """Return a subset of `nodes` that passes and needs every tried part; None when even all fail.

    Calls `passes` about 2 log₂(len(nodes)) times for each node that has to stay.
    """
    if passes(frozenset()):
        return frozenset()
    kept = list(nodes)
    if not passes(frozenset(kept)):
        return None
    parts = 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        chunks = [kept[start : start + size] for start in range(0, len(kept), size)]
        smaller = _smaller(kept, chunks, passes)
        if smaller is not None:
            kept, parts = smaller, 2 if len(smaller) <= size else max(2, parts - 1)
        elif parts >= len(kept):
            break
        else:
            parts = min(len(kept), 2 * parts)
    return frozenset(kept)


def _smaller(kept: list[str], chunks: list[list[str]], passes: Callable[[frozenset[str]], bool]) -> list[str] | None:
    """Return the first chunk that passes alone, or else the first rest without a chunk."""
    for chunk in chunks:
        if len(chunk) < len(kept) and passes(frozenset(chunk)):
            return chunk
    for chunk in chunks:
        rest = [name for name in kept if name not in set(chunk)]
        if rest and passes(frozenset(rest)):
            return rest
    return None
