"""How the model's tokenizer was set: casing, accents, tokens of its own.

What is given counts first, then what lies beside the vocabulary, then the vocabulary's pieces. The
golden rows have the last word: where another setting answers more of them right than chance allows,
the import is refused with the option that takes it, or keeps what was found.
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linear_sum_assignment

from export.import_savedmodel.golden_rows import GoldenRows
from export.import_savedmodel.source import read_json
from slipway.contract import labelling
from slipway.contract.bundle import NOT_ASKED
from slipway.contract.ragged import Logits, Ragged
from slipway.contract.tokenizer import Tokenizer
from slipway.errors import ConversionError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CAPITALS = 0.05  # share of the pieces with letters that have two cases; of cased vocabularies 0.3 have capitals
_ACCENTS = 0.005  # share of these pieces with accents; of vocabularies without accents none has
_WORDPIECE = ("", "BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "PreTrainedTokenizer")
_MARKER = re.compile(r"\[.+\]|<.+>")  # a piece that stands for something that was no word
_NEVER_IN_TEXTS = ("[PAD]", "[UNK]", "[CLS]")
_COMPARED = 256  # golden rows, evenly out of all
_CHANCE = 1e-3  # that another setting answers so many more rows right, though it is no better


@dataclass(frozen=True)
class Settings:
    """The facts of a tokenizer, as bundle.json has them."""

    lower_case: bool
    strip_accents: bool
    added_tokens: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "added_tokens": list(self.added_tokens)}

    def options(self) -> str:
        """Return the options that take these settings."""
        words = [f"--{'' if self.lower_case else 'no-'}lower-case", f"--{'' if self.strip_accents else 'no-'}strip-accents"]
        return " ".join([*words, *([f"--added-tokens '{','.join(self.added_tokens)}'"] if self.added_tokens else [])])

    def __str__(self) -> str:
        case = "lower case" if self.lower_case else "case kept"
        accents = "accents stripped" if self.strip_accents else "accents kept"
        return ", ".join([case, accents, *([f"{' '.join(self.added_tokens)} as they are"] if self.added_tokens else [])])


def settings(arguments: argparse.Namespace, pieces: list[str], beside: Path, again: str) -> tuple[Settings, str]:
    """Return the settings, and what speaks for them. Raises ConversionError for no WordPiece.

    `beside` is the directory in which tokenizer.json and tokenizer_config.json may lie.
    """
    found, why = _of_pieces(pieces), "by the vocabulary's pieces"
    of_added = [
        token for token in added_numbers(beside) if token in pieces and token not in SPECIAL and not token.startswith("[unused")
    ]
    found = replace(found, added_tokens=tuple(of_added))
    for name, read in (("tokenizer_config.json", _of_config), ("tokenizer.json", _of_tokenizer)):
        path = beside / name
        _refuse_other_tokenizer(path, again)
        if facts := read(read_json(path)):
            tokens = tuple(token for token in facts.pop("added_tokens", ()) if token in pieces and token not in SPECIAL)
            found, why = replace(found, **facts, added_tokens=tokens or found.added_tokens), f"by {name}"
    given = {name: value for name, value in _given(arguments).items() if value is not None}
    if given.get("lower_case") is not None and "strip_accents" not in given:
        given["strip_accents"] = given["lower_case"] and found.strip_accents
    return (replace(found, **given), "as given") if given else (found, why)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    tokens = tuple(filter(None, arguments.added_tokens.split(","))) if arguments.added_tokens is not None else None
    return {"lower_case": arguments.lower_case, "strip_accents": arguments.strip_accents, "added_tokens": tokens}


def added_numbers(beside: Path) -> dict[str, int]:
    """Return the tokens that were added to a vocabulary, with their numbers, by the files there."""
    numbers = {token: number for token, number in read_json(beside / "added_tokens.json").items() if isinstance(number, int)}
    decoder = read_json(beside / "tokenizer_config.json").get("added_tokens_decoder")
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        if str(number).isdecimal() and isinstance(token, dict) and isinstance(token.get("content"), str):
            numbers[token["content"]] = int(number)
    for token in read_json(beside / "tokenizer.json").get("added_tokens") or []:
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            numbers[str(token.get("content"))] = token["id"]
    return numbers


def _of_pieces(pieces: list[str]) -> Settings:
    """Judge by most pieces: an uncased vocabulary may hold <S>, [E1] or [URL]."""
    words = [piece for piece in pieces if not _MARKER.fullmatch(piece)]
    cased = [piece for piece in words if piece.lower() != piece.upper()]
    capitals = sum(piece != piece.lower() for piece in cased)
    accents = sum(piece != _stripped(piece) for piece in cased)
    lower_case = capitals < max(_CAPITALS * len(cased), 1)
    return Settings(lower_case, lower_case and accents < max(_ACCENTS * len(cased), 1), ())


def _stripped(text: str) -> str:
    """Return a text without its accents, as BERT strips them."""
    return "".join(letter for letter in unicodedata.normalize("NFD", text) if unicodedata.category(letter) != "Mn")


def _of_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a tokenizer_config.json says."""
    facts: dict[str, Any] = {}
    if isinstance(config.get("do_lower_case"), bool):
        facts["lower_case"] = facts["strip_accents"] = config["do_lower_case"]
    if isinstance(config.get("strip_accents"), bool):
        facts["strip_accents"] = config["strip_accents"]
    added = config.get("added_tokens_decoder")
    tokens = [token.get("content") for token in added.values() if isinstance(token, dict)] if isinstance(added, dict) else []
    more = config.get("additional_special_tokens")
    tokens += [token for token in more if isinstance(token, str)] if isinstance(more, list) else []
    return facts | ({"added_tokens": list(dict.fromkeys(tokens))} if tokens else {})


