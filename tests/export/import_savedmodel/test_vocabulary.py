from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.import_savedmodel import vocabulary
from export.import_savedmodel.vocabulary import check_vocabulary
from slipway.errors import ConversionError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "oil", "up"]


def model(tmp_path: Path, **assets: str) -> Path:
    """A SavedModel's directory with these assets: `vocab="…"` becomes assets/vocab.txt."""
    (tmp_path / "model/assets").mkdir(parents=True)
    for name, content in assets.items():
        (tmp_path / f"model/assets/{name}.txt").write_text(content, "utf-8")
    return tmp_path / "model"


def check(saved_model: Path, pieces: list[str]) -> None:
    check_vocabulary(saved_model, pieces, Path("vocab.txt"), lambda own: f"again --vocab {own}")


def test_two_pieces_that_were_exchanged_are_named_by_the_first_line(tmp_path: Path) -> None:
    saved_model = model(tmp_path, vocab="\n".join(PIECES) + "\n")
    with pytest.raises(ConversionError) as refused:
        check(saved_model, [*PIECES[:4], "up", "oil"])
    assert refused.value.where == "vocab.txt:5"
    assert "'oil' in line 5" in refused.value.expected
    assert refused.value.found == "'up'"
    assert refused.value.fix == f"again --vocab {saved_model}/assets/vocab.txt"


def test_a_vocabulary_that_is_longer_or_shorter_than_the_models_own_is_refused(tmp_path: Path) -> None:
    saved_model = model(tmp_path, vocab="\n".join(PIECES))
    for pieces in (PIECES[:-1], [*PIECES, "more"]):
        with pytest.raises(ConversionError, match="not this model's"):
            check(saved_model, pieces)


@pytest.mark.parametrize("own", ["\n".join(PIECES), "\r\n".join(PIECES) + "\r\n"])
def test_the_models_own_vocabulary_is_taken(tmp_path: Path, own: str) -> None:
    check(model(tmp_path, bert_vocab=own), PIECES)


def test_an_asset_that_is_no_vocabulary_of_word_pieces_is_not_compared(tmp_path: Path) -> None:
    check(model(tmp_path, label_vocab="World\nSports\n", other="[CLS]\n[SEP]\n"), PIECES)


def test_a_model_without_assets_is_taken(tmp_path: Path) -> None:
    check(tmp_path, PIECES)


TEXT = "[PAD]\n[UNK]\n[CLS]\n[SEP]\noil\n\nüber\n\u2028\n"
READ = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "oil", "", "über", "\u2028"]


@pytest.mark.parametrize(
    "data",
    [TEXT.encode(), TEXT.replace("\n", "\r\n").encode(), TEXT.encode("utf-8-sig"), TEXT[:-1].encode()],
    ids=["plain", "CRLF", "byte order mark", "no last line end"],
)
def test_a_vocabulary_is_read_by_line_whatever_editor_wrote_it(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(data)
    assert vocabulary.read(tmp_path / "vocab.txt", "again", "anew") == READ


def test_a_vocabulary_is_read_out_of_hugging_faces_tokenizer(tmp_path: Path) -> None:
    vocab = {piece: number for number, piece in enumerate(READ[:5])}
    added = [{"id": 5, "content": "[E1]"}, {"id": 2, "content": "[CLS]"}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece", "vocab": vocab}, "added_tokens": added}))
    assert vocabulary.read(tmp_path / "tokenizer.json", "again", "anew") == [*READ[:5], "[E1]"]


BROKEN = {  # bytes, what is found, the fix's beginning
    "UTF-16": (TEXT.encode("utf-16"), "UTF-16", "iconv -f utf-16"),
    "Latin-1": (TEXT.replace("\u2028", "").encode("latin-1"), "0xfc in line 7", "iconv -f cp1252"),
    "counts": (TEXT.replace("\n", "\t12\n").encode(), "counts behind a tab", "cut -f1"),
    "no [UNK]": (TEXT.replace("[UNK]", "[unused1]").encode(), "no [UNK]", "again, with the --vocab"),
    "lower case": (TEXT.lower().encode(), "but [pad], [unk], [cls], [sep]", "again, with the --vocab"),
    "[PAD] second": (TEXT.replace("[PAD]\n[UNK]", "[UNK]\n[PAD]").encode(), "[PAD] in line 2", "again, with the --vocab"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_another_file_than_a_vocabulary_is_told_by_what_it_is(name: str, tmp_path: Path) -> None:
    data, found, fix = BROKEN[name]
    (tmp_path / "my vocab.txt").write_bytes(data)
    with pytest.raises(ConversionError, match="not a BERT's") as refused:
        vocabulary.read(tmp_path / "my vocab.txt", "again", "anew")
    assert found in refused.value.found
    assert refused.value.fix.startswith(fix)
