"""The graphs this project writes on an NVIDIA GPU: are their answers FP32's, and how far are they from the chip's limit?

Needs benchmarks/gpu/requirements.txt and nothing else; writes benchmarks/gpu/engines.json, within 8 minutes:

    python -m benchmarks.gpu.engines                         BERTs of well-known sizes with random weights, random ids
    python -m benchmarks.gpu.engines --run runs/agnews       trained weights and golden texts: bundle/ and artifacts/ suffice
    python -m benchmarks.gpu.engines --provider cpu --size tiny --record /tmp/engines.json      every line but the kernels

What could not be measured is in the record under "skipped" with its reason, and printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import random_bert
from benchmarks.gpu import contenders, engine_tables, measure, models, profile_ops, targets
from benchmarks.gpu.device import PROVIDERS, Device
from benchmarks.gpu.models import Model
from benchmarks.gpu.records import FUSED, LATE, PACKED, PADDED
from benchmarks.gpu.timing import Deadline
from train import errors, manifest
from train.ragged import Ragged

RECORD = Path(__file__).with_name("engines.json")
_SIZES = ("bert-base", "minilm-l6", "bert-large")
_BUDGET = 420.0  # seconds, after which no shape is begun; with the last one's it stays below 8 minutes
_WRITING = 60.0  # seconds that have to be left for a further size: BERT-large is written and compared before any time is looked at
_PROFILED = ((32, 128), (1, 32))  # batch, tokens
_PROFILING = 120.0  # seconds, at most, for all profiles of a model


def main() -> int:
    arguments = _parse()
    started, deadline = time.monotonic(), Deadline(arguments.seconds)
    device = Device(arguments.provider)
    peak = _peak(device)
    names = [arguments.run.name] if arguments.run else arguments.size or list(_SIZES)
    record: dict[str, Any] = {"device": device.facts, "matmul_peak": peak, **device.signature()}
    record |= {"models": [], "failed": dict.fromkeys(names, "not finished")}
    for number, name in enumerate(names):
        share = Deadline(deadline.left() / (len(names) - number))
        try:
            if number and share.left() < _WRITING:
                raise TimeoutError(LATE)
            with models.of_run(arguments.run, device) if arguments.run else models.random(name, device, models.ROWS) as model:
                record["models"].append(_measure(model, device, arguments, share, float(peak["tflops"])))
            record["failed"].pop(name, None)
        except Exception as error:  # a size that does not fit into memory, say, must not cost what the others have to show
            if len(names) == 1:
                raise
            record["failed"][name] = contenders.why(error)
        # After every model: what was measured outlives whatever ends the command.
        record |= {"targets": targets.judged(record["models"]), "seconds": time.monotonic() - started}
        manifest.write_json(arguments.record, record)
        print(f"{name}: {record['failed'].get(name, 'measured')}, {record['seconds']:.0f} s", flush=True)
    engine_tables.show(record)
    return int(bool(record["failed"]) or not all(map(_passed, record["models"])))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--provider", choices=PROVIDERS, default="cuda")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--size", choices=random_bert.SIZES, action="append", help=f"may be repeated; default: {', '.join(_SIZES)}")
    what.add_argument("--run", type=Path, help="a run's directory with bundle/ and artifacts/onnx_fp32/")
    parser.add_argument("--record", type=Path, default=RECORD, help="where the JSON goes")
    parser.add_argument("--seconds", type=float, default=_BUDGET, help="after which nothing new is begun")
    parser.add_argument("--batch", type=int, action="append", help="of full rows; may be repeated; default: 1 to 256")
    parser.add_argument("--tokens", type=int, action="append", help="of full rows; may be repeated; default: 32 to 256")
    parser.add_argument("--texts", type=int, default=1024, help="of AG News' lengths, in batches of 128")
    arguments = parser.parse_args()
    if arguments.provider == "cpu" and arguments.record == RECORD:
        parser.error("--provider cpu is a trial: give it another file with --record")
    return arguments


def _passed(model: dict[str, Any]) -> bool:
    """The gate passed every variant, and none answered otherwise where it was measured."""
    cells = (*model["shapes"], *model["ag_news"].values())
    reasons = [why for cell in cells for why in cell["left_out"].values()]
    return all(one["passed"] for one in model["parity"]) and not any(why.startswith(measure.OTHERWISE) for why in reasons)


def _peak(device: Device) -> dict[str, Any]:
    """The higher of what ONNX Runtime and PyTorch reach."""
    peak = device.matmul_peak()
    if device.kind == "cuda" and importlib.util.find_spec("torch"):
        from benchmarks.gpu.torch_peer import matmul_tflops

        reached = matmul_tflops(peak["size"])
        peak |= {"tflops_pytorch": reached}
        if reached > peak["tflops"]:
            peak |= {"tflops": reached, "by": "PyTorch"}
    return peak


def _measure(model: Model, device: Device, arguments: argparse.Namespace, deadline: Deadline, peak: float) -> dict[str, Any]:
    """Answers first; then AG News' lengths, which the targets are about, and profiles; then shapes, while time is left."""
    skipped = dict(model.skipped)
    parity = models.parity(model)
    variants = contenders.variants(model, device, skipped)
    captured, replayed = contenders.captured(model, device, skipped)
    peers, compared = contenders.peers(model, device, deadline, skipped)
    taking_part = [*variants, *captured, *peers]
    news, late = measure.ag_news(model, taking_part, device, _texts(model, arguments.texts), 128, deadline, peak)
    profiles = _profiles(model, device, deadline, skipped)
    shapes = tuple(
        (batch, tokens)
        for batch, tokens in measure.SHAPES
        if batch in (arguments.batch or (batch,)) and tokens in (arguments.tokens or (tokens,))
    )
    cells, too_late = measure.grid(model, taking_part, device, shapes, deadline, peak)
    nodes = next((one["nodes"] for one in profiles if (one["variant"], one["batch"]) == (FUSED, 1)), 0)
    return {
        "model": model.name,
        "rows_compared": len(model.golden.ids),
        "parity": [*parity, *replayed],
        "peers": compared,
        "shapes": cells,
        "ag_news": news,
        "profiles": profiles,
        "batch_of_one": measure.batch_of_one(taking_part, device, nodes, cells),
        "skipped": skipped | late | too_late,
    }


def _texts(model: Model, texts: int) -> Ragged:
    """Of a run its golden texts, else random ids of AG News' lengths."""
    if model.golden.texts[0] == models.RANDOM:
        return models.random_rows(model.bert, models.ag_news_lengths(texts), seed=1)
    return model.golden.ids.take(np.arange(min(texts, len(model.golden.ids))))


def _profiles(model: Model, device: Device, deadline: Deadline, skipped: dict[str, str]) -> list[dict[str, Any]]:
    """Where the time goes in our FP16 graphs."""
    files = {name: model.files[name] for name in (*PADDED, PACKED) if name in model.files}
    positions = len(model.bert.position_embeddings)
    shapes = [(batch, min(tokens, positions)) for batch, tokens in _PROFILED]
    if deadline.left() < 0:
        skipped["profiles"] = LATE
        return []
    try:
        found = profile_ops.run(files, device.provider, shapes, min(_PROFILING, deadline.left()))
    except errors.ToolError as error:
        skipped["profiles"] = error.found
        return []
    for one in found:
        if "failed" in one:
            skipped[f"profile of {one['variant']}, {one['batch']} × {one['tokens']}"] = one["failed"]
    return [one for one in found if "failed" not in one]


if __name__ == "__main__":
    errors.run(main)