def _of_tokenizer(file: dict[str, Any]) -> dict[str, Any]:
    """Return what a tokenizer.json says."""
    facts: dict[str, Any] = {}
    normalizer = file.get("normalizer") or {}
    for part in normalizer.get("normalizers", [normalizer]):
        if part.get("type") == "BertNormalizer":
            facts["lower_case"] = bool(part.get("lowercase", True))
            strip = part.get("strip_accents")
            facts["strip_accents"] = facts["lower_case"] if strip is None else bool(strip)
    tokens = [token["content"] for token in file.get("added_tokens") or [] if isinstance(token, dict) and "content" in token]
    return facts | ({"added_tokens": tokens} if tokens else {})


def _refuse_other_tokenizer(path: Path, again: str) -> None:
    """Raise ConversionError where a tokenizer file is of another kind than WordPiece."""
    file = read_json(path)
    kind = (file.get("model") or {}).get("type") or ""
    name = str(file.get("tokenizer_class") or "")
    parts = [file, *(file.get("normalizer") or {}).get("normalizers", [file.get("normalizer") or {}])]
    whole = any(part.get(key) is False for part in parts for key in ("tokenize_chinese_chars", "handle_chinese_chars"))
    if kind in ("", "WordPiece") and name.removesuffix("Fast") in _WORDPIECE and not whole:
        return
    raise ConversionError(
        "the model was trained with another tokenizer than BERT's",
        expected=f"WordPiece that splits Chinese characters: {', '.join(filter(None, _WORDPIECE))}",
        found="tokenize_chinese_chars is false" if whole else name or kind,
        where=str(path),
        fix=f"take a model of these families; where this file is another model's, move it away: {again}",
    )


