"""What the GPU work was to reach (issue 7), judged on what was measured; None where it was not."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.records import CAPTURED, COMPILED, FUSED, ORDERS, PACKED, PEER

SHARE_OF_PEAK = 0.6  # BERT-base, 128 tokens, FP16; NVIDIA's best padded figure on an A100
OVER_PADDED = 1.5  # on AG News' lengths as they come
OVER_FLOOR = 2.0  # MiniLM-L6, a batch of one


def judged(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_name = {model["model"]: model for model in models}
    base, small = by_name.get("bert-base"), by_name.get("minilm-l6")
    first = models[0]["ag_news"].get(ORDERS[1]) if models else None
    return [
        _target(f"BERT-base, 128 tokens, FP16: ≥ {SHARE_OF_PEAK:.0%} of the matmul peak", _share(base), SHARE_OF_PEAK, least=True),
        _target(
            f"unpadded ≥ {OVER_PADDED} × padded to the batch's longest, AG News", _speedup(first, FUSED), OVER_PADDED, least=True
        ),
        _target("unpadded ahead of PyTorch, AG News", _over_peers(first), 1.0, least=True),
        _target(f"MiniLM-L6, a batch of one: ≤ {OVER_FLOOR:.0f} × its launches", _over_floor(small), OVER_FLOOR, least=False),
    ]


def _target(what: str, found: float | None, limit: float, *, least: bool) -> dict[str, Any]:
    reached = None if found is None else found >= limit if least else found <= limit
    return {"what": what, "found": found, "reached": reached}


def _share(model: dict[str, Any] | None) -> float | None:
    """The best of our FP16 graphs, of the batches of 128 tokens."""
    shares = [
        row["share_of_peak"]
        for cell in (model or {"shapes": []})["shapes"]
        if cell["tokens"] == 128
        for name, row in cell["contenders"].items()
        if name in (FUSED, CAPTURED, PACKED)
    ]
    return max(shares, default=None)


def _speedup(news: dict[str, Any] | None, over: str) -> float | None:
    rows = (news or {"contenders": {}})["contenders"]
    if PACKED not in rows or over not in rows:
        return None
    return float(rows[PACKED]["sequences_per_second"] / rows[over]["sequences_per_second"])


def _over_peers(news: dict[str, Any] | None) -> float | None:
    """Over the faster one."""
    return min((found for peer in (PEER, COMPILED) if (found := _speedup(news, peer)) is not None), default=None)


def _over_floor(model: dict[str, Any] | None) -> float | None:
    rows = (model or {}).get("batch_of_one", {}).get("contenders", {})
    found = rows.get(CAPTURED) or rows.get(FUSED)
    return float(found["over_floor"]) if found else None
