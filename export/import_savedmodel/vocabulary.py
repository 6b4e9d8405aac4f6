"""Whether a vocab.txt is the model's: its own assets, its embeddings and the tokenizer decide."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from slipway.contract.tokenizer import Tokenizer, VocabularyError
from slipway.errors import ConversionError

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def check_vocabulary(saved_model: Path, pieces: list[str], where: Path, again: Callable[[Path], str]) -> None:
    """Compare a vocabulary with those among the SavedModel's own assets, if there are any.

    `again` is the command with another vocabulary. Raises ConversionError with the first line that
    differs.
    """
    for asset in sorted(saved_model.glob("assets/*vocab*")):
        own = asset.read_text("utf-8", "backslashreplace").removesuffix("\n").split("\n")
        if not {"[CLS]", "[SEP]"} <= {line.removesuffix("\r") for line in own}:
            continue  # of something else, such as labels
        for number, (expected, given) in enumerate(zip_longest(own, pieces, fillvalue=""), 1):
            if expected.removesuffix("\r") != given.removesuffix("\r"):
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


def is_cased(pieces: list[str]) -> bool:
    """Return whether a vocabulary has capital letters: then it is a cased model's."""
    return any(piece != piece.lower() for piece in pieces if piece not in _SPECIAL and not piece.startswith("[unused"))


def load_tokenizer(vocabulary: Path, lower_case: bool, max_seq_len: int, again: str) -> Tokenizer:
    """Return the tokenizer of a vocabulary. Raises ConversionError where it is none."""
    try:
        return Tokenizer(vocabulary, lower_case=lower_case, max_seq_len=max_seq_len)
    except VocabularyError as error:
        raise ConversionError(
            "the vocabulary is not a BERT's",
            expected="a word piece a line, [PAD] first, with [UNK], [CLS] and [SEP]",
            found=str(error),
            where="--vocab",
            fix=f"{again}, with the --vocab that the model was trained with",
        ) from error
