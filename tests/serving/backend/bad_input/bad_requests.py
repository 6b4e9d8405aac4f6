"""The rows of docs/bad_input.md that both protocols have: a request that a server should refuse,
and what it says.

The server's models are tiny.classifiers: seven word pieces, eight tokens at most, and no row for
the word "breaks".
"""

from __future__ import annotations

import struct
from typing import Any

from tests.serving.backend.bad_input.bad_input import NO_ANSWER, Ask, Case, Input, both, strings


def text(*texts: Any, name: str = "text", shape: tuple[int, ...] | None = None, raw: bytes | None = None) -> Input:
    return Input(name, "BYTES", (len(texts), 1) if shape is None else shape, texts, raw)


def ids(*row: int, name: str = "input_word_ids", shape: tuple[int, ...] | None = None, raw: bytes | None = None) -> Input:
    return Input(name, "INT32", (1, len(row)) if shape is None else shape, row, raw)


def ask(*inputs: Input, **how: Any) -> Ask:
    return Ask(inputs, **how)


def ask_ids(*row: int, **how: Any) -> Ask:
    return Ask((ids(*row, **how),), model="ids")


def ask_raw(raw: bytes, **how: Any) -> Ask:
    """One text in these bytes, which are sent as they are."""
    return Ask((text(shape=(1, 1), raw=raw),), **how)


def ask_pair(first: str, *second: str) -> Ask:
    return Ask((text(first), text(*second, name="text_b")), model="pairs")


def ask_words(*words: str) -> Ask:
    return Ask((text(*words, name="words", shape=(1, len(words))),), model="tagger")


def ask_types(*row: int) -> Ask:
    return Ask((ids(2, 4, 3), ids(*row, name="input_type_ids")), model="pair_ids")


GOOD, GOOD_IDS = ask(text("good oil")), ask_ids(2, 4, 1, 3)
ANSWER, LOGITS = "label yes, truncated false, tokens 4", "logits 0.0 0.25"
UNKNOWN = "Request for unknown model: '{}' is not found"
INPUTS = "…expected {} inputs but got {} inputs for model '{}'…"
TYPE = "…inference input '{}' data-type is '{}', but model '{}' expects '{}'"
TEXT_FOR_IDS = ("input_word_ids", "BYTES", "ids", "INT32")
SHAPE = "…unexpected shape for input 'text' for model 'text_classifier'. Expected [-1,1], got {}…"
COUNT = "…expected {} string elements for inference input 'text' for model 'text_classifier', got {}"
SIZE = "…input byte size mismatch for input 'input_word_ids' for model 'ids'. Expected {}, got {}"
NO_ROWS = "{} is an empty batch: expected a shape of at least 1 row (request …)"
EMPTY = "{} is empty: expected at least one character that is not white space (request …)"
DROPPED = "{} is empty: the model reads none of its characters (request …)"
NOT_UTF8 = "text 0 is not UTF-8: byte {} (request …)"
TOO_LONG = "text 0 is too long: expected at most 1048576 bytes, found 20000000 (request …)"
INCOMPLETE = "…incomplete string data for inference input 'text', expecting string of length {} but only 4 bytes available"
FAILED = "the model failed; its log has the reason (request …)"
NO_LENGTH = "…incomplete string length indicator for inference input 'text'…, expecting 4 bytes but only {} bytes available…"
PADDING = "row 0: expected padding, id 0, only after the tokens, found it at {} (request …)"
NO_CLASSES = "class result not available for output due to unsupported type 'BYTES'"
TYPES_SHAPE = "expected input_type_ids of the shape of input_word_ids, [1, 3], found [1, 2] (request …)"

