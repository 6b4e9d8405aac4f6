"""Faults in a variant's file: in rows of tables that no golden text reads, in the precision, and in
weights that lie beside the graph.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks.faults import graphs, rows
from benchmarks.faults.catalogue import Fault, sealed_anew
from benchmarks.faults.graphs import FP16, FP32, INT8
from slipway.contract import artifact, bundle
from slipway.contract.bundle import Golden

Rows = NDArray[np.int64]
Table = NDArray[Any]  # [rows, hidden]: FP32, FP16, or uint8
Change = Callable[[Table], Table]
_WEIGHTS = "weights.bin"
_CUT = 2 / 3  # of the longest sequence: the golden texts that are kept are shorter


# Rows that no golden text reads


def _table(graph: onnx.GraphProto, name: str) -> onnx.TensorProto:
    """Return the table of that name in any precision."""
    return next(entry for entry in graph.initializer if entry.name.startswith(name) and len(entry.dims) == 2)


def change_rows(graph: onnx.GraphProto, name: str, which: Callable[[int], Rows], change: Change) -> None:
    """Change rows of a table; `which` chooses them out of so many."""
    tensor = _table(graph, name)
    values = numpy_helper.to_array(tensor).copy()
    chosen = which(len(values))
    values[chosen] = change(values[chosen])
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _golden(run: Path) -> Golden:
    return bundle.load_golden(bundle.load(run / "bundle"))


def _change_words(run: Path, variant: str, change: Change, most: int | None = None) -> None:
    """Change the embeddings of word pieces that no golden text has; [PAD] is read by none."""
    golden = _golden(run)

    def unread(pieces: int) -> Rows:
        return np.setdiff1d(np.arange(1, pieces), golden.ids.ids)[:most]

    graphs.edited(run, variant, partial(change_rows, name="word_embeddings", which=unread, change=change))


def _change_segments(run: Path, variant: str, change: Change) -> None:
    """Change the embedding of the second segment, which single texts do not have."""
    graphs.edited(run, variant, partial(change_rows, name="type_embeddings", which=lambda _: np.array([1]), change=change))


def _keep_short(run: Path) -> tuple[int, int]:
    """Leave long golden rows out; return the longest kept, and the longest there may be."""
    source = bundle.load(run / "bundle")
    golden, most = bundle.load_golden(source), int(source.max_seq_len * _CUT)
    rows.keep(run, golden, np.flatnonzero(golden.ids.lengths <= most))
    return most, source.max_seq_len


def _change_late_positions(run: Path, variant: str, change: Change) -> None:
    """Change positions beyond the golden texts', which are shorter than those served."""
    start, end = _keep_short(run)
    graphs.edited(
        run, variant, partial(change_rows, name="position_embeddings", which=lambda _: np.arange(start, end), change=change)
    )


def _forget_late_words(run: Path) -> None:
    start, end = _keep_short(run)
    graphs.edited(run, FP32, partial(graphs.forget, after=start, longest=end))


def _shift_positions(run: Path) -> None:
    graphs.edited(
        run,
        FP32,
        partial(change_rows, name="position_embeddings", which=np.arange, change=lambda values: np.roll(values, 1, axis=0)),
    )


def _shuffled(values: Table) -> Table:
    return np.asarray(np.random.default_rng(0).permutation(values))


def _nan(values: Table) -> Table:
    return np.full_like(values, np.nan)


def _zeros(values: Table) -> Table:
    return np.full_like(values, 128 if values.dtype == np.uint8 else 0)


# Precision


def _copy_model(run: Path, source: str, target: str) -> None:
    """Put another variant's file into an artifact."""
    directory = run / "artifacts" / target
    (directory / "model.onnx").unlink()
    shutil.copyfile(run / "artifacts" / source / "model.onnx", directory / "model.onnx")
    graphs.seal(directory)


def _store_only(run: Path) -> None:
    """Store every kernel in FP16, and cast it to FP32 before it is multiplied."""
    directory = run / "artifacts" / FP16
    model = onnx.load(run / "artifacts" / FP32 / "model.onnx")
    for tensor in [entry for entry in model.graph.initializer if len(entry.dims) == 2]:
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.stored"))
        model.graph.node.insert(0, graphs.node("Cast", f"{name}.stored", name, to=onnx.TensorProto.FLOAT))
    graphs.save(model, directory / "model.onnx")
    graphs.seal(directory)


