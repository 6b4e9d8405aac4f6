"""WordPiece with a bundle's vocabulary. One file for train, export, server and client: serving copies it as it is.

So it imports nothing of the project, and nothing but `tokenizers` besides the standard library.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import tokenizers

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class VocabularyError(ValueError):
    """The vocabulary is not the expected file, or lacks a special token."""


@dataclass(frozen=True)
class Tokens:
    """Word piece ids of one text, [CLS] and [SEP] included; `truncated` when the text did not fit."""

    ids: list[int]
    truncated: bool


class Tokenizer:
    """Turns texts into word piece ids, cut at `max_seq_len`.

    The steps are those of BERT's reference tokenizer: clean, split CJK, lower and strip accents when `lower_case`,
    split at punctuation, greedy longest match; words of more than 100 characters are [UNK].
    """

    def __init__(self, vocabulary: Path, *, lower_case: bool, max_seq_len: int, expected_sha256: str = "") -> None:
        """Raises VocabularyError when the file's sha256 is not `expected_sha256` (if given) or a special token is missing."""
        found = hashlib.sha256(vocabulary.read_bytes()).hexdigest()
        if expected_sha256 and found != expected_sha256:
            raise VocabularyError(f"{vocabulary}: expected sha256 {expected_sha256}, found {found}")
        self._tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece.from_file(str(vocabulary), unk_token="[UNK]"))
        ids = self._tokenizer.get_vocab()
        missing = [token for token in _SPECIAL if token not in ids]
        if missing or ids["[PAD]"] != 0:
            raise VocabularyError(f"{vocabulary}: expected {', '.join(_SPECIAL)} with [PAD] on line 1, missing: {missing}")
        self._tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower_case)
        self._tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        self._tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
        self._tokenizer.enable_truncation(max_seq_len)

    def __call__(self, texts: list[str]) -> list[Tokens]:
        """Tokens of each text, in order. An empty text gives [CLS] [SEP]."""
        encodings = self._tokenizer.encode_batch_fast(texts)
        return [Tokens(encoding.ids, bool(encoding.overflowing)) for encoding in encodings]