def compare(
    chosen: Settings,
    rows: GoldenRows,
    pieces: list[str],
    tokenizer: Callable[[Settings], Tokenizer],
    infer: Callable[[Ragged], Logits],
) -> tuple[Settings, float, float] | None:
    """Return a better setting, with both shares of right answers; None: no other is for certain.

    The order of the labels does not count: another one is told by itself.
    """
    examples = list(zip(rows.texts, rows.labels, strict=True))
    examples = examples[:: max(1, len(examples) // _COMPARED)]
    own = labelling.encode(examples, rows.task, tokenizer(chosen))
    answers = _by_row(infer(own.rows).argmax(axis=-1), own)
    before = _right(answers, _by_row(own.labels, own))
    best: tuple[Settings, float, float] | None = None
    for other in _others(chosen, examples, pieces):
        encoded = labelling.encode(examples, rows.task, tokenizer(other))
        changed = np.flatnonzero([a.tobytes() != b.tobytes() for a, b in zip(_ids(encoded), _ids(own), strict=True)])
        if not len(changed):
            continue
        after = _right(_answers(encoded, changed, answers, infer), _by_row(encoded.labels, encoded))
        gained, lost = int((after > before).sum()), int((after < before).sum())
        certain = gained > lost and stats.binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue < _CHANCE
        if certain and (best is None or after.mean() > best[2]):
            best = other, float(before.mean()), float(after.mean())
    return best


def _others(chosen: Settings, examples: list[tuple[Any, Any]], pieces: list[str]) -> Iterator[Settings]:
    """Yield the other settings that a model may have been trained with."""
    texts = " ".join(str(text) for text, _ in examples)
    written = tuple(piece for piece in pieces if _MARKER.fullmatch(piece) and piece in texts and piece not in _NEVER_IN_TEXTS)
    for lower_case, strip_accents in ((True, True), (True, False), (False, False)):
        for added in dict.fromkeys([(), chosen.added_tokens, written]):
            other = Settings(lower_case, strip_accents, added)
            if other != chosen:
                yield other


def _ids(encoded: labelling.Encoded) -> list[NDArray[Any]]:
    return np.split(encoded.rows.ids, encoded.rows.offsets[1:-1])


def _by_row(values: NDArray[Any], encoded: labelling.Encoded) -> list[NDArray[Any]]:
    """Return [rows] values as arrays of one; tagger: [tokens] values by row."""
    per_row = len(encoded.labels) == len(encoded.rows)
    return np.split(values, np.arange(1, len(values)) if per_row else encoded.rows.offsets[1:-1])


def _answers(
    encoded: labelling.Encoded, changed: NDArray[Any], before: list[NDArray[Any]], infer: Callable[[Ragged], Logits]
) -> list[NDArray[Any]]:
    """Return the answers by row; only the rows with `changed` ids are run."""
    part = encoded.rows.take(changed)
    logits = infer(part).argmax(axis=-1)
    per_row = len(logits) == len(part)
    answers = dict(zip(changed, np.split(logits, np.arange(1, len(logits)) if per_row else part.offsets[1:-1]), strict=True))
    return [answers.get(row, before[row]) for row in range(len(before))]


def _right(answers: list[NDArray[Any]], labels: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Return the share of each row's answers that are right, in the best order of the labels."""
    asked = [label != NOT_ASKED for label in labels]
    given = [(answer[of], label[of]) for answer, label, of in zip(answers, labels, asked, strict=True)]
    size = 1 + max((int(part.max(initial=0)) for pair in given for part in pair), default=0)
    confusion = np.zeros((size, size))
    for answer, label in given:
        np.add.at(confusion, (label, answer), 1)
    _, order = linear_sum_assignment(-confusion)
    return np.array([(order[label] == answer).mean() if len(label) else 0.0 for answer, label in given])


def refuse_better(better: tuple[Settings, float, float], chosen: Settings, why: str, where: str, again: str) -> None:
    """Raise ConversionError for a setting that answers more golden rows right."""
    other, before, after = better
    raise ConversionError(
        "the golden rows speak for another setting of the tokenizer",
        expected=f"{other}: {after:.1%} of them right",
        found=f"{chosen} ({why}): {before:.1%}",
        where=where,
        fix=f"{again} {other.options()}; or, to keep what was found: {again} {chosen.options()}",
    )
