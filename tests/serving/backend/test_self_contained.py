"""A version directory can be carried away: what its Python models import lies beside them, or is
one of three packages.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGES = {"numpy", "onnxruntime", "tokenizers"}
PROVIDED = {"triton_python_backend_utils", *sys.stdlib_module_names}


@pytest.fixture(scope="module", params=["embedded", "ngc"])
def repository(request: pytest.FixtureRequest, pairs_run: Path, ngc_run: Callable[[str], Path]) -> Path:
    return pairs_run / "model_repository" if request.param == "embedded" else ngc_run("text_pair") / "model_repository_ngc"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield str(node.module).split(".")[0]


def test_python_models_import_three_packages_and_what_lies_beside_them(repository: Path) -> None:
    models = sorted(repository.glob("*/*/model.py"))
    assert len(models) >= 2
    for model in models:
        beside = {path.stem for path in model.parent.glob("*.py")}
        for path in model.parent.glob("*.py"):
            assert set(imported(path)) <= PACKAGES | PROVIDED | beside, path


def test_nothing_lies_beside_a_model_that_it_does_not_import(repository: Path) -> None:
    for model in repository.glob("*/*/model.py"):
        files = {path.stem: path for path in model.parent.glob("*.py")}
        needed, waiting = {"model"}, [model]
        while waiting:
            more = (set(imported(waiting.pop())) & files.keys()) - needed
            needed |= more
            waiting += [files[name] for name in more]
        assert files.keys() - needed <= {"tokenizer"}, model  # ids_model.py needs none; its vocabulary says which ids there are


def test_the_containers_python_models_need_no_onnx_runtime(ngc_run: Callable[[str], Path]) -> None:
    files = list((ngc_run("text_pair") / "model_repository_ngc").glob("*/*/*.py"))
    assert not [path for path in files if "onnxruntime" in set(imported(path))]
    assert {path.parents[1].name for path in files} == {"tokenizer", "answer"}
