"""A vocabulary, byte by byte; and whether it is the model's, by its assets and its embeddings."""

from __future__ import annotations

import codecs
import json
import re
import shlex
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from slipway.contract.tokenizer import Tokenizer, VocabularyError
from slipway.errors import ConversionError

TOKENIZER = "tokenizer.json"  # Hugging Face's file, which holds a vocabulary too
NEW_VOCABULARY = Path("vocabulary.txt")  # that a fix writes
_NEEDED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_COUNT = re.compile(r"[^\t]*\t[0-9]+")
_COUNTED = 0.9  # share of the lines with a count behind a tab, above which these are no pieces


def read(path: Path, again: str, anew: str) -> list[str]:
    """Return the word pieces of a vocab.txt, by line; an order mark and CR at a line's end go.

    `again` is the command, and `anew` the one with the vocabulary that is NEW_VOCABULARY.
    Raises ConversionError for another encoding, counts, and special tokens that are not there.
    """
    if path.name == TOKENIZER:
        return _of_tokenizer(path, again)
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _not_readable(path, "UTF-16", _recoded("utf-16", path, anew))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        found = f"the byte 0x{data[error.start]:02x} in line {line:,}, as Latin-1 and Windows-1252 write é"
        raise _not_readable(path, found, _recoded("cp1252", path, anew)) from error
    pieces = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]  # splitlines would also split at U+2028
    if sum(map(bool, map(_COUNT.fullmatch, pieces))) > _COUNTED * len(pieces):
        fix = f"cut -f1 {shlex.quote(str(path))} > {NEW_VOCABULARY} && {anew}"
        raise _not_readable(path, f"{pieces[0]!r}: counts behind a tab", fix)
    _check_special(pieces, path, again)
    return pieces


def _of_tokenizer(path: Path, again: str) -> list[str]:
    """Return the pieces of a tokenizer.json, which Hugging Face keeps by number."""
    try:
        file = json.loads(path.read_text("utf-8"))
        model, added = file["model"], {token["content"]: token["id"] for token in file.get("added_tokens") or []}
        numbers = {**model["vocab"], **added}
    except (ValueError, KeyError, TypeError) as error:  # cut, or another kind's, whose vocabulary is a list
        kind = f"no vocabulary of word pieces: {type(error).__name__}: {error}"
        raise _not_readable(path, kind, f"{again} --vocab, with the vocab.txt of a WordPiece model") from error
    pieces = sorted(numbers, key=lambda piece: int(numbers[piece]))
    if [numbers[piece] for piece in pieces] != list(range(len(pieces))):
        raise _not_readable(path, "numbers that are not 0, 1, 2, …", f"{again} --vocab vocab.txt")
    _check_special(pieces, path, again)
    return pieces


def with_added(pieces: list[str], numbers: dict[str, int], where: Path, again: str) -> list[str]:
    """Return the pieces with the tokens that lie behind them in the model's table, by number."""
    behind = {number: token for token, number in numbers.items() if token not in pieces}
    if not behind:
        return pieces
    if sorted(behind) != list(range(len(pieces), len(pieces) + len(behind))):
        found = ", ".join(f"{token} as {number:,}" for number, token in sorted(behind.items()))
        raise _not_readable(
            where, f"{len(pieces):,} pieces, and added tokens elsewhere: {found}", f"{again}, with the --vocab of this model"
        )
    return [*pieces, *(behind[number] for number in sorted(behind))]


def _check_special(pieces: list[str], path: Path, again: str) -> None:
    if missing := [token for token in _NEEDED if token not in pieces]:
        found = f"no {', '.join(missing)}"
        if written := [piece for piece in pieces if piece.upper() in missing]:
            found = f"{found}, but {', '.join(written)}"
        raise _not_readable(path, found, f"{again}, with the --vocab that the model was trained with")
    if pieces[0] != "[PAD]":
        found = f"{pieces[0]!r} in line 1, and [PAD] in line {pieces.index('[PAD]') + 1}"
        raise _not_readable(path, found, f"{again}, with the --vocab that the model was trained with: [PAD] is id 0 here")


def is_vocabulary(path: Path) -> bool:
    """Return whether a file is a vocabulary of word pieces, by its special tokens."""
    return {"[CLS]", "[SEP]"} <= set(_lines(path))


def _lines(path: Path) -> list[str]:
    lines = path.read_text("utf-8", "backslashreplace").removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines]


def _recoded(encoding: str, path: Path, anew: str) -> str:
    return f"iconv -f {encoding} -t utf-8 {shlex.quote(str(path))} > {NEW_VOCABULARY} && {anew}"


def _not_readable(path: Path, found: str, fix: str) -> ConversionError:
    return ConversionError(
        "the vocabulary is not a BERT's",
        expected=f"UTF-8, a word piece a line, [PAD] first, with {', '.join(_NEEDED[1:])}",
        found=found,
        where=str(path),
        fix=fix,
    )


def check_vocabulary(saved_model: Path, pieces: list[str], where: Path, again: Callable[[Path], str]) -> None:
    """Compare a vocabulary with those among the SavedModel's own assets, if there are any.

    `again` is the command with another vocabulary. Raises ConversionError with the first line that
    differs.
    """
    for asset in sorted(saved_model.glob("assets/*vocab*")):
        if not is_vocabulary(asset):
            continue  # of something else, such as labels
        for number, (expected, given) in enumerate(zip_longest(_lines(asset), pieces, fillvalue=""), 1):
            if expected != given:
                raise ConversionError(
                    "the vocabulary is not this model's",
                    expected=f"{expected!r} in line {number:,}, as in the model's own assets/{asset.name}",
                    found=repr(given),
                    where=f"{where}:{number}",
                    fix=again(asset),
                )


def check_size(pieces: list[str], embeddings: int, where: Path, again: str) -> None:
    """Raise ConversionError for more word pieces than rows in the embedding table (0: unknown)."""
    if embeddings and len(pieces) > embeddings:
        raise ConversionError(
            "the vocabulary is not this model's",
            expected=f"at most {embeddings} word pieces, the rows of its embedding table",
            found=f"{len(pieces)} lines",
            where=str(where),
            fix=f"{again}, with the --vocab that the model was trained with",
        )


def load_tokenizer(vocabulary: Path, facts: dict[str, object], where: Path, again: str) -> Tokenizer:
    """Return the tokenizer of a vocabulary. Raises ConversionError where it is none."""
    try:
        return Tokenizer.of(vocabulary, facts)
    except VocabularyError as error:
        raise ConversionError(
            "the vocabulary is not a BERT's",
            expected=f"a word piece a line, [PAD] first, with {', '.join(_NEEDED[1:])}, and the --added-tokens",
            found=str(error).partition(": ")[2],
            where=str(where),
            fix=f"{again}, with the --vocab that the model was trained with",
        ) from error
