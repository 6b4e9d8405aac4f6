"""What the GPU work was to reach (issue 7), judged on what was measured; None where it was not."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.records import AS_THEY_COME, CAPTURED, COMPILED, PACKED, PADDED, PEER

SHARE_OF_PEAK = 0.6  # BERT-base, 128 tokens, FP16; NVIDIA's best padded figure on an A100
OVER_PADDED = 1.5  # on AG News' lengths as they come
OVER_FLOOR = 2.0  # MiniLM-L6, a batch of one


def judged(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One a target. Only what passed the comparison counts, and is compared with."""
    by_name = {model["model"]: model for model in models}
    base, small = by_name.get("bert-base"), by_name.get("minilm-l6")
    news = _counting(models[0], models[0]["ag_news"].get(AS_THEY_COME, {})) if models else {}
    return [
        _target(f"BERT-base, 128 tokens, FP16: ≥ {SHARE_OF_PEAK:.0%} of the matmul peak", _share(base), SHARE_OF_PEAK, least=True),
        _target(f"unpadded ≥ {OVER_PADDED} × padded to the batch's longest, AG News", _over(news, PADDED), OVER_PADDED, least=True),
        _target("unpadded ahead of PyTorch, AG News", _over(news, (PEER, COMPILED)), 1.0, least=True),
        _target(f"MiniLM-L6, a batch of one: ≤ {OVER_FLOOR:.0f} × its launches", _over_floor(small), OVER_FLOOR, least=False),
    ]


def _target(what: str, found: float | None, limit: float, *, least: bool) -> dict[str, Any]:
    reached = None if found is None else found >= limit if least else found <= limit
    return {"what": what, "found": found, "reached": reached}


def said(target: dict[str, Any]) -> str:
    if target["found"] is None:
        return f"{target['what']}: not measured"
    return f"{target['what']}: {target['found']:.2f}, {'reached' if target['reached'] else 'not reached'}"


def _counting(model: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """The cell's contenders that passed the comparison with FP32."""
    passed = {one["variant"] for one in (*model["parity"], *model["peers"]) if one["passed"]}
    return {name: row for name, row in cell.get("contenders", {}).items() if name in passed}


def _share(model: dict[str, Any] | None) -> float | None:
    """The best of our FP16 graphs, of the batches of 128 tokens."""
    shares = [
        row["share_of_peak"]
        for cell in (model["shapes"] if model else ())
        if cell["tokens"] == 128
        for name, row in _counting(model or {}, cell).items()
        if name in (*PADDED, *CAPTURED, PACKED)
    ]
    return max(shares, default=None)


def _over(news: dict[str, Any], others: tuple[str, ...]) -> float | None:
    """How many times as fast as the fastest of the others the unpadded graph is."""
    rates = [float(news[name]["sequences_per_second"]) for name in others if name in news]
    return float(news[PACKED]["sequences_per_second"]) / max(rates) if rates and PACKED in news else None


def _over_floor(model: dict[str, Any] | None) -> float | None:
    """Of the best CUDA graph; of the padded graphs launched node by node, where there is none."""
    rows = _counting(model, model["batch_of_one"]) if model else {}
    found = [row["over_floor"] for name, row in rows.items() if name in CAPTURED]
    return min(found or [row["over_floor"] for row in rows.values()], default=None)
