"""BERTs of well-known sizes with random weights: speed does not depend on what was learned.

Writes canonical.onnx and fused.onnx:

    python -m benchmarks.models --size minilm-l6 --directory runs/fused_latency
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.harness import Signed
from export.graph import canonical, fused
from export.graph.bert import Array, Bert, Dense, Layer, Norm
from slipway import errors


@dataclass(frozen=True)
class BertSize:
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int = 30522  # bert-base-uncased's, as are the next two
    positions: int = 512
    types: int = 2


SIZES = {
    "tiny": BertSize(layers=2, hidden=32, heads=2, intermediate=64, vocabulary=128, positions=64),
    "minilm-l6": BertSize(layers=6, hidden=384, heads=12, intermediate=1536),  # the default encoder's
    "bert-base": BertSize(layers=12, hidden=768, heads=12, intermediate=3072),
    "bert-large": BertSize(layers=24, hidden=1024, heads=16, intermediate=4096),
}
INITIALIZER = 0.02  # standard deviation of BERT's own initial weights: Devlin et al. 2019, initializer_range


@dataclass(frozen=True)
class PeerFile:
    """One model file that benchmarks/export/pytorch_peer.py wrote."""

    kind: str
    file: str
    difference: float  # largest |Δlogit| to the canonical graph
    operators: dict[str, int]  # fused operator → how often the file has it


@dataclass(frozen=True)
class PeerFiles(Signed):
    """peers.json beside those files."""

    peers: list[PeerFile]


def main() -> int:
    arguments = _parse()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    bert = make(arguments.size, arguments.seed)
    for name, graph in (("canonical", canonical), ("fused", fused)):
        onnx.save(graph.write(bert), arguments.directory / f"{name}.onnx")
        print(f"{name:<10}  {arguments.directory / name}.onnx")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--size", choices=SIZES, default="minilm-l6")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, required=True, help="where the two files go")
    return parser.parse_args()


def make(size: str, seed: int = 0, labels: int = 4) -> Bert:
    """Return a text classifier of one of SIZES, with seeded random weights.

    Weights, biases and beta are N(0, 0.02²), gamma is 1 + N(0, 0.02²): activations are those of an
    untrained BERT, and a bias or a gamma that a graph forgets changes the answer.
    """
    shape = SIZES[size]
    random = np.random.default_rng(seed)

    def array(*dimensions: int) -> Array:
        return random.standard_normal(dimensions, np.float32) * np.float32(INITIALIZER)

    def dense(inputs: int, outputs: int) -> Dense:
        return Dense(array(inputs, outputs), array(outputs))

    def norm() -> Norm:
        return Norm(1 + array(shape.hidden), array(shape.hidden))

    def layer() -> Layer:
        query, key, value, output = (dense(shape.hidden, shape.hidden) for _ in range(4))
        fed = dense(shape.hidden, shape.intermediate), dense(shape.intermediate, shape.hidden)
        return Layer(query, key, value, output, norm(), *fed, norm())

    return Bert(
        word_embeddings=array(shape.vocabulary, shape.hidden),
        position_embeddings=array(shape.positions, shape.hidden),
        type_embeddings=array(shape.types, shape.hidden),
        embeddings_norm=norm(),
        layers=tuple(layer() for _ in range(shape.layers)),
        pooler=dense(shape.hidden, shape.hidden),
        classifier=dense(shape.hidden, labels),
        heads=shape.heads,
        epsilon=1e-12,
        gelu="exact",
    )


if __name__ == "__main__":
    errors.run(main)
