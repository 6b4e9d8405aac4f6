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
from benchmarks.gpu.device import PROVIDERS, Device, packages
from benchmarks.gpu.models import Model
from benchmarks.gpu.records import FUSED, PACKED
from benchmarks.gpu.timing import Deadline
from train import errors, manifest, provenance
from train.ragged import Ragged

RECORD = Path(__file__).with_name("engines.json")
_SIZES = ("bert-base", "minilm-l6", "bert-large")
_BUDGET = 420.0  # seconds, after which no shape is begun; with the last one's it stays below 8 minutes
_ROWS = 512  # compared, of random weights
_PROFILED = ((32, 128), (1, 32))  # batch, tokens


def main() -> int:
    arguments = _parse()
    started, deadline = time.monotonic(), Deadline(arguments.seconds)
    device = Device(arguments.provider)
    peak = _peak(device)
    names = [arguments.run.name] if arguments.run else arguments.size or list(_SIZES)
    found, failed = [], {}
    for number, name in enumerate(names):
        share = Deadline(deadline.left() / (len(names) - number))
        try:
            with models.of_run(arguments.run, device) if arguments.run else models.random(name, device, _ROWS) as model:
                found.append(_measure(model, device, arguments, share, float(peak["tflops"])))
        except Exception as error:  # a size that does not fit into memory, say, must not cost what the others have to show
            if len(names) == 1:
                raise
            failed[name] = f"{type(error).__name__}: {error}"
    record = {
        "device": device.facts,
        "matmul_peak": peak,
        "models": found,
        "failed": failed,
        "targets": targets.judged(found),
        "seconds": time.monotonic() - started,
        **provenance.record(*packages()),
    }
    manifest.write_json(arguments.record, record)
    engine_tables.show(record)
    return int(bool(failed) or not all(map(_passed, found)))


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
    taking_part = contenders.variants(model, device, skipped)
    theirs, compared = contenders.peers(model, device, deadline, skipped)
    taking_part += theirs
    news = measure.ag_news(model, taking_part, device, _texts(model, arguments.texts), 128, peak)
    profiles = _profiles(model, device, skipped)
    shapes = tuple(
        (batch, tokens)
        for batch, tokens in measure.SHAPES
        if batch in (arguments.batch or (batch,)) and tokens in (arguments.tokens or (tokens,))
    )
    cells, late = measure.grid(model, taking_part, device, shapes, deadline, peak)
    nodes = next((one["nodes"] for one in profiles if one["batch"] == 1), 0)
    return {
        "model": model.name,
        "rows_compared": len(model.golden.ids),
        "parity": parity,
        "peers": compared,
        "shapes": cells,
        "ag_news": news,
        "profiles": profiles,
        "batch_of_one": measure.batch_of_one(taking_part, device, nodes, cells) if nodes else {},
        "skipped": skipped | late,
    }


def _texts(model: Model, texts: int) -> Ragged:
    """Of a run its golden texts, else random ids of AG News' lengths."""
    if model.golden.texts[0] == models.RANDOM:
        return models.random_rows(model.bert, models.ag_news_lengths(texts), seed=1)
    return model.golden.ids.take(np.arange(min(texts, len(model.golden.ids))))


def _profiles(model: Model, device: Device, skipped: dict[str, str]) -> list[dict[str, Any]]:
    """Where the time goes in the fused and in the packed graph."""
    found = []
    positions = len(model.bert.position_embeddings)
    for name in (FUSED, PACKED):
        for batch, tokens in _PROFILED if name in model.files else ():
            shape = batch, min(tokens, positions)
            try:
                found.append({"variant": name, **profile_ops.run(model.files[name], device.provider, *shape)})
            except errors.ToolError as error:
                skipped[f"profile of {name}, {shape[0]} × {shape[1]}"] = error.found
    return found


if __name__ == "__main__":
    errors.run(main)
