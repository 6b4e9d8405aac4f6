"""What ort_fp32 is measured against: the same weights in transformers' BERT, exported by PyTorch, fused by ONNX Runtime.

Runs in an environment of its own (requirements.txt beside this file says how it is made). Reads a canonical ONNX file, writes
peer.<kind>.onnx for every kind of KINDS, and peers.json:

    .tools/pytorch/bin/python -m benchmarks.pytorch.export_peer --canonical runs/fused_latency/canonical.onnx \\
        --directory runs/fused_latency
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch  # type: ignore[import-not-found, unused-ignore]
import transformers  # type: ignore[import-not-found, unused-ignore]
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import AttentionMaskFormat, FusionOptions

from benchmarks.pytorch.weights import state_dict
from export import canonical_graph, fused_graph
from export.bert import Bert
from train import errors, manifest, provenance
from train.ragged import INPUTS, Feed, Ragged

# What ONNX Runtime's optimizer can make of BERT's attention: (format of the mask, separate projections of query, key and value).
KINDS = {
    "mask_index": (AttentionMaskFormat.MaskIndexEnd, False),  # its default; right for padding at the end only
    "mask": (AttentionMaskFormat.AttentionMask, False),
    "multi_head": (AttentionMaskFormat.AttentionMask, True),
}
LIMIT = 1e-4  # largest |Δlogit| between a peer and the canonical graph
_OPSET = 17


def main() -> int:
    arguments = _parse()
    bert = canonical_graph.read(arguments.canonical)
    if bert is None or bert.pooler is None:
        raise errors.ConversionError(
            "there is no peer for this model",
            expected="a canonical ONNX file of a text classifier, as export/canonical_graph.py writes it",
            found="a tagger" if bert else "another writer's graph",
            where=str(arguments.canonical),
            fix="python -m benchmarks.random_bert --directory runs/fused_latency",
        )
    arguments.directory.mkdir(parents=True, exist_ok=True)
    peers = make(bert, arguments.canonical, arguments.directory)
    record = {"peers": peers, **provenance.record("torch", "transformers", "onnx", "onnxruntime", "numpy")}
    manifest.write_json(arguments.directory / "peers.json", record)
    for peer in peers:
        print(f"{peer['kind']:<12}{peer['file']:<24}|Δlogit| ≤ {peer['difference']:.1e}  {peer['operators']}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--canonical", type=Path, required=True, help="the canonical ONNX file (variant onnx_fp32)")
    parser.add_argument("--directory", type=Path, required=True, help="where the peers go")
    return parser.parse_args()


def make(bert: Bert, canonical: Path, directory: Path) -> list[dict[str, Any]]:
    """Write every kind of peer, checked against the canonical graph; returns what is known of each."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        exported = Path(scratch) / "exported.onnx"
        _export(_model(bert), exported)
        return [_fuse(kind, bert, exported, canonical, directory / f"peer.{kind}.onnx") for kind in KINDS]


def _model(bert: Bert) -> Any:
    config = transformers.BertConfig(
        vocab_size=bert.word_embeddings.shape[0],
        hidden_size=bert.hidden,
        num_hidden_layers=len(bert.layers),
        num_attention_heads=bert.heads,
        intermediate_size=bert.layers[0].intermediate.bias.shape[0],
        max_position_embeddings=bert.position_embeddings.shape[0],
        type_vocab_size=bert.type_embeddings.shape[0],
        layer_norm_eps=bert.epsilon,
        hidden_act={"exact": "gelu", "approximate": "gelu_pytorch_tanh"}[bert.gelu],
        num_labels=bert.classifier.bias.shape[0],
        attn_implementation="eager",  # of scaled_dot_product_attention's graph it makes the same
    )
    model = transformers.BertForSequenceClassification(config)
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state_dict(bert).items()})
    return model.eval()


def _export(model: Any, target: Path) -> None:
    """With the TorchScript exporter (dynamo=False): of the newer one's graph ONNX Runtime 1.23 fuses no Attention."""

    class WithOurInputs(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits

    example = torch.ones((2, 8), dtype=torch.int32)  # int32 as ours: with int64 three Casts would be left in the graph
    torch.onnx.export(
        WithOurInputs(),
        (example, example, torch.zeros_like(example)),
        target,
        input_names=list(INPUTS),
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in INPUTS} | {"logits": {0: "batch"}},
        opset_version=_OPSET,
        dynamo=False,
    )


def _fuse(kind: str, bert: Bert, exported: Path, canonical: Path, target: Path) -> dict[str, Any]:
    options = FusionOptions("bert")
    options.attention_mask_format, options.use_multi_head_attention = KINDS[kind]
    fused = optimizer.optimize_model(
        str(exported),
        model_type="bert",
        num_heads=bert.heads,
        hidden_size=bert.hidden,
        opt_level=1,  # constants folded first; 2 and 99 fuse no more
        optimization_options=options,
    )
    fused.save_model_to_file(str(target))
    operators = fused_operators(target, bert)
    return {"kind": kind, "file": target.name, "difference": _difference(canonical, target, bert), "operators": operators}


def fused_operators(path: Path, bert: Bert) -> dict[str, int]:
    """How often each fused operator is in the file. Raises ConversionError when one is missing: a weak peer proves nothing."""
    expected = fused_graph.expected_operators(len(bert.layers), bert.gelu)
    kinds = Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
    attention = "MultiHeadAttention" if kinds["MultiHeadAttention"] else "Attention"
    expected[attention] = expected.pop("Attention")
    found = {kind: kinds[kind] for kind in expected}
    if found != expected:
        raise errors.ConversionError(
            "ONNX Runtime did not fuse the whole export",
            expected=str(expected),
            found=str(found),
            where=str(path),
            fix="install the versions of benchmarks/pytorch/requirements.txt",
        )
    return found


def _difference(canonical: Path, peer: Path, bert: Bert) -> float:
    """Largest |Δlogit| on random rows of 2 to 40 tokens, padded at the end. Raises ParityError beyond LIMIT."""
    random = np.random.default_rng(0)
    rows = [random.integers(1, bert.word_embeddings.shape[0], length, np.int32) for length in (2, 7, 16, 33, 40)]
    halves = [(np.arange(len(row)) >= len(row) // 2).astype(np.int32) for row in rows]
    feed = Ragged.of(rows, halves).padded()
    ours, theirs = (_logits(path, feed) for path in (canonical, peer))
    difference = float(np.abs(ours - theirs).max())
    if not difference <= LIMIT:
        raise errors.ParityError(
            "the peer answers otherwise, so its speed says nothing",
            expected=f"|Δlogit| ≤ {LIMIT}",
            found=str(difference),
            where=str(peer),
            fix="compare benchmarks/pytorch/weights.py with the model's configuration",
        )
    return difference


def _logits(path: Path, feed: Feed) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


if __name__ == "__main__":
    errors.run(main)
