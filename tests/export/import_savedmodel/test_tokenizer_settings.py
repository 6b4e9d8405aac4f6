"""How a tokenizer was set: given, told by files, by most pieces; the golden rows have the last
word.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.import_savedmodel import tokenizer_settings, vocabulary
from export.import_savedmodel.golden_rows import GoldenRows
from export.import_savedmodel.tokenizer_settings import Settings, compare, settings
from slipway.contract.ragged import Logits, Ragged
from slipway.contract.tokenizer import Tokenizer
from slipway.errors import ConversionError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNCASED, CASED = Settings(True, True, ()), Settings(False, False, ())
NOTHING = argparse.Namespace(lower_case=None, strip_accents=None, added_tokens=None)


def chosen(pieces: list[str], beside: Path, given: argparse.Namespace = NOTHING) -> Settings:
    return settings(given, [*SPECIAL, *pieces], beside, "again")[0]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["oil", "price"] * 50, UNCASED),
        ([*["oil", "price"] * 50, "<S>", "<T>", "[E1]", "[URL]"], UNCASED),
        ([*["oil", "price"] * 50, "X"], UNCASED),
        (["oil", "Price", "Up"] * 50, CASED),
        (["schön", "film", "müde"] * 50, Settings(True, False, ())),
        ([*["film", "buch"] * 500, "café"], UNCASED),
        (["新", "闻", "が"] * 50, UNCASED),
    ],
    ids=["uncased", "markers", "one capital", "cased", "umlauts", "one accent", "no case at all"],
)
def test_most_pieces_decide(pieces: list[str], expected: Settings, tmp_path: Path) -> None:
    assert chosen(pieces, tmp_path) == expected


FILES: list[tuple[str, dict[str, Any], Settings]] = [
    ("tokenizer_config.json", {"do_lower_case": False}, CASED),
    ("tokenizer_config.json", {"do_lower_case": True, "strip_accents": False}, Settings(True, False, ())),
    ("tokenizer_config.json", {"do_lower_case": True, "strip_accents": None}, UNCASED),
    ("tokenizer_config.json", {"additional_special_tokens": ["[E1]", "[E9]"]}, Settings(True, True, ("[E1]",))),
    ("tokenizer_config.json", {"added_tokens_decoder": {"5": {"content": "[E1]"}}}, Settings(True, True, ("[E1]",))),
    ("tokenizer.json", {"normalizer": {"type": "BertNormalizer", "lowercase": False, "strip_accents": None}}, CASED),
    (
        "tokenizer.json",
        {"normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": False}},
        Settings(True, False, ()),
    ),
    ("tokenizer.json", {"added_tokens": [{"content": "[CLS]"}, {"content": "[E1]"}]}, Settings(True, True, ("[E1]",))),
]


@pytest.mark.parametrize(("name", "content", "expected"), FILES)
def test_a_file_beside_the_vocabulary_says_how(name: str, content: dict[str, Any], expected: Settings, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    assert chosen(["oil", "price", "[E1]"], tmp_path) == expected


OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("tokenizer.json", {"model": {"type": "BPE"}}),
    ("tokenizer.json", {"normalizer": {"type": "BertNormalizer", "handle_chinese_chars": False}}),
    ("tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer"}),
    ("tokenizer_config.json", {"tokenizer_class": "BertJapaneseTokenizer"}),
    ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "tokenize_chinese_chars": False}),
]


@pytest.mark.parametrize(("name", "content"), OTHERS)
def test_another_kind_of_tokenizer_is_refused(name: str, content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ConversionError, match="another tokenizer than BERT's"):
        chosen(["oil"], tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", {"[E1]": 8, "[E2]": 9}),
        (
            "tokenizer_config.json",
            {"added_tokens_decoder": {"8": {"content": "[E1]"}, "9": {"content": "[E2]"}, "2": {"content": "[CLS]"}}},
        ),
        ("tokenizer.json", {"added_tokens": [{"id": 8, "content": "[E1]"}, {"id": 9, "content": "[E2]"}]}),
    ],
)
def test_added_tokens_lie_behind_the_vocabulary_and_stand_for_themselves(
    name: str, content: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    numbers = tokenizer_settings.added_numbers(tmp_path)
    pieces = vocabulary.with_added([*SPECIAL, "oil", "price", "up"], numbers, tmp_path / "vocab.txt", "again")
    assert pieces[8:] == ["[E1]", "[E2]"]
    assert set(settings(NOTHING, pieces, tmp_path, "again")[0].added_tokens) == {"[E1]", "[E2]"}
    with pytest.raises(ConversionError, match="not a BERT's"):
        vocabulary.with_added([*SPECIAL, "oil"], numbers, tmp_path / "vocab.txt", "again")


def test_what_is_given_counts_before_files(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    given = argparse.Namespace(lower_case=True, strip_accents=False, added_tokens="[E1],[E2]")
    assert chosen(["oil"], tmp_path, given) == Settings(True, False, ("[E1]", "[E2]"))


PIECES = [*SPECIAL, "schon", "schön", "Oil", "oil", "[E1]", "[", "]", "e1", "film"]


def answers(ids: Ragged) -> Logits:
    """A model that tells three labels by one piece each, and answers the first without them."""
    rows = np.zeros((len(ids), 3), np.float32)
    for row, (start, end) in enumerate(zip(ids.offsets, ids.offsets[1:], strict=False)):
        pieces = {PIECES[piece] for piece in ids.ids[start:end]}
        rows[row, 1 if pieces & {"schön", "Oil"} else 2 if "[E1]" in pieces else 0] = 1
    return rows


def better(texts: list[tuple[str, int]], have: Settings, tmp_path: Path) -> Settings | None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", "utf-8")
    rows = GoldenRows("single_text", [text for text, _ in texts] * 20, [label for _, label in texts] * 20)

    def tokenizer(other: Settings) -> Tokenizer:
        return Tokenizer.of(tmp_path / "vocab.txt", {**other.to_json(), "max_seq_len": 8})

    found = compare(have, rows, PIECES, tokenizer, answers)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([("schön", 1), ("schon", 0), ("film", 0)], Settings(True, False, ())),
        ([("Oil", 1), ("oil", 0), ("film", 0)], Settings(False, False, ())),
        ([("[E1] film", 2), ("film", 0), ("schon", 0)], Settings(True, True, ("[E1]",))),
        ([("schon", 0), ("film", 0), ("FILM", 0)], None),
    ],
    ids=["accents", "case", "markers", "nothing else is better"],
)
def test_a_setting_that_answers_more_rows_right_is_found(
    texts: list[tuple[str, int]], expected: Settings | None, tmp_path: Path
) -> None:
    assert better(texts, UNCASED, tmp_path) == expected


def test_labels_in_another_order_do_not_make_another_setting_better(tmp_path: Path) -> None:
    assert better([("schön", 0), ("schon", 1), ("film", 1)], Settings(True, False, ()), tmp_path) is None


def test_a_better_setting_is_refused_with_the_options_for_both() -> None:
    with pytest.raises(ConversionError) as refused:
        tokenizer_settings.refuse_better((Settings(True, False, ()), 0.875, 1.0), UNCASED, "by its pieces", "rows.csv", "again")
    assert "100.0%" in refused.value.expected
    assert (
        "again --lower-case --no-strip-accents; or, to keep what was found: again --lower-case --strip-accents" in refused.value.fix
    )
