"""The peers of ort_fp32: the same weights, exported by PyTorch and fused by ONNX Runtime.

Runs in an environment of its own (requirements/pytorch.txt says how it is made). Reads a
canonical ONNX file, writes peer.<kind>.onnx for every kind of KINDS, and peers.json:

    .tools/pytorch/bin/python -m benchmarks.export.pytorch_peer \\
        --canonical runs/fused_latency/canonical.onnx --directory runs/fused_latency
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import AttentionMaskFormat, FusionOptions

from benchmarks import harness
from benchmarks.models import PeerFile, PeerFiles
from export.graph import canonical, fused
from export.graph.bert import Array, Bert, Dense, Layer, Norm
from slipway import errors, provenance
from slipway.contract.ragged import INPUTS, Feed, Ragged

# The forms of attention that ONNX Runtime's optimizer can write:
# (format of the mask, separate projections of query, key and value).
KINDS = {
    "mask_index": (AttentionMaskFormat.MaskIndexEnd, False),  # its default; right for padding at the end only
    "mask": (AttentionMaskFormat.AttentionMask, False),
    "multi_head": (AttentionMaskFormat.AttentionMask, True),
}
LIMIT = 1e-4  # largest |Δlogit| between a peer and the canonical graph
_OPSET = 17


def main() -> int:
    arguments = _parse()
    bert = canonical.read(arguments.canonical)
    if bert is None or bert.pooler is None:
        raise errors.ConversionError(
            "there is no peer for this model",
            expected="a canonical ONNX file of a text classifier, as export/graph/canonical.py writes it",
            found="a tagger" if bert else "another writer's graph",
            where=str(arguments.canonical),
            fix="python -m benchmarks.models --directory runs/fused_latency",
        )
    arguments.directory.mkdir(parents=True, exist_ok=True)
    peers = make(bert, arguments.canonical, arguments.directory)
    signature = provenance.record("torch", "transformers", "onnx", "onnxruntime", "numpy")
    harness.write(arguments.directory / "peers.json", PeerFiles(peers=peers, **signature))
    for peer in peers:
        print(f"{peer.kind:<12}{peer.file:<24}|Δlogit| ≤ {peer.difference:.1e}  {peer.operators}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--canonical", type=Path, required=True, help="the canonical ONNX file (variant onnx_fp32)")
    parser.add_argument("--directory", type=Path, required=True, help="where the peers go")
    return parser.parse_args()


def make(bert: Bert, canonical_model: Path, directory: Path) -> list[PeerFile]:
    """Write every kind of peer, each compared with the canonical graph."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        exported = Path(scratch) / "exported.onnx"
        _export(_model(bert), exported)
        return [_fuse(kind, bert, exported, canonical_model, directory / f"peer.{kind}.onnx") for kind in KINDS]


def _model(bert: Bert) -> Any:
    import torch  # type: ignore[import-not-found, unused-ignore]
    import transformers  # type: ignore[import-not-found, unused-ignore]

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
        attn_implementation="eager",  # from scaled_dot_product_attention the optimizer makes the same graph
    )
    model = transformers.BertForSequenceClassification(config)
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state_dict(bert).items()})
    return model.eval()


def _export(model: Any, target: Path) -> None:
    """Export with TorchScript: ONNX Runtime 1.23 fuses no Attention of the newer exporter."""
    import torch

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


def _fuse(kind: str, bert: Bert, exported: Path, canonical_model: Path, target: Path) -> PeerFile:
    options = FusionOptions("bert")
    options.attention_mask_format, options.use_multi_head_attention = KINDS[kind]
    fused_model = optimizer.optimize_model(
        str(exported),
        model_type="bert",
        num_heads=bert.heads,
        hidden_size=bert.hidden,
        opt_level=1,  # constants folded first; 2 and 99 fuse no more
        optimization_options=options,
    )
    fused_model.save_model_to_file(str(target))
    return PeerFile(kind, target.name, _difference(canonical_model, target, bert), fused_operators(target, bert))


def fused_operators(path: Path, bert: Bert) -> dict[str, int]:
    """Count the fused operators of the file.

    Raises ConversionError when one is missing: a weak peer proves nothing.
    """
    expected = fused.expected_operators(len(bert.layers), bert.gelu)
    kinds = Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
    attention = "MultiHeadAttention" if kinds["MultiHeadAttention"] else "Attention"
    expected[attention] = expected.pop("Attention")
    counted = {kind: kinds[kind] for kind in expected}
    if counted != expected:
        raise errors.ConversionError(
            "ONNX Runtime did not fuse the whole export",
            expected=str(expected),
            found=str(counted),
            where=str(path),
            fix="install the versions of requirements/pytorch.txt",
        )
    return counted


def _difference(canonical_model: Path, peer: Path, bert: Bert) -> float:
    """Return the largest |Δlogit| on random rows of 2 to 40 tokens, padded at the end.

    Raises ParityError beyond LIMIT.
    """
    random = np.random.default_rng(0)
    rows = [random.integers(1, bert.word_embeddings.shape[0], length, np.int32) for length in (2, 7, 16, 33, 40)]
    halves = [(np.arange(len(row)) >= len(row) // 2).astype(np.int32) for row in rows]
    feed = Ragged.of(rows, halves).padded()
    difference = float(np.abs(_logits(canonical_model, feed) - _logits(peer, feed)).max())
    if not difference <= LIMIT:
        raise errors.ParityError(
            "the peer's answers differ, so its speed says nothing",
            expected=f"|Δlogit| ≤ {LIMIT}",
            found=str(difference),
            where=str(peer),
            fix="compare `state_dict` of benchmarks/export/pytorch_peer.py with the model's configuration",
        )
    return difference


def _logits(path: Path, feed: Feed) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def state_dict(bert: Bert) -> dict[str, Array]:
    """Return all parameters by transformers' names (BertForSequenceClassification)."""
    embeddings = "bert.embeddings."
    named = {
        embeddings + "word_embeddings.weight": bert.word_embeddings,
        embeddings + "position_embeddings.weight": bert.position_embeddings,
        embeddings + "token_type_embeddings.weight": bert.type_embeddings,
    }
    parts: list[tuple[str, Dense | Norm]] = [(embeddings + "LayerNorm", bert.embeddings_norm), ("classifier", bert.classifier)]
    if bert.pooler:
        parts.append(("bert.pooler.dense", bert.pooler))
    for number, layer in enumerate(bert.layers):
        parts += [(f"bert.encoder.layer.{number}.{name}", part) for name, part in _layer(layer)]
    for name, part in parts:
        weight, bias = (part.kernel.T, part.bias) if isinstance(part, Dense) else (part.gamma, part.beta)
        named |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return named


def _layer(layer: Layer) -> Iterator[tuple[str, Dense | Norm]]:
    yield "attention.self.query", layer.query
    yield "attention.self.key", layer.key
    yield "attention.self.value", layer.value
    yield "attention.output.dense", layer.attention_output
    yield "attention.output.LayerNorm", layer.attention_norm
    yield "intermediate.dense", layer.intermediate
    yield "output.dense", layer.output
    yield "output.LayerNorm", layer.output_norm


if __name__ == "__main__":
    errors.run(main)
