"""The models of a repository as the rules see them, and the findings that rules make of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from slipway import errors
from slipway.errors import ManifestError
from slipway.lint.protobufs import ModelConfig

CONFIG = "config.pbtxt"
ENSEMBLE = "ensemble"
_NUMBER = re.compile(r"\s*[+-]?[0-9]+")  # what Triton's std::stoll reads of a directory's name
LARGEST = 2**63 - 1  # of 64 bits
_NO_VERSIONS = ("warmup", "initial_state", "configs")
BACKEND_OF_PLATFORM = {
    "ensemble": ENSEMBLE,
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
    "tensorrt_plan": "tensorrt",
    "torch_aoti": "pytorch",
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
_GRAPHDEF = "model.graphdef"
_FILE_OF_PLATFORM = {"tensorflow_graphdef": _GRAPHDEF, "torch_aoti": "model.pt2"}  # of backends with two formats
PLACEHOLDER = re.compile(r"\$\{[^{}]*\}")  # of a template that was not filled in
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a repository; `str` gives it in four lines.

    `severity` error: Triton refuses the model, stalls, ends, or can answer no request; warning: it
    loads the model, which then does not do what its file says.
    """

    severity: Severity
    model: str  # its directory's name; "" for the repository itself
    where: str  # file:field, relative to the repository; file:line, if it cannot be parsed
    rule: str  # its name, such as "dims"; a rule may be broken in several places
    expected: str
    found: str
    since: str = ""  # the version that began to refuse it, where earlier ones load it; "" for all

    def __str__(self) -> str:
        about = f"{self.model}: {self.rule}" if self.model else self.rule
        about += f" (since {self.since})" if self.since else ""
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
    config: Any  # protobufs.ModelConfig; empty where there is no file, or one that cannot be parsed
    has_config: bool
    parse_error: Finding | None = None  # a warning where Triton reads the file all the same

    @property
    def name(self) -> str:
        return self.directory.name

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Name → version for every directory that Triton takes for one, such as 2 for 2_old."""
        names = [path.name for path in self.directory.iterdir() if path.is_dir()]
        return {name: number for name in sorted(names) if (number := _version_number(name)) is not None}

    @cached_property
    def versions(self) -> tuple[Path, ...]:
        """The directories whose names are those that Triton opens, in the order of numbers."""
        right = [name for name, number in self.numbers.items() if name == str(number) and 0 <= number <= LARGEST]
        return tuple(self.directory / name for name in sorted(right, key=int))

    @cached_property
    def served(self) -> frozenset[int]:
        """The versions that version_policy lets Triton load, as its VersionsToLoad does."""
        policy = self.config.version_policy
        present = {number for number in self.numbers.values() if abs(number) <= LARGEST}
        chosen = policy.WhichOneof("policy_choice")
        if chosen == "specific":
            return frozenset(present & set(policy.specific.versions))
        if chosen == "all" or (chosen is None and self.config.HasField("version_policy")):
            return frozenset(present)
        count = policy.latest.num_versions if chosen else 1
        return frozenset(sorted(present, reverse=True)[:count])

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
        known = next((backends[file] for file in sorted(files & backends.keys())), "")
        return known or ("" if declared else self.name.partition(".")[2])

    @property
    def is_known(self) -> bool:
        """Whether the rules know what its backend reads and refuses."""
        return self.backend in _DEFAULT_FILE and not self.config.runtime

    @cached_property
    def model_file(self) -> str:
        """The file or directory that the backend opens in a version; "" if only it knows which."""
        if self.config.default_model_filename:
            return str(self.config.default_model_filename)
        if self.config.platform in _FILE_OF_PLATFORM:
            return _FILE_OF_PLATFORM[self.config.platform]
        return _DEFAULT_FILE.get(self.backend, "")

    @property
    def auto_completed(self) -> bool:
        """True if the backend fills in inputs or outputs while it loads the model."""
        return not (self.config.input and self.config.output)

    def path(self, *names: str) -> Path:
        """Return a path in the model's directory as Triton joins it: a "/" in front is dropped."""
        return self.directory.joinpath(*(name.lstrip("/") for name in names))

    def finding(self, severity: Severity, rule: str, at: str, expected: str, found: str) -> Finding:
        """Return a finding; `at` is file:field, relative to the model's directory."""
        return Finding(severity, self.name, f"{self.name}/{at}", rule, expected, found)

    def error(self, rule: str, field: str, expected: str, found: str) -> Finding:
        return self.finding("error", rule, f"{CONFIG}:{field}", expected, found)

    def by_backend(self, rule: str, field: str, expected: str, found: str) -> Finding:
        """Return what the known backends refuse; another one may take it."""
        return self.finding("error" if self.is_known else "warning", rule, f"{CONFIG}:{field}", expected, found)

    def warning(self, rule: str, field: str, expected: str, found: str) -> Finding:
        return self.finding("warning", rule, f"{CONFIG}:{field}", expected, found)

    def outside(self, rule: str, field: str, file: str, since: str) -> Finding:
        """Return a warning for a file outside of the model, which a later Triton refuses."""
        expected = f"a file in the directory {self.name}"
        return replace(self.warning(rule, field, expected, f"{file}, outside of it"), since=since)

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
            fix=errors.command("lint", repository.parent) if repository.is_dir() else _look_around(repository),
        )
    directories = sorted(path for path in repository.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: _read_model(path) for path in directories}


