"""The rules of docs/architecture.md: who imports whom, how full a folder is, what is committed."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.cli import COMMANDS

CHECKOUT = Path(__file__).parents[1]
STAGES = ("train", "export", "serving")
PACKAGES = ("slipway", *STAGES, "benchmarks", "scripts")
FRAMEWORKS = {
    *("tensorflow", "tf_keras", "tensorflow_hub", "horovod", "onnxruntime", "openvino", "onnx", "tf2onnx", "tensorrt"),
}
SPEAKS = {"slipway/tensorflow.py": {"tensorflow", "tf_keras", "tensorflow_hub"}}  # says so in its docstring
# The floors of a package from the ground up, as sub-packages and files of its own folder. An import
# never runs up, nor from one room of a floor to another.
FLOORS = {
    "slipway": "errors tools | console statistics provenance | contract | options tensorflow | encoder | client lint | doctor cli",
    "train": "job options | data model | distributed | engine | settings write_bundle | finetune analysis",
    "export": "safety disk_space session options | graph | precision | runtime | runtimes | parity | "
    "variant | convert commands import_savedmodel",
    "serving": "model_config options | repository | server | load front | benchmark served_parity | "
    "tuning registry report page | commands",
}
MOST_FILES, LONGEST_FUNCTION = 10, 60


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((CHECKOUT / package).rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, as dotted names, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = CHECKOUT / node.module.replace(".", "/") / alias.name
                is_module = inner.with_suffix(".py").is_file() or inner.is_dir()
                yield f"{node.module}.{alias.name}" if is_module else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def crossing(files: list[Path], forbidden: set[str]) -> list[str]:
    """The imports of `files` whose first name is forbidden."""
    return [f"{name(path)} imports {module}" for path in files for module in imports(path) if module.split(".")[0] in forbidden]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_itself_and_the_package(stage: str) -> None:
    assert crossing(sources(stage), {*PACKAGES, "tests"} - {stage, "slipway"}) == []


def test_the_package_imports_no_stage() -> None:
    assert crossing(sources("slipway"), {*PACKAGES, "tests"} - {"slipway"}) == []


def test_the_package_imports_no_framework_but_where_it_says_so() -> None:
    wrong = [line for path in sources("slipway") for line in crossing([path], FRAMEWORKS - SPEAKS.get(name(path), set()))]
    assert wrong == []


def test_the_public_names_load_no_framework() -> None:
    program = f"import slipway, sys; [getattr(slipway, n) for n in slipway.__all__]; print({FRAMEWORKS!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("package", FLOORS)
def test_an_import_never_runs_up(package: str) -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS[package].split("|")) for room in rooms.split()}

    def room(module: str) -> str:
        return module.split(".")[1] if "." in module else ""

    wrong = [
        f"{name(path)} imports {module}"
        for path in sources(package)
        if "backend" not in path.parts
        for own in [room(name(path).removesuffix(".py").replace("/", "."))]
        if own != "__init__"
        for module in imports(path)
        if module.startswith(f"{package}.") and room(module) != own and floor[room(module)] >= floor[own]
    ]
    assert wrong == []


def test_a_folder_has_two_to_ten_files() -> None:
    full = Counter(name(path.parent) for path in sources(*PACKAGES) if path.name != "__init__.py")
    assert {folder: count for folder, count in full.items() if not 2 <= count <= MOST_FILES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    wrong = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in sources(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert wrong == []


def test_what_runs_a_command_is_imported_by_nobody_but_the_command_line() -> None:
    entries = {command.place.partition(":")[0] for command in COMMANDS}
    wrong = [f"{name(path)} imports {module}" for path in sources(*PACKAGES) for module in imports(path) if module in entries]
    assert wrong == []


def test_every_command_is_declared_and_defined_where_the_command_line_says() -> None:
    for command in COMMANDS:
        module, _, function = command.place.partition(":")
        places = {f"{command.stage}/options.py": f"{function}_options", f"{module.replace('.', '/')}.py": function}
        for path, wanted in places.items():
            tree = ast.parse((CHECKOUT / path).read_text("utf-8"))
            assert wanted in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{path}: {wanted}"


def test_modules_can_be_imported_without_running() -> None:
    for path in sources(*PACKAGES):
        top = [type(node) for node in ast.parse(path.read_text("utf-8")).body]
        sets_paths = "backend" in path.parts or name(path) in SPEAKS  # or environment, before it imports
        assert sets_paths or ast.Expr not in top[1:], f"{name(path)} runs something on import"


def test_every_package_says_in_three_lines_what_it_is_for() -> None:
    for package in ("slipway", *STAGES):
        for folder in {path.parent for path in sources(package)}:
            words = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
            assert len(words.splitlines()) >= 2, f"{name(folder)}/__init__.py: what it is for, what it reads, what it writes"


def test_served_models_import_only_what_lies_beside_them() -> None:
    backend = list((CHECKOUT / "serving/backend").glob("*.py"))
    allowed = {path.stem for path in backend} | {"tokenizer", "numpy", "onnxruntime", "tokenizers", "triton_python_backend_utils"}
    allowed |= set(sys.stdlib_module_names)
    files = [*backend, CHECKOUT / "slipway/contract/tokenizer.py"]
    others = [(path.name, module) for path in files for module in imports(path) if module.split(".")[0] not in allowed]
    assert others == [("baseline_engine.py", "tensorflow")]  # the SavedModel itself, as the benchmark's baseline


def test_no_file_is_a_drawer_for_leftovers() -> None:
    names = {path.stem for path in sources(*PACKAGES)}
    assert not names & {"utils", "util", "helpers", "core", "base", "manager", "misc"}


def test_nothing_in_the_backend_shadows_a_library() -> None:
    assert not (CHECKOUT / "serving/backend/requests.py").exists()


@pytest.mark.skipif(shutil.which("git") is None or not (CHECKOUT / ".git").exists(), reason="needs git and a git checkout")
def test_nothing_committed_names_a_registry_or_this_machine() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    forbidden = re.compile(r"\b(?:pypi|pythonhosted|npmjs|deb\.debian)\.(?:org|com)\b|/(?:work|farm|root)/\w")
    wrong = [
        f"{file}: {match.group()}"
        for file in filter(None, tracked.split("\0"))
        if (CHECKOUT / file).is_file() and file != "tests/test_layout.py"
        for match in forbidden.finditer((CHECKOUT / file).read_text("utf-8", "ignore"))
    ]
    assert wrong == []


def test_the_readme_is_short_and_names_folders() -> None:
    text = (CHECKOUT / "README.md").read_text("utf-8")
    assert len(text.split()) <= 900
    layout = text.partition("## Layout")[2].partition("## ")[0]
    assert {f"{package}/" for package in PACKAGES} <= set(re.findall(r"\b[a-z]+/", layout))
    assert re.findall(r"\w+\.py\b", layout) == []


def test_the_readmes_verbs_are_the_makefiles() -> None:
    readme, makefile = ((CHECKOUT / file).read_text("utf-8") for file in ("README.md", "Makefile"))
    verbs = {verb for line in re.findall(r"\bmake ([a-z ]+)", readme) for verb in line.split()}
    assert verbs & {"demo", "test", "train", "export"}
    assert verbs - set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE)) == set()
