"""WordPiece with a bundle's vocabulary, for train, export, server and client.

Serving copies this file beside its models. So it imports nothing of the project, and nothing but
`tokenizers` besides the standard library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

_LONGEST_WORD = 100  # characters, and so at most as many pieces; a longer one is [UNK]
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class VocabularyError(ValueError):
    """The vocabulary is not the expected file, or lacks a special token."""


@dataclass(frozen=True)
class Tokens:
    """Word pieces of one text or pair, [CLS] and [SEP] included."""

    ids: list[int]
    types: list[int]  # 1 in the second text of a pair, else 0
    truncated: bool  # the text did not fit
    words: list[int | None]  # the given word that each piece belongs to; only `of_words` fills it


class Tokenizer:
    """A function from texts to word piece ids, cut at `max_seq_len`.

    The steps are those of BERT's reference tokenizer: clean, split CJK, lower when `lower_case`,
    strip accents when `strip_accents` (None: when `lower_case`, as that one does), split at
    punctuation, greedy longest match; words of more than 100 characters are [UNK].

    `added_tokens` are pieces of the vocabulary that a text may hold as they are, such as [E1]. Any
    other [SEP] in a text is three words: nobody who writes a text can end it for the model.
    """

    def __init__(
        self,
        vocabulary: Path,
        *,
        lower_case: bool,
        max_seq_len: int,
        strip_accents: bool | None = None,
        added_tokens: Sequence[str] = (),
        expected_sha256: str = "",
    ) -> None:
        """Load the vocabulary. Raises VocabularyError for a wrong hash or a missing token."""
        sha256 = hashlib.sha256(vocabulary.read_bytes()).hexdigest()
        if expected_sha256 and sha256 != expected_sha256:
            raise VocabularyError(f"{vocabulary}: expected sha256 {expected_sha256}, found {sha256}")
        model = tokenizers.models.WordPiece.from_file(str(vocabulary), unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORD)
        self._tokenizer = tokenizers.Tokenizer(model)
        ids = self._tokenizer.get_vocab()
        missing = [token for token in _SPECIAL if token not in ids]
        if missing or ids["[PAD]"] != 0:
            raise VocabularyError(f"{vocabulary}: expected {', '.join(_SPECIAL)} with [PAD] on line 1, missing: {missing}")
        if unknown := [token for token in added_tokens if token not in ids]:
            raise VocabularyError(f"{vocabulary}: expected the added tokens among its word pieces, missing: {unknown}")
        self._tokenizer.add_tokens([tokenizers.AddedToken(token, normalized=False) for token in added_tokens])
        self._tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower_case, strip_accents=strip_accents)
        self._tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        self._tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
        self._tokenizer.enable_truncation(max_seq_len)
        # Characters: in most texts they hold more pieces than a model reads.
        self._glance = 16 * (max_seq_len + _LONGEST_WORD)

    @classmethod
    def of(cls, vocabulary: Path, facts: Mapping[str, Any], expected_sha256: str = "") -> Tokenizer:
        """Load a tokenizer by the facts of a bundle, or by the settings of a served version."""
        return cls(
            vocabulary,
            lower_case=facts["lower_case"],
            max_seq_len=facts["max_seq_len"],
            strip_accents=facts.get("strip_accents"),
            added_tokens=facts.get("added_tokens", ()),
            expected_sha256=expected_sha256,
        )

    def __call__(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> list[Tokens]:
        """Return the tokens of each text (empty: [CLS] [SEP]) or pair (the longer is cut first)."""
        encodings = self._tokenizer.encode_batch_fast([self._beginning(text) for text in texts])
        undecided = [i for i, text in enumerate(texts) if self._beginning(text) != text and not _is_decided(encodings[i])]
        if undecided:
            for i, encoding in zip(undecided, self._tokenizer.encode_batch_fast([texts[i] for i in undecided]), strict=True):
                encodings[i] = encoding
        return [Tokens(encoding.ids, encoding.type_ids, bool(encoding.overflowing), []) for encoding in encodings]

    def _beginning(self, text: Any) -> Any:
        """Return a text's first characters; but all of a pair, whose lengths decide its cut."""
        return text[: self._glance] if isinstance(text, str) else text

    def of_words(self, sentences: list[list[str]]) -> list[Tokens]:
        """Return the tokens of sentences that are split into words already, as a tagger's are."""
        encodings = self._tokenizer.encode_batch(sentences, is_pretokenized=True)
        return [Tokens(encoding.ids, encoding.type_ids, bool(encoding.overflowing), encoding.word_ids) for encoding in encodings]


def _is_decided(beginning: tokenizers.Encoding) -> bool:
    """Return whether all kept pieces come before the beginning's last word, which may go on."""
    return sum(len(more.ids) - 2 for more in beginning.overflowing) >= _LONGEST_WORD
