"""What a benchmark sends: golden texts with their own lengths, as texts and as ids, and texts of exactly so many tokens."""

from __future__ import annotations

from collections.abc import Container, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import perf_analyzer
from train.bundle import Bundle, Golden
from train.tokenizer import Tokenizer

Inputs = dict[tuple[str, str | int], list[Path]]  # kind of subject, "own" or tokens → perf_analyzer's input file of each round
_FEWEST, _ENOUGH = 16, 128  # texts of one length: with fewer there are none, with more nothing is gained


def write(directory: Path, source: Bundle, golden: Golden, count: int, lengths: set[int], rounds: int = 1) -> Inputs:
    """A length that cannot be made is left out."""
    golden = golden.take(np.arange(min(count, len(golden.texts))))
    made = {tokens: of_length(golden.texts, source, tokens) for tokens in sorted(lengths)} if source.task == "single_text" else {}
    texts: dict[str | int, list[Any]] = {"own": golden.texts}
    texts |= {tokens: found for tokens, found in made.items() if len(found) >= _FEWEST}
    files: Inputs = {("text", length): [directory / f"texts-{length}-{one}.json" for one in range(rounds)] for length in texts}
    files["ids", "own"] = [directory / f"ids-{one}.json" for one in range(rounds)]
    for number in range(rounds):
        for length, found in texts.items():
            turned = _turned(len(found), number, rounds)
            perf_analyzer.write_texts([found[one] for one in turned], source.task, files["text", length][number])
        ids = golden.ids.take(_turned(len(golden.texts), number, rounds))
        types = [ids.types[start:end] for start, end in pairwise(ids.offsets)] if source.task == "text_pair" else None
        perf_analyzer.write_ids([ids[one] for one in range(len(ids))], types, files["ids", "own"][number])
    return files


def _turned(count: int, number: int, rounds: int) -> NDArray[np.int64]:
    """All of them, a round's share further on each round: perf_analyzer begins with the first, and does not come to the last."""
    return np.roll(np.arange(count), -(count * number // rounds))


def left_out(lengths: Iterable[int], made: Container[str | int], source: Bundle) -> dict[str, str]:
    """Of the `lengths` that a setting asks for those that are not `made` → why."""
    most = source.max_seq_len
    why = "too few golden words" if source.task == "single_text" else "only single texts are cut to a length"
    return {
        f"texts of {tokens} tokens": f"the model takes {most} at most" if tokens > most else why
        for tokens in lengths
        if tokens not in made
    }


def of_length(texts: list[Any], source: Bundle, tokens: int) -> list[str]:
    """Texts of exactly so many tokens, [CLS] and [SEP] among them: the words of the given ones, one after the other, without those
    that would not fit."""
    tokenizer = Tokenizer(source.vocabulary, lower_case=source.lower_case, max_seq_len=source.max_seq_len)
    words = [word for text in texts for word in text.split()][: _ENOUGH * tokens]
    made, taken, left = [], [], tokens - 2
    for word, read in zip(words, tokenizer(words), strict=True):
        pieces = len(read.ids) - 2
        if 0 < pieces <= left:
            taken.append(word)
            left -= pieces
        if not left:
            made.append(" ".join(taken))
            taken, left = [], tokens - 2
    return [text for text, read in zip(made, tokenizer(made), strict=True) if len(read.ids) == tokens and not read.truncated]
