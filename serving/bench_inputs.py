"""What a benchmark sends: golden texts with their own lengths, as texts and as ids, and texts of exactly so many tokens."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from serving import perf_analyzer
from train.bundle import Bundle, Golden
from train.tokenizer import Tokenizer

_FEWEST, _ENOUGH = 16, 128  # texts of one length: with fewer there are none, with more nothing is gained


def write(directory: Path, source: Bundle, golden: Golden, count: int, lengths: set[int]) -> dict[tuple[str, str | int], Path]:
    """perf_analyzer's input files: (kind of subject, "own" or tokens) → file. A length that cannot be made is left out."""
    texts, rows = golden.texts[:count], range(min(count, len(golden.texts)))
    files: dict[tuple[str, str | int], Path] = {("text", "own"): directory / "texts.json", ("ids", "own"): directory / "ids.json"}
    perf_analyzer.write_texts(texts, source.task, files["text", "own"])
    types = [golden.ids.types[golden.ids.offsets[row] : golden.ids.offsets[row + 1]] for row in rows]
    perf_analyzer.write_ids([golden.ids[row] for row in rows], types if source.task == "text_pair" else None, files["ids", "own"])
    for tokens in sorted(lengths):
        made = of_length(texts, source, tokens) if source.task == "single_text" else []
        if len(made) >= _FEWEST:
            files["text", tokens] = directory / f"texts-{tokens}.json"
            perf_analyzer.write_texts(made, source.task, files["text", tokens])
    return files


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
