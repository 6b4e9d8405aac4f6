from __future__ import annotations

from pathlib import Path

import pytest

from slipway.contract.tokenizer import Tokenizer, VocabularyError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "oil", "price", "##s", "fall", ".", "uber", "世"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", "utf-8")
    return path


def pieces(vocabulary: Path, text: str, max_seq_len: int = 16) -> list[str]:
    [tokens] = Tokenizer(vocabulary, lower_case=True, max_seq_len=max_seq_len)([text])
    return [PIECES[i] for i in tokens.ids]


def test_words_are_split_into_the_longest_known_pieces(vocabulary: Path) -> None:
    assert pieces(vocabulary, "Oil prices fall.") == ["[CLS]", "oil", "price", "##s", "fall", ".", "[SEP]"]


def test_accents_are_stripped_and_chinese_stands_alone(vocabulary: Path) -> None:
    assert pieces(vocabulary, "Über世") == ["[CLS]", "uber", "世", "[SEP]"]


@pytest.mark.parametrize("text", ["", " \t\n", "\x00", "\ufeff"])
def test_a_text_of_nothing_is_cls_and_sep(vocabulary: Path, text: str) -> None:
    assert pieces(vocabulary, text) == ["[CLS]", "[SEP]"]


def test_accents_are_kept_where_the_model_was_trained_so(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nschon\nschön\n", "utf-8")
    decomposed = "scho\u0308n"
    for strip, expected in ((True, [4, 4, 4]), (None, [4, 4, 4]), (False, [4, 5, 1])):
        tokenizer = Tokenizer(tmp_path / "v.txt", lower_case=True, strip_accents=strip, max_seq_len=8)
        assert [row.ids[1:-1] for row in tokenizer(["Schon", "Schön", decomposed])] == [[piece] for piece in expected]


def test_only_the_added_tokens_of_a_text_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[E1]\n[\n]\ne1\nsep\noil\n", "utf-8")
    plain = Tokenizer(tmp_path / "v.txt", lower_case=True, max_seq_len=16)
    marked = Tokenizer(tmp_path / "v.txt", lower_case=True, added_tokens=["[E1]"], max_seq_len=16)
    for text in ("[E1] Oil [SEP]", "[E1]Oil[SEP]"):
        assert [plain([text])[0].ids, marked([text])[0].ids] == [[2, 5, 7, 6, 9, 5, 8, 6, 3], [2, 4, 9, 5, 8, 6, 3]]
    with pytest.raises(VocabularyError, match="E2"):
        Tokenizer(tmp_path / "v.txt", lower_case=True, added_tokens=["[E2]"], max_seq_len=16)


def test_a_text_that_does_not_fit_is_cut_and_flagged(vocabulary: Path) -> None:
    [cut, whole] = Tokenizer(vocabulary, lower_case=True, max_seq_len=4)(["oil oil oil", "oil oil"])
    assert (len(cut.ids), cut.truncated, whole.truncated) == (4, True, False)


def test_a_word_of_more_than_100_characters_is_unknown(vocabulary: Path) -> None:
    assert pieces(vocabulary, "oil" * 34) == ["[CLS]", "[UNK]", "[SEP]"]


def test_another_vocabulary_than_the_bundles_is_refused(vocabulary: Path) -> None:
    with pytest.raises(VocabularyError, match="expected sha256 0000"):
        Tokenizer(vocabulary, lower_case=True, max_seq_len=8, expected_sha256="0000")


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("[PAD]\n[UNK]\noil\n")
    with pytest.raises(VocabularyError, match="CLS"):
        Tokenizer(tmp_path / "v.txt", lower_case=True, max_seq_len=8)
