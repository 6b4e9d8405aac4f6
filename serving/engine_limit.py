"""What the served engines do without a server: the version directory's own code on the same texts, in as many processes.

Prints JSON. They are processes of their own also because a version directory's modules are imported by their bare names.

    python -m serving.engine_limit runs/demo/model_repository/text_classifier/1 runs/demo/bundle/golden.jsonl --texts 1000
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from serving import model_config
from serving.records import MAX_BATCH
from serving.repository_models import CONFIG

_STEP = 16  # tokens
_LOADED_WITHIN = 120  # seconds between the first and the last of the processes


def main() -> int:
    arguments = _parse()
    with arguments.texts_file.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file][: arguments.texts]
    print(json.dumps(_together(arguments.version, texts)))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("version", type=Path, help="version directory of text_classifier")
    parser.add_argument("texts_file", type=Path, help="golden.jsonl of a bundle")
    parser.add_argument("--texts", type=int, required=True, help="how many texts to run")
    return parser.parse_args()


def _together(version: Path, texts: list[Any]) -> dict[str, Any]:
    """Every process runs all texts, beginning at the same moment; the rate is that of all until the last has ended."""
    config = model_config.read((version.parent / CONFIG).read_text("utf-8"))
    processes, context = config.instance_group[0].count, get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (context.Barrier(processes),)) as pool:
        found = list(pool.map(_measure, [version] * processes, [texts] * processes))
    slowest = max(found, key=lambda one: one["engine_seconds"])
    rate = processes * len(texts) / slowest["engine_seconds"]
    return {"processes": processes, "texts_per_second": rate, **slowest}


_ready: list[Any] = []  # of a process: the barrier that it shares with the others


def _begin(barrier: Any) -> None:
    _ready.append(barrier)


def _measure(version: Path, texts: list[Any]) -> dict[str, Any]:
    """In one of the processes. It waits for the others, so that none does another's share."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(version))
    from engine import Engine  # type: ignore[import-not-found]
    from microbatches import CostModel, plan  # type: ignore[import-not-found]
    from tokenizer import Tokenizer  # type: ignore[import-not-found]

    settings = json.loads((version / "settings.json").read_text("utf-8"))
    tokenize = Tokenizer(version / "vocab.txt", lower_case=settings["lower_case"], max_seq_len=settings["max_seq_len"])
    cost = CostModel(**settings["cost"])
    engine = Engine(version / "model.onnx", settings["threads"], cost, settings["provider"])
    pairs = settings["task"] == "text_pair"
    texts = [tuple(text) for text in texts] if pairs else texts
    started = time.perf_counter()
    found = tokenize.of_words(texts) if settings["task"] == "tagging" else tokenize(texts)
    rows = [np.array(tokens.ids, np.int32) for tokens in found]
    types = [np.array(tokens.types, np.int32) for tokens in found] if pairs else None
    tokenized = time.perf_counter()
    _ready[0].wait(_LOADED_WITHIN)
    begun = time.perf_counter()
    batches = [slice(start, start + MAX_BATCH) for start in range(0, len(rows), MAX_BATCH)]
    results = [engine.run(rows[batch], types and types[batch]) for batch in batches]
    ended = time.perf_counter()
    tokens, padding = sum(result.tokens for result in results), sum(result.padding for result in results)
    return {
        "texts": len(texts),
        "engine_seconds": ended - begun,
        "tokenizing_share": (tokenized - started) / (tokenized - started + ended - begun),
        "padding_waste": padding / (tokens + padding),
        "mean_tokens": tokens / len(texts),
        "by_length": _by_length([np.array([len(row) for row in rows[batch]]) for batch in batches], lambda one: plan(one, cost)),
    }


def _by_length(batches: list[Any], plan: Callable[[Any], list[Any]]) -> list[dict[str, Any]]:
    """Padding waste of the texts of each length, in steps of _STEP tokens: a row is as wide as its micro-batch's longest."""
    lengths, widths = np.concatenate(batches), []
    for batch in batches:
        width = np.empty_like(batch)
        for rows in plan(batch):
            width[rows] = batch[rows].max()
        widths.append(width)
    bins = (lengths - 1) // _STEP
    found = []
    for one in np.unique(bins):
        of = bins == one
        computed = int(np.concatenate(widths)[of].sum())
        waste = 1 - int(lengths[of].sum()) / computed
        found.append({"tokens": f"{one * _STEP + 1}–{(one + 1) * _STEP}", "texts": int(of.sum()), "waste": waste})
    return found


if __name__ == "__main__":
    sys.exit(main())
