"""The files of an artifact's model: it may keep its weights in others, which it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from slipway import errors
from slipway.contract import manifest
from slipway.contract.artifact import Artifact
from slipway.errors import ParityError


def link_model(converted: Artifact, target: Path) -> None:
    """Link the model to `target`, and beside it every file that it refers to, under its own name.

    Raises ParityError when one of them is not a file of the artifact, whose answers were compared.
    """
    manifest.link(converted.model, target)
    link_external(converted, target.parent)


def link_external(converted: Artifact, directory: Path) -> None:
    """Link the files that the model refers to into `directory`. Raises as link_model."""
    for name in _external_files(converted.model) if converted.variant.format == "onnx" else ():
        if name not in converted.facts["files"]:
            raise ParityError(
                f"{converted.variant.name} has weights in a file that was not compared",
                expected=f"{name} among the files of the artifact",
                found=", ".join(converted.facts["files"]),
                where=str(converted.model),
                fix=errors.command("export", converted.directory.parents[1]),
            )
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        manifest.link(converted.directory / name, directory / name)


def _external_files(model: Path) -> list[str]:
    """Return the names of the files that tensors lie in, relative to the model, sorted.

    Every tensor counts: initializers, sparse ones, attributes, those of subgraphs and functions.
    """
    tensors = _tensors(onnx.load(model, load_external_data=False))
    return sorted({entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"})


def _tensors(message: Any) -> Iterator[onnx.TensorProto]:
    if isinstance(message, onnx.TensorProto):  # has no messages in it, and may be gigabytes
        yield message
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in (value,) if hasattr(value, "ListFields") else value:
                yield from _tensors(inner)
