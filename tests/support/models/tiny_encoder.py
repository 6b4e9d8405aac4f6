"""Make a TF Hub BERT small enough for tests: 2 layers of 32, its vocabulary the words of the
generated corpus.

python tests/support/models/tiny_encoder.py CORPUS_DIRECTORY TARGET
"""

import re
import string
import sys
from pathlib import Path

import tf_keras

from slipway.encoder import bert, saving
from train.data import corpus

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    rows = corpus.load(source).train
    words = sorted({word for row in rows for word in re.findall(r"\w+|[^\w\s]", row.text.lower())})
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
    pieces = list(dict.fromkeys([*_SPECIAL, *words, *letters]))
    tf_keras.utils.set_random_seed(2)  # else each run of the tests judges another model
    model = bert.build(bert.Size(len(pieces), 64, hidden=32, layers=2, heads=2, intermediate=64))
    target.mkdir(parents=True)
    saving.save_encoder(model, ("\n".join(pieces) + "\n").encode(), target)


if __name__ == "__main__":
    main()
