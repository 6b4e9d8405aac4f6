"""Two hundred hard strings get the ids of an independent WordPiece, in training and in export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.import_savedmodel.golden_rows import Columns, read_golden_rows
from slipway.contract import labelling, readers
from slipway.contract.tokenizer import Tokenizer
from tests.support import wordpiece

TEXTS = wordpiece.hard_strings(seed=5)
PIECES = wordpiece.vocabulary(TEXTS, seed=5)
LONGEST = 48


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hard") / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", "utf-8")
    return path


def expected(texts: list[str], lower_case: bool, longest: int) -> list[list[int]]:
    numbers = {piece: number for number, piece in enumerate(PIECES)}
    return [wordpiece.ids(text, numbers, lower_case, longest) for text in texts]


@pytest.mark.parametrize("longest", [LONGEST, 7])
@pytest.mark.parametrize("lower_case", [True, False])
def test_the_ids_are_those_of_the_published_algorithm(vocabulary: Path, lower_case: bool, longest: int) -> None:
    found = Tokenizer(vocabulary, lower_case=lower_case, max_seq_len=longest)(TEXTS)
    for text, one, wanted in zip(TEXTS, found, expected(TEXTS, lower_case, longest), strict=True):
        assert one.ids == wanted, ascii(text[:200])


def test_the_strings_are_hard_and_the_vocabulary_knows_most_of_them() -> None:
    ids = [one for row in expected(TEXTS, True, LONGEST) for one in row[1:-1]]
    assert len(TEXTS) == len(set(TEXTS)) == 200
    assert len(set(ids)) > 1000
    assert 0.02 < ids.count(1) / len(ids) < 0.5
    assert max(map(len, TEXTS)) == 1_000_000


@pytest.mark.parametrize("texts", [TEXTS[:40], TEXTS[-1:]])
def test_a_word_a_text_or_a_pair_give_the_same_pieces(vocabulary: Path, texts: list[str]) -> None:
    tokenize = Tokenizer(vocabulary, lower_case=True, max_seq_len=LONGEST)
    alone = [one.ids for one in tokenize(texts)]
    assert [one.ids for one in tokenize.of_words([[text] for text in texts])] == alone
    assert [one.ids[:-1] for one in tokenize([(text, "") for text in texts])] == [
        row if len(row) < LONGEST else row[:-2] + row[-1:] for row in alone
    ]


def test_training_and_export_read_a_file_into_these_ids(vocabulary: Path, tmp_path: Path) -> None:
    """But for texts that no corpus may hold: with NUL, larger than a field, of nothing that is
    read.
    """
    read = [text for text, ids in zip(TEXTS, expected(TEXTS, True, LONGEST), strict=True) if len(ids) > 2]  # [CLS], [SEP]
    texts = [text for text in read if "\0" not in text and len(text) <= readers.LONGEST_FIELD]
    assert len(texts) > 150
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text, "label": "A"}) + "\n" for text in texts))
    trained = [(row.text, 0) for row in readers.read(tmp_path / "rows.jsonl") if isinstance(row, readers.Row)]
    exported = read_golden_rows(tmp_path / "rows.jsonl", ["A", "B"], Columns(), "again")
    tokenize = Tokenizer(vocabulary, lower_case=True, max_seq_len=LONGEST)
    for examples in (trained, list(zip(exported.texts, exported.labels, strict=True))):
        encoded = labelling.encode(examples, "single_text", tokenize).rows
        assert [row.tolist() for row in encoded] == expected(texts, True, LONGEST)
