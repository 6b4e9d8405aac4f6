"""Measure a served engine without a server: the same code, texts and number of processes.

Prints a `benchmark.record.EngineRound` as JSON. Each process has one version directory on its path,
because that directory's modules are imported by their bare names.

    python -m serving.load.engine_limit VERSION_DIRECTORY runs/demo/bundle/golden.jsonl --texts 1000
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import model_config
from slipway.contract.records import MAX_BATCH
from slipway.lint.models import CONFIG

_STEP = 16  # tokens
_LOADED_WITHIN = 120  # seconds between the first and the last of the processes
_barriers: list[Any] = []  # of a process: the one that it shares with the others


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("version", type=Path, help="version directory of text_classifier")
    parser.add_argument("texts_file", type=Path, help="golden.jsonl of a bundle")
    parser.add_argument("--texts", type=int, required=True, help="how many texts to run")
    arguments = parser.parse_args()
    with arguments.texts_file.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file][: arguments.texts]
    print(json.dumps(_measure(arguments.version, texts)))
    return 0


def _measure(version: Path, texts: list[Any]) -> dict[str, Any]:
    """Run all texts in every process at the same time. The rate counts until the last has ended."""
    config = model_config.read((version.parent / CONFIG).read_text("utf-8"))
    processes, context = config.instance_group[0].count, get_context("spawn")
    with ProcessPoolExecutor(processes, context, _keep_barrier, (context.Barrier(processes),)) as pool:
        measured = list(pool.map(_measure_process, [version] * processes, [texts] * processes))
    slowest = max(measured, key=lambda process: process["engine_seconds"])
    rate = processes * len(texts) / slowest["engine_seconds"]
    return {"processes": processes, "texts_per_second": rate, **slowest}


def _keep_barrier(barrier: Any) -> None:
    _barriers.append(barrier)


def _measure_process(version: Path, texts: list[Any]) -> dict[str, Any]:
    """Measure in one process. It waits for the others, so that none does another's share."""
    sys.path.insert(0, str(version))
    from engine import CostModel, Engine, plan  # type: ignore[import-not-found]
    from tokenizer import Tokenizer  # type: ignore[import-not-found]

    settings = json.loads((version / "settings.json").read_text("utf-8"))
    tokenize = Tokenizer.of(version / "vocab.txt", settings)
    cost = CostModel(**settings["cost"])
    engine = Engine(version / "model.onnx", settings["threads"], cost, settings["provider"])
    pairs = settings["task"] == "text_pair"
    texts = [tuple(text) for text in texts] if pairs else texts
    started = time.perf_counter()
    tokenized = tokenize.of_words(texts) if settings["task"] == "tagging" else tokenize(texts)
    rows = [np.array(tokens.ids, np.int32) for tokens in tokenized]
    types = [np.array(tokens.types, np.int32) for tokens in tokenized] if pairs else None
    tokenizing = time.perf_counter() - started
    _barriers[0].wait(_LOADED_WITHIN)
    batches = [slice(start, start + MAX_BATCH) for start in range(0, len(rows), MAX_BATCH)]
    begun = time.perf_counter()
    results = [engine.run(rows[batch], types and types[batch]) for batch in batches]
    seconds = time.perf_counter() - begun
    tokens, padding = sum(result.tokens for result in results), sum(result.padding for result in results)
    lengths = np.array([len(row) for row in rows])
    widths = np.concatenate([_widths(lengths[batch], plan(lengths[batch], cost)) for batch in batches])
    return {
        "texts": len(texts),
        "engine_seconds": seconds,
        "tokenizing_share": tokenizing / (tokenizing + seconds),
        "padding_waste": padding / (tokens + padding),
        "mean_tokens": tokens / len(texts),
        "by_length": _padding_by_length(lengths, widths),
    }


def _widths(lengths: NDArray[np.int64], micro_batches: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the tokens computed for each row: those of its micro-batch's longest row."""
    widths = np.empty_like(lengths)
    for rows in micro_batches:
        widths[rows] = lengths[rows].max()
    return widths


def _padding_by_length(lengths: NDArray[np.int64], widths: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return the padding waste of the texts of each length, in steps of _STEP tokens."""
    bins = (lengths - 1) // _STEP
    return [
        {
            "tokens": f"{step * _STEP + 1}–{(step + 1) * _STEP}",
            "texts": int((bins == step).sum()),
            "waste": 1 - int(lengths[bins == step].sum()) / int(widths[bins == step].sum()),
        }
        for step in np.unique(bins)
    ]


if __name__ == "__main__":
    sys.exit(main())
