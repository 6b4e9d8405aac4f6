"""The architecture as rules: who may import whom, and what must not be committed."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
# Framework-free modules of train that everything downstream may use: the contract between the
# stages.
CONTRACT = {
    "train." + name
    for name in ("bundle", "errors", "labelling", "manifest", "provenance", "ragged", "rows", "scores", "terminal", "tokenizer")
}
FROM_EXPORT = {"export." + name for name in ("artifact", "comparison", "variants")}
MAY_IMPORT = {
    "setup": {"slipway.tools"},
    "train": {"train"},
    "export": {"export", *CONTRACT, "slipway.tensorflow"},  # the reference runs in TensorFlow
    "serving": {"serving", "slipway.tools", *CONTRACT, *FROM_EXPORT},
}
FRAMEWORKS = {"tensorflow", "tf_keras", "tensorflow_hub", "horovod", "onnxruntime", "onnx", "tf2onnx", "tensorrt"}


def sources(package: str) -> list[Path]:
    return list((CHECKOUT / package).glob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Project modules that a file imports, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            whole_package = node.module in MAY_IMPORT
            yield from (f"{node.module}.{name.name}" for name in node.names) if whole_package else (node.module,)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def is_entry(path: Path) -> bool:
    return 'if __name__ == "__main__"' in path.read_text("utf-8")


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_point_upstream_only(package: str) -> None:
    wrong = [
        f"{path.relative_to(CHECKOUT)} imports {name}"
        for path in sources(package)
        for name in imports(path)
        if name.split(".")[0] in MAY_IMPORT and not {name, name.split(".")[0]} & MAY_IMPORT[package]
    ]
    assert not wrong


def test_the_contract_between_stages_needs_no_framework() -> None:
    files = [CHECKOUT / (name.replace(".", "/") + ".py") for name in CONTRACT | FROM_EXPORT]
    wrong = [f"{path.name} imports {name}" for path in files for name in imports(path) if name.split(".")[0] in FRAMEWORKS]
    assert not wrong


def test_the_client_loads_neither_tensorflow_nor_onnx_runtime() -> None:
    program = f"import slipway.client.client, sys; print(sorted({FRAMEWORKS!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_served_models_import_only_what_lies_beside_them() -> None:
    beside = {path.stem for path in (CHECKOUT / "serving" / "backend").glob("*.py")} | {"tokenizer"}
    allowed = beside | {"numpy", "onnxruntime", "tokenizers", "triton_python_backend_utils"} | set(sys.stdlib_module_names)
    files = [*(CHECKOUT / "serving" / "backend").glob("*.py"), CHECKOUT / "train" / "tokenizer.py"]
    others = [(path.name, name) for path in files for name in imports(path) if name.split(".")[0] not in allowed]
    assert others == [("baseline_engine.py", "tensorflow")]  # the SavedModel itself, as the benchmark's baseline


def test_no_file_is_a_drawer_for_leftovers() -> None:
    names = {path.stem for package in MAY_IMPORT for path in sources(package)}
    assert not names & {"utils", "util", "common", "helpers", "core", "base", "manager", "misc"}


def test_entries_can_be_imported_without_running() -> None:
    entries = [path for package in MAY_IMPORT for path in sources(package) if is_entry(path)]
    assert len(entries) >= 8
    for path in entries:
        top = [type(node) for node in ast.parse(path.read_text("utf-8")).body]
        assert ast.Expr not in top[1:], f"{path} runs something on import"


def test_entries_import_no_other_entry() -> None:
    files = [path for package in MAY_IMPORT for path in sources(package) if is_entry(path)]
    entries = {f"{path.parent.name}.{path.stem}" for path in files}
    wrong = [f"{path.name} imports {other}" for path in files for other in imports(path) if other in entries]
    assert not wrong


@pytest.mark.skipif(shutil.which("git") is None or not (CHECKOUT / ".git").exists(), reason="needs git and a git checkout")
def test_nothing_committed_names_a_registry_or_this_machine() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    forbidden = re.compile(r"\b(?:pypi|pythonhosted|npmjs|deb\.debian)\.(?:org|com)\b|/(?:work|farm|root)/\w")
    wrong = [
        f"{name}: {found.group()}"
        for name in filter(None, tracked.split("\0"))
        if (CHECKOUT / name).is_file() and name != "tests/test_layout.py"
        for found in forbidden.finditer((CHECKOUT / name).read_text("utf-8", "ignore"))
    ]
    assert not wrong


def test_the_readmes_tree_names_every_source_file_and_no_other() -> None:
    tree = (CHECKOUT / "README.md").read_text("utf-8").partition("## The tree")[2].partition("## Limits")[0]
    named = set(re.findall(r"\b([a-z_0-9]+\.py)\b", tree))
    assert named == {path.name for package in MAY_IMPORT for path in sources(package)}


def test_the_readmes_verbs_are_the_makefiles() -> None:
    readme, makefile = ((CHECKOUT / name).read_text("utf-8") for name in ("README.md", "Makefile"))
    named = {verb for line in re.findall(r"\bmake ([a-z ]+)", readme) for verb in line.split()}
    assert named & {"demo", "test", "train", "export"}
    assert named - set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE)) == set()