CASES: dict[str, list[Case]] = {
    "Names": [
        *both("no such model", ask(text("good"), model="nobody"), "404", UNKNOWN.format("nobody")),
        *both("no such version", ask(text("good"), version="7"), "404", UNKNOWN.replace("'{}'", "'text_classifier' version 7")),
        *both("a version of 30 digits", ask(text("good"), version="9" * 30), "400", "failed to get model version from…"),
        *both("an input of another name", ask(text("good", name="txt")), "400", "unexpected inference input 'txt' for model…"),
        *both("an input too many", ask(text("good"), text("oil", name="y")), "400", INPUTS.format(1, 2, "text_classifier")),
        *both("no input", ask(), "400", INPUTS.format(1, 0, "text_classifier")),
        *both("an input twice", ask(text("good"), text("oil")), "400", "…input 'text' already exists in request"),
        *both(
            "an output of another name",
            ask(text("good"), outputs=("nope",)),
            "400",
            "unexpected inference output 'nope' for…",
        ),
        *both("a pair without its second text", ask(text("good"), model="pairs"), "400", INPUTS.format(2, 1, "pairs")),
        *both("a parameter", ask(text("good"), parameters=(("top", 3),)), "400", "expected no parameters, found 'top' (request …)"),
    ],
    "Types": [
        *both("ids for a text", ask(ids(7, name="text")), "400", TYPE.format("text", "INT32", "text_classifier", "BYTES")),
        *both("a text for ids", ask(text("x", name="input_word_ids"), model="ids"), "400", TYPE.format(*TEXT_FOR_IDS)),
    ],
    "Shapes": [
        *both("no shape", ask(text("good", shape=())), "400", "…input 'text' has no shape but model requires batch dimension for…"),
        *both("no batch dimension", ask(text("good", shape=(1,))), "400", SHAPE.format("[1]")),
        *both("a dimension too many", ask(text("good", shape=(1, 1, 1))), "400", SHAPE.format("[1,1,1]")),
        *both("two texts in a row", ask(text("good", "oil", shape=(1, 2))), "400", SHAPE.format("[1,2]")),
        *both("33 texts", ask(text(*["good"] * 33)), "400", "…inference request batch-size must be <= 32 for 'text_classifier'"),
        *both("33 rows of ids", ask_ids(*[2] * 33, shape=(33, 1)), "400", "…inference request batch-size must be <= 32 for 'ids'"),
        *both("no texts", ask(text(shape=(0, 1))), "400", COUNT.format(1, 0)),
        *both("no texts by shape, one sent", ask(text("good", shape=(0, 1), raw=strings("good"))), "400", NO_ROWS.format("text")),
        *both("no rows by shape, three ids sent", ask_ids(shape=(0, 3), raw=bytes(12)), "400", NO_ROWS.format("input_word_ids")),
        *both("rows of no ids", ask_ids(shape=(1, 0), raw=b""), "400", "expected 1 to 8 tokens, found 0 (request …)"),
        *both("a huge row of texts", ask(text("good", shape=(1, 2**62))), "400", SHAPE.format("[1,4611686018427387904]")),
        *both("a huge batch", ask(text("good", shape=(2**62, 4))), "400", SHAPE.format("[4611686018427387904,4]")),
        *both(
            "one text, two second ones",
            ask_pair("good", "good", "oil"),
            "400",
            "…batch size does not match other inputs…",
        ),
        *both("more texts than the shape says", ask_raw(strings("good", "oil")), "400", "…unexpected number of string elements 2…"),
        *both("fewer texts than the shape says", ask(text("good", shape=(2, 1))), "400", COUNT.format(2, 1)),
        *both("more ids than the shape says", ask_ids(shape=(1, 3), raw=bytes(16)), "400", SIZE.format(12, 16)),
        *both("fewer ids than the shape says", ask_ids(shape=(1, 3), raw=bytes(8)), "400", SIZE.format(12, 8)),
        *both("half an id", ask_ids(shape=(1, 3), raw=bytes(10)), "400", SIZE.format(12, 10)),
        *both("a length prefix that is too long", ask_raw(struct.pack("<I", 99) + b"good"), "400", INCOMPLETE.format(99)),
        *both("a length prefix of 4 GB", ask_raw(b"\xff\xff\xff\xffgood"), "400", INCOMPLETE.format(4294967295)),
        *both("a length prefix that is too short", ask_raw(struct.pack("<I", 2) + b"good"), "400", NO_LENGTH.format(2)),
        *both("half a length prefix", ask_raw(b"abc"), "400", NO_LENGTH.format(3)),
    ],
    "Texts": [
        *both("an empty text", ask(text("")), "400", EMPTY.format("text 0")),
        *both("white space, after a good text", ask(text("good", " \t\n\u3000")), "400", EMPTY.format("text 1")),
        *both("nothing but NUL, zero width and private use", ask(text("\0\u200b\ufeff\ue000")), "400", DROPPED.format("text 0")),
        *both("not UTF-8", ask_raw(strings(b"go\xffod")), "400", NOT_UTF8.format("0xff at offset 2")),
        *both("half a surrogate pair", ask_raw(strings(b"\xed\xa0\x80")), "400", NOT_UTF8.format("0xed at offset 0")),
        *both("20 MB", ask(text("good " * 4_000_000)), "400", TOO_LONG),
        *both("a text the engine fails on", ask(text("breaks")), "500", FAILED),
        *both("a text whose logits are NaN", ask(text("nan")), "500", FAILED),
        *both("an empty second text", ask_pair("good", " "), "400", EMPTY.format("text_b 0")),
        *both("a second text of zero width", ask_pair("good", "\u200b"), "400", DROPPED.format("text_b 0")),
        *both("a sentence without words", ask_words("", ""), "400", "text 0 has no words (request …)"),
        *both("a word of white space", ask_words("good", " ", "oil"), "400", EMPTY.format("text 0, word 1")),
    ],
    "Ids": [
        *both("an id beyond the vocabulary", ask_ids(2, 7, 3), "400", "expected ids from 0 to 6, found 2 to 7 (request …)"),
        *both("a negative id", ask_ids(2, -1, 3), "400", "expected ids from 0 to 6, found -1 to 3 (request …)"),
        *both("nine tokens", ask_ids(*[2] * 9), "400", "expected 1 to 8 tokens, found 9 (request …)"),
        *both("padding before a token", ask_ids(2, 0, 3), "400", PADDING.format(1)),
        *both("nothing but padding", ask_ids(0, 0, 0), "400", PADDING.format(0)),
        *both("type ids of another shape", ask_types(0, 0), "400", TYPES_SHAPE),
        *both("a type id of 2", ask_types(0, 2, 0), "400", "expected type ids 0 and 1, found 0 to 2 (request …)"),
    ],
    "Answered, and rightly": [
        *both("an unknown word", GOOD, "200", ANSWER),
        *both("NUL in a text", ask(text("go\0od oil")), "200", ANSWER),
        *both("a text of 1 MB", ask(text("good oil " * 111_000)), "200", "label yes, truncated true, tokens 8"),
        *both("padding after the tokens", ask_ids(2, 4, 1, 3, 0, 0), "200", LOGITS),
    ],
    "Answered, though it should not be: Triton looks no closer": [
        *both("an output twice", ask(text("good oil"), outputs=("label", "label")), "200", "label yes"),
        *both("a timeout, which has no effect", ask(text("good oil"), parameters=(("timeout", 1),)), "200", ANSWER),
        *both("a priority, which has no effect", ask(text("good oil"), parameters=(("priority", 7),)), "200", ANSWER),
        *both("a sequence, of a model that has none", ask(text("good oil"), parameters=(("sequence_id", 3),)), "200", ANSWER),
    ],
    "Never answered": [
        *both("no rows of no ids", ask_ids(shape=(0, 0), raw=b""), NO_ANSWER, "", wait=0.7),
        *both("no sentences of no words", ask(text(name="words", shape=(0, 0)), model="tagger"), NO_ANSWER, "", wait=0.7),
    ],
}
