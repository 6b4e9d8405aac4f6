"""Rules on models of the Python backend: model.py is parsed, never run."""

from __future__ import annotations

import ast
import symtable
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from slipway.lint.models import Finding, ModelDirectory, RuleResult

_CLASS = "TritonPythonModel"
_BY_NAME = {"globals", "exec", "setattr", "__getattr__"}  # may bind a name that no statement shows
_INSIDE = "$$TRITON_MODEL_DIRECTORY"
_ENVIRONMENT, _FORCE = "EXECUTION_ENV_PATH", "FORCE_CPU_ONLY_INPUT_TENSORS"


def check_source(model: ModelDirectory, path: Path, at: str) -> Iterator[Finding]:
    """Check that a file parses and has the class TritonPythonModel."""
    source = path.read_bytes()
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source, path.name)
    except (SyntaxError, ValueError) as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        yield model.finding("error", "python-source", f"{at}{line}", f"a file that Python {version} parses", str(error))
        return
    if not _binds(tree, source):
        yield model.finding("error", "python-class", at, f"a class {_CLASS}, or that name imported or assigned", "none")


def _binds(tree: ast.Module, source: bytes) -> bool:
    """Return whether a module may have the class: its own, imported or assigned."""
    nodes = list(ast.walk(tree))
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in nodes):
        return True
    if {node.id for node in nodes if isinstance(node, ast.Name)} & _BY_NAME:
        return True
    if "__getattr__" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
        return True
    with warnings.catch_warnings(action="ignore"):
        table = symtable.symtable(source.decode("utf-8", "replace"), "model.py", "exec")
    if _CLASS not in table.get_identifiers():
        return False
    symbol = table.lookup(_CLASS)
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def check_python(model: ModelDirectory) -> Iterator[RuleResult]:
    """Check the parameters that the Python backend reads."""
    if model.backend != "python":
        return
    parameters = {key: value.string_value for key, value in model.config.parameters.items()}
    force = parameters.get(_FORCE, "no")
    if force not in ("yes", "no"):
        yield model.error("python-parameter", f"parameters[{_FORCE}].string_value", "yes or no", force)
    environment = parameters.get(_ENVIRONMENT, "")
    inside = environment.removeprefix(_INSIDE).lstrip("/")
    if environment.startswith(_INSIDE) and not (model.directory / inside).exists():
        at = f"parameters[{_ENVIRONMENT}].string_value"
        yield model.error("python-environment", at, f"{inside} in the model's directory", "no such file")
    elif environment and not environment.startswith(_INSIDE):
        yield model.unchecked(f"the environment {environment}", "it lies outside of the repository, perhaps on the server alone")
