"""This project's graphs on an NVIDIA GPU: are their answers FP32's, and how near is the limit?

Needs requirements/gpu.txt and nothing else; writes benchmarks/records/gpu_engines.json,
within 8 minutes. It measures BERTs of well-known sizes with random weights and ids, or with --run a
run's trained weights on its golden texts. On a CPU it runs every line but the kernels:

    python -m benchmarks.gpu.engines
    python -m benchmarks.gpu.engines --run runs/agnews
    python -m benchmarks.gpu.engines --provider cpu --size tiny --record /tmp/engines.json

The record names what could not be measured under "skipped", with the reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.gpu import contenders, measure, models, profile, tables
from benchmarks.gpu.device import Deadline, Device, MatmulPeak, parsed_for_device
from benchmarks.gpu.models import FUSED, LATE, PACKED, PADDED, GpuModel
from benchmarks.gpu.profile import GraphProfile
from benchmarks.gpu.tables import EnginesRecord, ModelRecord
from benchmarks.models import SIZES
from slipway import errors
from slipway.contract.ragged import Ragged

_SIZES = ("bert-base", "minilm-l6", "bert-large")
_BUDGET = 420.0  # seconds, after which no shape is begun; with the last one's it stays below 8 minutes
_WRITING = 60.0  # seconds that have to be left for a further size, to write BERT-large and compare it
_PROFILED = ((32, 128), (1, 32))  # batch, tokens
_PROFILING = 120.0  # seconds, at most, for all profiles of a model


def main() -> int:
    arguments = _parse()
    started, deadline = time.monotonic(), Deadline(arguments.seconds)
    device = Device(arguments.provider)
    peak = _peak(device)
    names = [arguments.run.name] if arguments.run else arguments.size or list(_SIZES)
    measured: list[ModelRecord] = []
    failed = dict.fromkeys(names, "not finished")
    for number, name in enumerate(names):
        share = Deadline(deadline.left() / (len(names) - number))
        try:
            if number and share.left() < _WRITING:
                raise TimeoutError(LATE)
            with models.of_run(arguments.run, device) if arguments.run else models.random(name, device, models.ROWS) as model:
                measured.append(_measure(model, device, arguments, share, peak.tflops))
            del failed[name]
        except Exception as error:  # a size that does not fit into memory, say, must not cost the others' results
            if len(names) == 1:
                raise
            failed[name] = contenders.why(error)
        # After every model: what was measured outlives whatever ends the command.
        record = EnginesRecord(
            device=device.facts,
            matmul_peak=peak,
            models=measured,
            failed=failed,
            targets=tables.judged(measured),
            seconds=time.monotonic() - started,
            **device.signature(),
        )
        harness.write(arguments.record, record)
        print(f"{name}: {failed.get(name, 'measured')}, {record.seconds:.0f} s", flush=True)
    tables.show(record)
    return int(bool(failed) or not all(map(_passed, measured)))


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "gpu_engines.json")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--size", choices=SIZES, action="append", help=f"may be repeated; default: {', '.join(_SIZES)}")
    what.add_argument("--run", type=Path, help="a run's directory with bundle/ and artifacts/onnx_fp32/")
    parser.add_argument("--seconds", type=float, default=_BUDGET, help="time after which nothing new is begun")
    parser.add_argument("--batch", type=int, action="append", help="of full rows; may be repeated; default: 1 to 256")
    parser.add_argument("--tokens", type=int, action="append", help="of full rows; may be repeated; default: 32 to 256")
    parser.add_argument("--texts", type=int, default=1024, help="of AG News' lengths, in batches of 128")
    return parsed_for_device(parser)


def _passed(model: ModelRecord) -> bool:
    """Return whether every variant passed the gate, and answered the same where it was measured."""
    reasons = [why for cell in model.cells for why in cell.left_out.values()]
    return all(verdict.passed for verdict in model.parity) and not any(why.startswith(measure.OTHERWISE) for why in reasons)


def _peak(device: Device) -> MatmulPeak:
    """Return the higher of the peaks that ONNX Runtime and PyTorch reach."""
    peak = device.matmul_peak()
    if device.kind == "cuda" and importlib.util.find_spec("torch"):
        from benchmarks.gpu.torch_peer import matmul_tflops

        reached = matmul_tflops(peak.size)
        peak = replace(peak, tflops_pytorch=reached)
        if reached > peak.tflops:
            peak = replace(peak, tflops=reached, by="PyTorch")
    return peak


def _measure(model: GpuModel, device: Device, arguments: argparse.Namespace, deadline: Deadline, peak: float) -> ModelRecord:
    """Compare answers; measure AG News' lengths, then profiles, then shapes while time is left."""
    skipped = dict(model.skipped)
    parity = models.parity(model)
    captured, replayed = contenders.captured(model, device, skipped)
    peers, compared = contenders.peers(model, device, deadline, skipped)
    taking_part = [*contenders.variants(model, device, skipped), *captured, *peers]
    news, late = measure.ag_news(model, taking_part, device, _texts(model, arguments.texts), 128, deadline, peak)
    profiles = _profiles(model, device, deadline, skipped)
    shapes = tuple(
        (batch, tokens)
        for batch, tokens in measure.SHAPES
        if batch in (arguments.batch or (batch,)) and tokens in (arguments.tokens or (tokens,))
    )
    cells, too_late = measure.grid(model, taking_part, device, shapes, deadline, peak)
    nodes = next((taken.nodes for taken in profiles if (taken.variant, taken.batch) == (FUSED, 1)), 0)
    return ModelRecord(
        model=model.name,
        rows_compared=len(model.golden.ids),
        parity=[*parity, *replayed],
        peers=compared,
        shapes=cells,
        ag_news=news,
        profiles=profiles,
        batch_of_one=measure.batch_of_one(taking_part, device, nodes, cells),
        skipped=skipped | late | too_late,
    )


def _texts(model: GpuModel, texts: int) -> Ragged:
    """Return a run's golden texts, or else random ids of AG News' lengths."""
    if model.golden.texts[0] is models.RANDOM:
        return models.random_rows(model.bert, models.ag_news_lengths(texts), seed=1)
    return model.golden.ids.take(np.arange(min(texts, len(model.golden.ids))))


def _profiles(model: GpuModel, device: Device, deadline: Deadline, skipped: dict[str, str]) -> list[GraphProfile]:
    """Profile our FP16 graphs; adds to `skipped` those that cannot be profiled."""
    files = {name: model.files[name] for name in (*PADDED, PACKED) if name in model.files}
    positions = len(model.bert.position_embeddings)
    shapes = [(batch, min(tokens, positions)) for batch, tokens in _PROFILED]
    if deadline.left() < 0:
        skipped["profiles"] = LATE
        return []
    try:
        profiles = profile.run(files, device.provider, shapes, min(_PROFILING, deadline.left()))
    except errors.ToolError as error:
        skipped["profiles"] = error.found
        return []
    for failed in (taken for taken in profiles if taken.failed):
        skipped[f"profile of {failed.variant}, {failed.batch} × {failed.tokens}"] = failed.failed
    return [taken for taken in profiles if not taken.failed]


if __name__ == "__main__":
    errors.run(main)
