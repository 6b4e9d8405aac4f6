"""Write SavedModels as a person might bring them, each with its vocab.txt, labels.txt and labelled
rows.

    TARGET/pairs     a BERT built as the official modules (EinsumDense, dict inputs)
    TARGET/tagger    exact GELU, a label for every token, input names and types of another library
    TARGET/unknown   no BERT: mean of embeddings, input names and types of another library
    TARGET/random    the same, saved with its dropout

Untrained weights, large enough to tell texts apart; the labels are the models' own answers.
Independent of slipway/encoder/bert.py.

    python tests/support/models/foreign_models.py TARGET
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from slipway.contract.ragged import INPUTS, Feed, Ragged, infer_rows
from slipway.contract.tokenizer import Tokenizer
from slipway.tensorflow import tf, tf_keras

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##s"]
WORDS = [first + second for first in "bdfgklmnprst" for second in ("a", "e", "i", "o", "u", "am", "en", "ol", "us", "ick")]
HIDDEN, HEADS, LAYERS, FED, POSITIONS = 32, 4, 2, 64, 40
ROWS, LABELS = 400, 3
SEEDS = itertools.count()
THEIRS = ("input_ids", "attention_mask", "token_type_ids")
layers = tf_keras.layers


def normal(deviation: float) -> Any:
    """A new one for every weight: one object gives the same values each time."""
    return tf_keras.initializers.RandomNormal(stddev=deviation, seed=next(SEEDS))


class Block(layers.Layer):
    """One transformer layer as the official modules have it: every product an EinsumDense, the
    activation a layer of its own.
    """

    def __init__(self, name: str, gelu: Callable[[Any], Any]) -> None:
        super().__init__(name=name)
        self.attention = layers.MultiHeadAttention(HEADS, HIDDEN // HEADS, kernel_initializer=normal(0.25), name="self_attention")
        self.attention_norm = layers.LayerNormalization(epsilon=1e-12, name="self_attention_layer_norm")
        self.intermediate = layers.EinsumDense(
            "abc,cd->abd", (None, FED), bias_axes="d", kernel_initializer=normal(0.25), name="intermediate"
        )
        self.activation = layers.Activation(gelu)
        self.fed = layers.EinsumDense("abc,cd->abd", (None, HIDDEN), bias_axes="d", kernel_initializer=normal(0.25), name="output")
        self.norm = layers.LayerNormalization(epsilon=1e-12, name="output_layer_norm")

    def call(self, hidden: Any, mask: Any) -> Any:
        hidden = self.attention_norm(hidden + self.attention(hidden, hidden, attention_mask=mask))
        return self.norm(hidden + self.fed(self.activation(self.intermediate(hidden))))


class Positions(layers.Layer):
    def build(self, _: Any) -> None:
        self.table = self.add_weight("embeddings", (POSITIONS, HIDDEN), initializer=normal(0.3))

    def call(self, words: Any) -> Any:
        return self.table[: tf.shape(words)[1]]


def bert(approximate: bool, tagger: bool) -> tf_keras.Model:
    inputs = {name: layers.Input((None,), dtype=tf.int32, name=name) for name in INPUTS}
    words = layers.Embedding(len(PIECES) + len(WORDS), HIDDEN, embeddings_initializer=normal(1.0), name="word_embeddings")
    types = layers.Embedding(2, HIDDEN, embeddings_initializer=normal(1.0), name="type_embeddings")
    hidden = words(inputs["input_word_ids"]) + types(inputs["input_type_ids"])
    hidden += Positions(name="position_embedding")(inputs["input_word_ids"])
    hidden = layers.LayerNormalization(epsilon=1e-12, name="embeddings/layer_norm")(hidden)
    mask = inputs["input_mask"][:, tf.newaxis, :]
    for number in range(LAYERS):
        hidden = Block(f"transformer/layer_{number}", lambda x: tf_keras.activations.gelu(x, approximate))(hidden, mask)
    if not tagger:
        hidden = layers.Dense(HIDDEN, activation="tanh", kernel_initializer=normal(1.0), name="pooler_transform")(hidden[:, 0])
    head = layers.Dense(LABELS, kernel_initializer=normal(1.0), name="my_own/head")
    model = tf_keras.Model(inputs, head(hidden))
    some = np.random.default_rng(0).integers(len(PIECES), len(PIECES) + len(WORDS), (500, 12))
    answers = model({"input_word_ids": some, "input_mask": np.ones_like(some), "input_type_ids": np.arange(12) // 6 + 0 * some})
    head.bias.assign(-tf.reduce_mean(tf.reshape(answers, (-1, LABELS)), axis=0))  # so that every label is answered
    return model


def save(model: tf_keras.Model, target: Path, renamed: bool) -> None:
    module = tf.Module()
    module.kept = model.variables

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS])
    def logits(input_word_ids: Any, input_mask: Any, input_type_ids: Any) -> Any:
        return {"logits": model(dict(zip(INPUTS, (input_word_ids, input_mask, input_type_ids), strict=True)))}

    # The names and types of another library.
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64, name=name) for name in THEIRS])
    def theirs(input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        return logits(*(tf.cast(one, tf.int32) for one in (input_ids, attention_mask, token_type_ids)))

    tf.saved_model.save(module, str(target), signatures={"serving_default": theirs if renamed else logits})


class Unknown(tf.Module):
    def __init__(self, dropped: float = 0.0) -> None:
        self.dropped = dropped
        random = np.random.default_rng(0)
        self.table = tf.Variable(random.normal(size=(len(PIECES) + len(WORDS), LABELS)), dtype=tf.float32, name="a_table")

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64, name=name) for name in ("input_ids", "attention_mask")])
    def answer(self, input_ids: Any, attention_mask: Any) -> Any:
        mask = tf.cast(attention_mask, tf.float32)[:, :, tf.newaxis]
        embedded = tf.gather(self.table, input_ids)
        embedded = tf.nn.dropout(embedded, self.dropped) if self.dropped else embedded
        return {"scores": tf.reduce_sum(embedded * mask, axis=1) / tf.reduce_sum(mask, axis=1)}

    def infer(self, feed: Feed) -> np.ndarray:
        ids, mask = (tf.cast(feed[name], tf.int64) for name in INPUTS[:2])
        return self.answer(ids, mask)["scores"].numpy()


def ours(model: tf_keras.Model) -> Callable[[Feed], np.ndarray]:
    return lambda feed: model(feed).numpy()


def sentences(random: np.random.Generator, count: int) -> list[list[str]]:
    """Words, some of them of two word pieces."""
    words = [random.choice(WORDS, random.integers(3, 14)) for _ in range(count)]
    return [[word + "s" * int(random.random() < 0.2) for word in sentence] for sentence in words]


def clearest(logits: np.ndarray, rows: Ragged, wanted: int) -> list[int]:
    """The rows whose answers stand out most, of a tagger by their least clear token: what rounding
    to 8 bits does not turn.
    """
    least, most = np.sort(logits, axis=1)[:, -2:].T
    margin = most - least
    if len(logits) != len(rows):
        margin = np.minimum.reduceat(margin, rows.offsets[:-1])
    return sorted(np.argsort(-margin)[:wanted])


def write_rows(target: Path, random: np.random.Generator, infer: Callable[..., Any]) -> None:
    tokenize = Tokenizer(target / "vocab.txt", lower_case=True, max_seq_len=POSITIONS)
    words = sentences(random, 4 * ROWS)
    if target.name == "tagger":
        tokens = tokenize.of_words(words)
    elif target.name == "pairs":
        pairs = [(" ".join(one[:2]), " ".join(one[2:])) for one in words]
        tokens = tokenize(pairs)
    else:
        tokens = tokenize([" ".join(one) for one in words])
    rows = Ragged.of([one.ids for one in tokens], [one.types for one in tokens])
    logits = infer_rows(infer, rows, 64)
    answers = logits.argmax(axis=1)
    chosen = clearest(logits, rows, ROWS)
    if target.name == "tagger":
        lines = []
        for i in chosen:
            first = {word: at for at, word in reversed(list(enumerate(tokens[i].words))) if word is not None}
            lines += [f"{word} {'ABC'[answers[rows.offsets[i] + first[n]]]}" for n, word in enumerate(words[i])] + [""]
        (target / "rows.conll").write_text("\n".join(lines) + "\n")
    elif target.name == "pairs":
        lines = [f"{pairs[i][0]}\t{pairs[i][1]}\t{'ABC'[answers[i]]}" for i in chosen]
        (target / "rows.tsv").write_text("text\ttext_b\tlabel\n" + "\n".join(lines) + "\n")
    else:
        lines = [f"{' '.join(words[i])},{answers[i]}" for i in chosen]
        (target / "rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n")


def main() -> None:
    tf_keras.utils.set_random_seed(1)
    unknown, random = Unknown(), Unknown(dropped=0.1)
    models = {"pairs": bert(approximate=True, tagger=False), "tagger": bert(approximate=False, tagger=True)}
    for name in ("pairs", "tagger", "unknown", "random"):
        target = Path(sys.argv[1]) / name
        target.mkdir(parents=True)
        (target / "vocab.txt").write_text("\n".join(PIECES + WORDS) + "\n")
        (target / "labels.txt").write_text("A\nB\nC\n")
        if name in models:
            save(models[name], target / "model", renamed=name == "tagger")
        else:
            saved = random if name == "random" else unknown
            tf.saved_model.save(saved, str(target / "model"), signatures={"serving_default": saved.answer})
        infer = ours(models[name]) if name in models else unknown.infer
        write_rows(target, np.random.default_rng(2), infer)


if __name__ == "__main__":
    main()