def _look_around(missing: Path) -> str:
    """Return the command that shows what lies where a path stops being one."""
    nearest = next(path for path in (missing.absolute(), *missing.absolute().parents) if path.exists())
    return shlex.join(["ls", str(nearest)])


def _read_model(directory: Path) -> ModelDirectory:
    path = directory / CONFIG
    if path.is_dir():
        fault = _parse_error(directory, "", "a file", "a directory: Triton ends")
        return ModelDirectory(directory, ModelConfig(), has_config=True, parse_error=fault)
    if not path.is_file():
        return ModelDirectory(directory, ModelConfig(), has_config=False)
    try:
        data = path.read_bytes()
    except OSError as error:
        fault = _parse_error(directory, "", "a file that can be read", error.strerror or str(error))
        return ModelDirectory(directory, ModelConfig(), has_config=True, parse_error=fault)
    text = data.decode("utf-8", "replace")
    try:
        config = text_format.Parse(text, ModelConfig())
        return ModelDirectory(directory, config, has_config=True, parse_error=_not_utf8(directory, data))
    except text_format.ParseError as error:
        line, reason = error.GetLine() or 1, str(error)
    except ValueError as error:  # a number out of its field's range: protobuf does not say where
        line, reason = 0, str(error)
    expected = "protobuf text with the fields of Triton's ModelConfig"
    if text.startswith("\ufeff"):
        expected, reason = "text without a byte order mark in front", "EF BB BF"
    elif line and (placeholder := PLACEHOLDER.search(text.splitlines()[line - 1])):
        expected = f"a value in the place of {placeholder.group()}"
    fault = _parse_error(directory, f":{line}" if line else "", expected, reason)
    return ModelDirectory(directory, ModelConfig(), has_config=True, parse_error=fault)


def _parse_error(directory: Path, line: str, expected: str, found: str) -> Finding:
    return Finding("error", directory.name, f"{directory.name}/{CONFIG}{line}", "config-parse", expected, found)


def _not_utf8(directory: Path, data: bytes) -> Finding | None:
    """Return a warning for bytes that are not UTF-8: Triton takes them, clients do not."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{directory.name}/{CONFIG}:{1 + data[: error.start].count(10)}"
        return Finding("warning", directory.name, where, "config-encoding", "UTF-8", f"byte {data[error.start]:02X}")
    return None


def _version_number(name: str) -> int | None:
    if name in _NO_VERSIONS or (len(name) > 1 and name.startswith("0")):
        return None
    number = _NUMBER.match(name)
    return int(number.group()) if number else None


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
