"""The models of a repository as the rules see them, and the findings that rules make of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from slipway import errors
from slipway.errors import ManifestError

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
# backend → what it opens in a version directory when default_model_filename is not set
_DEFAULT_FILE = {
    "onnxruntime": "model.onnx",
    "openvino": "model.xml",
    "python": "model.py",
    "pytorch": "model.pt",
    "tensorflow": "model.savedmodel",
    "tensorrt": "model.plan",
}
_GRAPHDEF = "model.graphdef"  # TensorFlow's other one, by platform
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a repository; `str` gives it in four lines.

    `severity` error: Triton refuses the model, stalls, or answers wrongly; warning: it loads the
    model, which then does not do what its file says.
    """

    severity: Severity
    model: str  # its directory's name; "" for the repository itself
    where: str  # file:field, relative to the repository; file:line, if it cannot be parsed
    rule: str  # its name, such as "dims"; a rule may be broken in several places
    expected: str
    found: str

    def __str__(self) -> str:
        about = f"{self.model}: {self.rule}" if self.model else self.rule
        return f"{self.severity}: {about}\n  expected  {self.expected}\n  found     {self.found}\n  where     {self.where}"


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Something that could be wrong and was not looked at."""

    model: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"not checked: {self.model}: {self.what}: {self.why}"


RuleResult = Finding | Unchecked


@dataclass(frozen=True)
class ModelDirectory:
    """One model of a repository: its config.pbtxt, and the versions on disk."""

    directory: Path
    config: Any  # pb.ModelConfig; empty where there is no file, or one that cannot be parsed
    has_config: bool
    parse_error: Finding | None = None

    @property
    def name(self) -> str:
        return self.directory.name

    @cached_property
    def versions(self) -> tuple[Path, ...]:
        paths = [path for path in self.directory.iterdir() if path.is_dir() and VERSION.fullmatch(path.name)]
        return tuple(sorted(paths, key=lambda path: int(path.name)))

    @cached_property
    def backend(self) -> str:
        """The backend, declared or as Triton would complete it; "" if neither says which."""
        if self.config.platform == ENSEMBLE or self.config.HasField("ensemble_scheduling"):
            return ENSEMBLE
        declared = str(self.config.backend or BACKEND_OF_PLATFORM.get(self.config.platform, ""))
        return declared or self._backend_by_file()

    def _backend_by_file(self) -> str:
        if self.config.platform:
            return ""
        declared = self.config.default_model_filename
        files = {declared} if declared else {path.name for version in self.versions[:1] for path in version.iterdir()}
        backends = {**{file: backend for backend, file in _DEFAULT_FILE.items()}, _GRAPHDEF: "tensorflow"}
        return next((backends[file] for file in sorted(files & backends.keys())), "")

    @cached_property
    def model_file(self) -> str:
        """The file or directory that the backend opens in a version; "" if only it knows which."""
        if self.config.default_model_filename:
            return str(self.config.default_model_filename)
        if self.config.platform == "tensorflow_graphdef":
            return _GRAPHDEF
        return _DEFAULT_FILE.get(self.backend, "")

    @property
    def auto_completed(self) -> bool:
        """True if the backend fills in inputs or outputs while it loads the model."""
        return not (self.config.input and self.config.output)

    def finding(self, severity: Severity, rule: str, at: str, expected: str, found: str) -> Finding:
        """Return a finding; `at` is file:field, relative to the model's directory."""
        return Finding(severity, self.name, f"{self.name}/{at}", rule, expected, found)

    def error(self, rule: str, field: str, expected: str, found: str) -> Finding:
        return self.finding("error", rule, f"{CONFIG}:{field}", expected, found)

    def warning(self, rule: str, field: str, expected: str, found: str) -> Finding:
        return self.finding("warning", rule, f"{CONFIG}:{field}", expected, found)

    def unchecked(self, what: str, why: str) -> Unchecked:
        return Unchecked(self.name, what, why)


def read_models(repository: Path) -> dict[str, ModelDirectory]:
    """Return name → model for every directory in `repository` that is not hidden.

    Raises ManifestError when `repository` is no model repository.
    """
    if not repository.is_dir() or (repository / CONFIG).exists():
        raise ManifestError(
            f"{repository} is not a model repository",
            expected=f"a directory with one directory for each model, and a {CONFIG} in each of them",
            found=f"a model: {CONFIG} lies in it" if repository.is_dir() else "no such directory",
            where=str(repository),
            fix=errors.command("lint", repository.parent if repository.is_dir() else "DIR"),
        )
    directories = sorted(path for path in repository.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: _read_model(path) for path in directories}


def _read_model(directory: Path) -> ModelDirectory:
    path = directory / CONFIG
    if not path.is_file():
        return ModelDirectory(directory, pb.ModelConfig(), has_config=False)
    try:
        config = text_format.Parse(path.read_text("utf-8"), pb.ModelConfig())
        return ModelDirectory(directory, config, has_config=True)
    except text_format.ParseError as error:
        line, reason = f":{error.GetLine() or 1}", str(error)
    except UnicodeDecodeError as error:
        newlines = error.object[: error.start].count(b"\n")
        line, reason = f":{1 + newlines}", str(error)
    except ValueError as error:  # a number out of its field's range: protobuf does not say where
        line, reason = "", str(error)
    expected = "protobuf text with the fields of ModelConfig as Triton 2.51 knows them"
    fault = Finding("error", directory.name, f"{directory.name}/{CONFIG}{line}", "config-parse", expected, reason)
    return ModelDirectory(directory, pb.ModelConfig(), has_config=True, parse_error=fault)


def type_name(data_type: int) -> str:
    """Return FP32 for TYPE_FP32; INVALID for none, and for a number that Triton does not know."""
    known = data_type in pb.DataType.values()
    return str(pb.DataType.Name(data_type)).removeprefix("TYPE_") if known else "INVALID"


def names_of(tensors: Iterable[Any]) -> set[str]:
    """Return the names of these inputs or outputs of a ModelConfig."""
    return {tensor.name for tensor in tensors}


def listed(items: Iterable[object]) -> str:
    """Return the items in one line for a finding, a set sorted; "none" if there are none."""
    ordered = sorted(items, key=str) if isinstance(items, set | frozenset) else items
    return ", ".join(map(str, ordered)) or "none"
