"""The inputs of a benchmark: golden texts, as texts and as ids, and texts that share a length."""

from __future__ import annotations

from collections.abc import Container, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from serving import perf_analyzer
from train.bundle import Bundle, Golden
from train.tokenizer import Tokenizer

# (text or ids, "own" or tokens of every text) → perf_analyzer's input file of each round
InputFiles = dict[tuple[str, str | int], list[Path]]
_FEWEST_TEXTS, _ENOUGH_TEXTS = 16, 128  # of one length: fewer are not used, more are not made


def write_inputs(directory: Path, source: Bundle, golden: Golden, count: int, lengths: set[int], rounds: int = 1) -> InputFiles:
    """Write the input files of `count` golden texts. A length that cannot be made is left out.

    Every round begins a round's share further on, because perf_analyzer begins with the first
    text and does not come to the last.
    """
    golden = golden.take(np.arange(min(count, len(golden.texts))))
    texts: dict[str | int, list[Any]] = {"own": golden.texts}
    for tokens in sorted(lengths) if source.task == "single_text" else ():
        texts[tokens] = texts_of_length(golden.texts, source, tokens)
    files: InputFiles = {}
    for length, rows in texts.items():
        if length == "own" or len(rows) >= _FEWEST_TEXTS:
            files["text", length] = [directory / f"texts-{length}-{number}.json" for number in range(rounds)]
            for number, file in enumerate(files["text", length]):
                first = len(rows) * number // rounds
                perf_analyzer.write_texts([*rows[first:], *rows[:first]], source.task, file)
    files["ids", "own"] = [directory / f"ids-{number}.json" for number in range(rounds)]
    for number, file in enumerate(files["ids", "own"]):
        ids = golden.ids.take(np.roll(np.arange(len(golden.texts)), -(len(golden.texts) * number // rounds)))
        types = [ids.types[start:end] for start, end in pairwise(ids.offsets)] if source.task == "text_pair" else None
        perf_analyzer.write_ids([ids[row] for row in range(len(ids))], types, file)
    return files


def lengths_left_out(lengths: Iterable[int], written: Container[str | int], source: Bundle) -> dict[str, str]:
    """Return why there are no texts of some `lengths`: texts of so many tokens → why."""
    most = source.max_seq_len
    why = "too few golden words" if source.task == "single_text" else "only single texts are cut to a length"
    return {
        f"texts of {tokens} tokens": f"the model takes {most} at most" if tokens > most else why
        for tokens in lengths
        if tokens not in written
    }


def texts_of_length(texts: list[str], source: Bundle, tokens: int) -> list[str]:
    """Return texts of exactly so many tokens, [CLS] and [SEP] among them.

    They are made of the words of `texts` in order; a word that would not fit is skipped.
    """
    tokenizer = Tokenizer(source.vocabulary, lower_case=source.lower_case, max_seq_len=source.max_seq_len)
    words = [word for text in texts for word in text.split()][: _ENOUGH_TEXTS * tokens]
    cut, taken, left = [], [], tokens - 2
    for word, tokenized in zip(words, tokenizer(words), strict=True):
        pieces = len(tokenized.ids) - 2
        if 0 < pieces <= left:
            taken.append(word)
            left -= pieces
        if not left:
            cut.append(" ".join(taken))
            taken, left = [], tokens - 2
    pairs = zip(cut, tokenizer(cut), strict=True)
    return [text for text, tokenized in pairs if len(tokenized.ids) == tokens and not tokenized.truncated]
