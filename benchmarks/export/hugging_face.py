"""Imported Hugging Face weights beside transformers: the largest difference of a logit.

Random models of each family and task are made and asked by transformers, in an environment of its
own (requirements/pytorch.txt says how it is made; any newer one will do), and imported here. Writes
benchmarks/records/hugging_face.json:

    python -m benchmarks.export.hugging_face --python .tools/pytorch/bin/python
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Signed, Table
from slipway import errors, provenance
from slipway.contract import manifest
from slipway.contract.ragged import INPUTS

_ASKED = "asked.npz"  # beside each model: what transformers was asked, and answered
_VERSIONS = "versions.json"
_LIMIT = 1e-4  # of a difference, in standard deviations of the logits
_ROWS, _TOKENS, _PIECES = 64, 48, 1000
_SMALL = {"layers": 2, "hidden": 64, "heads": 4, "fed": 128}
_BASE = {"layers": 12, "hidden": 768, "heads": 12, "fed": 3072}
# Name → family, task, sizes, and what else its configuration says.
_MODELS: dict[str, tuple[str, str, dict[str, int], dict[str, Any]]] = {
    "BERT": ("Bert", "SequenceClassification", _SMALL, {}),
    "BERT, approximate GELU, epsilon 1e-5": (
        "Bert",
        "SequenceClassification",
        _SMALL,
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5},
    ),
    "BERT, a tagger": ("Bert", "TokenClassification", _SMALL, {}),
    "BERT, of BERT-base's size": ("Bert", "SequenceClassification", _BASE, {}),
    "DistilBERT": ("DistilBert", "SequenceClassification", _SMALL, {}),
    "DistilBERT, a tagger": ("DistilBert", "TokenClassification", _SMALL, {}),
    "ELECTRA": ("Electra", "SequenceClassification", _SMALL, {"embedding_size": _SMALL["hidden"]}),
    "ELECTRA, a tagger": ("Electra", "TokenClassification", _SMALL, {"embedding_size": _SMALL["hidden"]}),
}


@dataclass(frozen=True)
class ImportedModel:
    """One model's logits here and there."""

    model: str
    difference: float  # the largest |Δlogit|
    deviation: float  # standard deviation of the logits


@dataclass(frozen=True)
class HuggingFace(Signed):
    models: list[ImportedModel]
    theirs: dict[str, str]  # versions in the other environment


def main() -> int:
    arguments = _parse()
    if arguments.make:
        _make(arguments.make)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(arguments.python.absolute()), "-m", "benchmarks.export.hugging_face", "--make", scratch]
        subprocess.run(command, check=True)
        models = [_compared(name, Path(scratch) / str(number), Path(scratch)) for number, name in enumerate(_MODELS)]
        theirs = json.loads((Path(scratch) / _VERSIONS).read_text("utf-8"))
    record = HuggingFace(models=models, theirs=theirs, **provenance.record("tensorflow", "safetensors", "numpy"))
    harness.finish(arguments.record, record, table(record))
    return int(any(model.difference > _LIMIT * model.deviation for model in models))


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "hugging_face.json")
    parser.add_argument("--python", type=Path, default=Path(".tools/pytorch/bin/python"), help="one with torch and transformers")
    parser.add_argument("--make", type=Path, help="only make the models, in this directory: what that Python is called for")
    return parser.parse_args()


def table(record: HuggingFace) -> Table:
    rows = [(model.model, f"{model.difference:.1e}", f"{model.difference / model.deviation:.1e}") for model in record.models]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(record.theirs.items()))
    note = f"{_ROWS} rows of up to {_TOKENS} tokens, random weights; {versions}. `{record.command}`. {record.signature}"
    return Table("", ("model", "largest difference of a logit", "in standard deviations of the logits"), rows, note)


def _compared(name: str, model: Path, scratch: Path) -> ImportedModel:
    """Import a model and ask it what transformers was asked."""
    from slipway.encoder import hugging_face
    from slipway.tensorflow import SavedClassifier

    saved = scratch / f"saved_{model.name}"
    hugging_face.write_classifier(model, saved, harness.__name__)
    with np.load(model / _ASKED) as asked:
        feed, expected = {key: asked[key] for key in INPUTS}, asked["logits"]
    read = feed["input_mask"].astype(np.bool_) if expected.ndim == 3 else np.s_[:]
    difference = np.abs(SavedClassifier(saved).infer(feed)[read] - expected[read]).max()
    return ImportedModel(name, float(difference), float(expected[read].std()))


def _make(target: Path) -> None:
    """Make every model, and ask it; in the environment that has transformers."""
    import torch  # type: ignore[import-not-found, unused-ignore]
    import transformers  # type: ignore[import-not-found, unused-ignore]

    torch.manual_seed(0)
    random = np.random.default_rng(0)
    for number, (family, task, sizes, more) in enumerate(_MODELS.values()):
        model = getattr(transformers, f"{family}For{task}")(_config(transformers, family, sizes, more)).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():  # larger than a fresh model's: answers depend on every weight
                scale = 1.0 if "embeddings" in name else 1.5 / sizes["hidden"] ** 0.5
                weight.normal_(0, scale) if weight.ndim == 2 else weight.add_(0.1 * torch.randn_like(weight))
        model.save_pretrained(target / str(number), safe_serialization=True)
        mask = (np.arange(_TOKENS) < random.integers(3, _TOKENS + 1, (_ROWS, 1))).astype(np.int32)
        ids = random.integers(5, _PIECES, mask.shape).astype(np.int32) * mask
        types = (np.arange(_TOKENS) > _TOKENS // 2).astype(np.int32) * mask if family != "DistilBert" else np.zeros_like(mask)
        tensors = [torch.from_numpy(values).long() for values in (ids, mask, types)]
        asked = {"input_ids": tensors[0], "attention_mask": tensors[1]}
        with torch.no_grad():
            logits = model(**asked, **({"token_type_ids": tensors[2]} if family != "DistilBert" else {})).logits.numpy()
        np.savez(target / str(number) / _ASKED, logits=logits, **dict(zip(INPUTS, (ids, mask, types), strict=True)))
    manifest.write_json(target / _VERSIONS, {name: importlib.metadata.version(name) for name in ("torch", "transformers")})


def _config(transformers: Any, family: str, sizes: dict[str, int], more: dict[str, Any]) -> Any:
    common = {"vocab_size": _PIECES, "max_position_embeddings": 64, "num_labels": 3}
    names = {"layers": "num_hidden_layers", "hidden": "hidden_size", "heads": "num_attention_heads", "fed": "intermediate_size"}
    if family == "DistilBert":
        names = {"layers": "n_layers", "hidden": "dim", "heads": "n_heads", "fed": "hidden_dim"}
    return getattr(transformers, f"{family}Config")(**common, **{names[key]: size for key, size in sizes.items()}, **more)


if __name__ == "__main__":
    errors.run(main)
