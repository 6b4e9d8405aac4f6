"""A Triton model repository as it lies on disk: one Model for each directory in it. Nothing is judged here.

Backends and file names are completed as Triton does where config.pbtxt leaves them out (its AutoCompleteBackendFields).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from serving import model_config
from serving.findings import Finding, Unchecked
from train.errors import ManifestError

CONFIG = "config.pbtxt"
ENSEMBLE = "ensemble"
VERSION = re.compile(r"[1-9][0-9]*")  # Triton ignores other directories, also those that begin with 0
BACKEND_OF_PLATFORM = {
    "ensemble": ENSEMBLE,
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
    "tensorrt_plan": "tensorrt",
}
# What a backend opens in a version directory when default_model_filename is not set. Of TensorFlow's two by platform.
DEFAULT_FILE = {
    "onnxruntime": "model.onnx",
    "openvino": "model.xml",
    "python": "model.py",
    "pytorch": "model.pt",
    "tensorflow": "model.savedmodel",
    "tensorrt": "model.plan",
}
_GRAPHDEF = "model.graphdef"


@dataclass(frozen=True)
class Model:
    directory: Path
    config: Any  # pb.ModelConfig; empty where there is no file, or one that cannot be parsed
    has_config: bool
    parse_error: Finding | None = None

    @property
    def name(self) -> str:
        return self.directory.name

    @cached_property
    def versions(self) -> tuple[Path, ...]:
        found = [path for path in self.directory.iterdir() if path.is_dir() and VERSION.fullmatch(path.name)]
        return tuple(sorted(found, key=lambda path: int(path.name)))

    @cached_property
    def backend(self) -> str:
        """As declared, or as Triton would complete it; "" where neither says."""
        if self.config.platform == ENSEMBLE or self.config.HasField("ensemble_scheduling"):
            return ENSEMBLE
        declared = str(self.config.backend or BACKEND_OF_PLATFORM.get(self.config.platform, ""))
        return declared or self._backend_by_file()

    def _backend_by_file(self) -> str:
        if self.config.platform:
            return ""
        named = self.config.default_model_filename
        there = {named} if named else {path.name for version in self.versions[:1] for path in version.iterdir()}
        known = {**{file: backend for backend, file in DEFAULT_FILE.items()}, _GRAPHDEF: "tensorflow"}
        return next((known[file] for file in sorted(there & known.keys())), "")

    @cached_property
    def model_file(self) -> str:
        """Name of the file or directory that the backend opens in a version directory; "" where only the backend knows."""
        if self.config.default_model_filename:
            return str(self.config.default_model_filename)
        if self.config.platform == "tensorflow_graphdef":
            return _GRAPHDEF
        return DEFAULT_FILE.get(self.backend, "")

    @property
    def auto_completed(self) -> bool:
        """Whether inputs and outputs are left for the backend to fill in while it loads the model."""
        return not (self.config.input and self.config.output)

    def finding(self, severity: Literal["error", "warning"], rule: str, at: str, expected: str, found: str) -> Finding:
        """`at`: file:field, relative to the model's directory."""
        return Finding(severity, self.name, f"{self.name}/{at}", rule, expected, found)

    def error(self, rule: str, field: str, expected: str, found: str) -> Finding:
        """An error in a field of config.pbtxt."""
        return self.finding("error", rule, f"{CONFIG}:{field}", expected, found)

    def warning(self, rule: str, field: str, expected: str, found: str) -> Finding:
        return self.finding("warning", rule, f"{CONFIG}:{field}", expected, found)

    def unchecked(self, what: str, why: str) -> Unchecked:
        return Unchecked(self.name, what, why)


def read(repository: Path) -> dict[str, Model]:
    """Name → Model of every directory in `repository`, but for hidden ones. Raises ManifestError when it is no repository."""
    if not repository.is_dir() or (repository / CONFIG).exists():
        raise ManifestError(
            f"{repository} is not a model repository",
            expected=f"a directory with one directory for each model, and a {CONFIG} in each of them",
            found=f"a model: {CONFIG} lies in it" if repository.is_dir() else "no such directory",
            where=str(repository),
            fix=f"python -m serving.check_repository {repository.parent if repository.is_dir() else 'runs/demo/model_repository'}",
        )
    directories = sorted(path for path in repository.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: _read_model(path) for path in directories}


def _read_model(directory: Path) -> Model:
    path = directory / CONFIG
    if not path.is_file():
        return Model(directory, pb.ModelConfig(), has_config=False)
    try:
        return Model(directory, model_config.read(path.read_text("utf-8")), has_config=True)
    except text_format.ParseError as error:
        at, found = f"{directory.name}/{CONFIG}:{error.GetLine() or 1}", str(error)
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        at, found = f"{directory.name}/{CONFIG}:{line}", str(error)
    except ValueError as error:  # a number out of its field's range: protobuf does not say where
        at, found = f"{directory.name}/{CONFIG}", str(error)
    expected = "protobuf text with the fields of ModelConfig as Triton 2.51 knows them"
    return Model(directory, pb.ModelConfig(), True, Finding("error", directory.name, at, "config-parse", expected, found))


def type_name(data_type: int) -> str:
    """TYPE_FP32 → FP32; INVALID where none is set, or a number that Triton does not know."""
    known = data_type in pb.DataType.values()
    return str(pb.DataType.Name(data_type)).removeprefix("TYPE_") if known else "INVALID"


def listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names)) or "none"