def _silence_head(graph: onnx.GraphProto) -> None:
    """Zero the values of the first eighth of the first layer's attention."""
    tensor = next(entry for entry in graph.initializer if entry.name == "layers.0.value.kernel")
    values = numpy_helper.to_array(tensor).copy()
    values[:, : values.shape[1] // 8] = 0
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _train_another(graph: onnx.GraphProto) -> None:
    """Replace the head's kernel by a random one."""
    tensor = next(entry for entry in graph.initializer if entry.name == "classifier.kernel")
    values = np.random.default_rng(0).normal(0, 0.02, list(tensor.dims)).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


# Weights beside the graph


def _outside(run: Path, change: Callable[[Path], object]) -> None:
    """Put the weights into a file of their own, and seal the artifact; `change` it before."""
    directory = run / "artifacts" / FP32
    model = onnx.load(directory / "model.onnx")
    (directory / "model.onnx").unlink()
    onnx.save(model, directory / "model.onnx", save_as_external_data=True, location=_WEIGHTS, size_threshold=0)
    change(directory / _WEIGHTS)
    graphs.seal(directory)


def _outside_unlisted(run: Path) -> None:
    _outside(run, lambda _: None)
    sealed_anew(run / "artifacts" / FP32, artifact.MANIFEST, beside=(_WEIGHTS,))


def _outside_elsewhere(run: Path) -> None:
    """Refer to weights in the artifact next to it."""
    directory = run / "artifacts" / FP32
    _outside(run, lambda path: path.rename(path.parents[1] / INT8 / _WEIGHTS))
    model = onnx.load(directory / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = f"../{INT8}/{_WEIGHTS}" if entry.key == "location" else entry.value
    graphs.save(model, directory / "model.onnx")
    graphs.seal(directory)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])  # of which there is no link


def _of(variant: str, name: str, plant: Callable[[Path], object], caught_by: str) -> Fault:
    return Fault(name, "graph", plant, partial(graphs.shown, variant=variant), caught_by)


def _edit(edit: graphs.Edit) -> Callable[[Path], None]:
    return partial(graphs.edited, variant=FP32, edit=edit)


def _words(variant: str, change: Change, most: int | None = None) -> Callable[[Path], None]:
    return partial(_change_words, variant=variant, change=change, most=most)


_PROBES = "of the logits of probe rows"
_NOT_FINITE = "probe rows with NaN or Inf"
_MOVED = "max |Δlogit| of probe rows"

FAULTS = (
    _of(INT8, "embeddings that no golden text reads, shuffled", _words(INT8, _shuffled), _PROBES),
    _of(INT8, "embeddings that no golden text reads, zero", _words(INT8, _zeros), _PROBES),
    _of(FP16, "embeddings that no golden text reads, NaN", _words(FP16, _nan), _NOT_FINITE),
    _of(FP16, "embeddings that no golden text reads, four times as large", _words(FP16, lambda values: values * 4), _MOVED),
    _of(FP16, "NaN in one embedding that no golden text reads", _words(FP16, _nan, 1), _NOT_FINITE),
    _of(FP16, "one embedding that no golden text reads, zero", _words(FP16, _zeros, 1), _MOVED),
    _of(FP16, "the second segment's embedding zero", partial(_change_segments, variant=FP16, change=_zeros), _MOVED),
    _of(
        FP16,
        "positions beyond the golden texts', shuffled",
        partial(_change_late_positions, variant=FP16, change=_shuffled),
        _MOVED,
    ),
    _of(FP16, "positions beyond the golden texts', NaN", partial(_change_late_positions, variant=FP16, change=_nan), _NOT_FINITE),
    _of(FP32, "texts longer than the golden ones, cut", _forget_late_words, _MOVED),
    _of(FP32, "positions moved by one", _shift_positions, "max |Δlogit|"),
    _of(FP32, "an attention head that is silent", _edit(_silence_head), "max |Δlogit|"),
    _of(FP32, "a head that was never trained", _edit(_train_another), "flip rate"),
    _of(FP16, "FP32 in an artifact that says FP16", partial(_copy_model, source=FP32, target=FP16), "the multiplications not fp16"),
    _of(FP16, "FP16 that is only stored", _store_only, "the multiplications not fp16"),
    _of(
        INT8,
        "FP32 in an artifact that says INT8",
        partial(_copy_model, source="ort_fp32", target=INT8),
        "the multiplications not int8",
    ),
    _of(FP32, "FP16 in an artifact that says FP32", partial(_copy_model, source=FP16, target=FP32), "the multiplications not fp32"),
    _of(FP32, "external weights that are missing", partial(_outside, change=lambda path: path.unlink()), "no such file"),
    _of(FP32, "external weights that are cut short", partial(_outside, change=_cut_short), "bytes"),
    _of(FP32, "external weights outside of the artifact", _outside_elsewhere, "below"),
    _of(FP32, "external weights that the manifest does not list", _outside_unlisted, "only the files artifact.json lists"),
)
