"""What of the TensorRT leg can be tested without TensorRT: that it exists, in every version, as
this project calls it.

The real bindings of each locked version, over empty libraries (scripts/tensorrt_api.py), answer in
a process of their own.
"""

from __future__ import annotations

import ast
import ctypes
import ctypes.util
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from export.runtime import tensorrt
from scripts import tensorrt_api
from slipway import provenance, tools
from slipway.contract.ragged import INPUTS, Feed
from slipway.provenance import Gpu

SOURCE = Path(tensorrt.__file__)
VERSIONS = sorted(tensorrt_api.locks())


def ask(major: str, program: str, question: object) -> object:
    """What the program prints as JSON, with TensorRT `major` to import and the question as
    sys.argv[1].
    """
    package = tools.TENSORRT_API / major / "package"
    assert package.is_dir(), f"{package} is not there: make setup"
    command = [sys.executable, "-W", "error", "-c", f"import json\n{tensorrt_api.IMPORT}\n{program}", json.dumps(question)]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def dotted(node: ast.expr) -> str:
    """a.b.c of an attribute chain that starts at a name, else ""."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else ""


def names() -> Iterator[str]:
    """Every tensorrt.… and trt.… (Polygraphy's backend) in the source."""
    chains = {dotted(node) for node in ast.walk(ast.parse(SOURCE.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
    yield from sorted(chain for chain in chains if chain.startswith(("tensorrt.", "trt.")))


def calls() -> list[tuple[str, int, list[str]]]:
    """(function, number of positional arguments, keywords) of every call into Polygraphy."""
    methods = {"shapes.add": "trt.Profile.add", "self._runner.set_profile": "trt.TrtRunner.set_profile"}
    methods |= {"self._runner.infer": "trt.TrtRunner.infer", "G_LOGGER.verbosity": "G_LOGGER.verbosity"}
    result = []
    for node in ast.walk(ast.parse(SOURCE.read_text("utf-8"))):
        if isinstance(node, ast.Call) and (name := dotted(node.func)) and (name.startswith("trt.") or name in methods):
            method = methods.get(name, "")
            own = method.startswith("trt.")  # called on an object: `self` comes first
            result.append((method or name, len(node.args) + own, [keyword.arg or "**" for keyword in node.keywords]))
    return result


def test_both_major_versions_are_locked() -> None:
    assert VERSIONS == ["10", "11"]


def test_the_two_apis_differ_as_they_are_known_to() -> None:
    program = "print(json.dumps([tensorrt.__version__.split('.')[0], hasattr(tensorrt.BuilderFlag, 'FP16')]))"
    assert [ask(major, program, None) for major in VERSIONS] == [["10", True], ["11", False]]


@pytest.mark.parametrize("major", VERSIONS)
def test_every_name_of_tensorrt_and_polygraphy_that_is_used_exists(major: str) -> None:
    wanted = list(names())
    assert {"tensorrt.ProfilingVerbosity.DETAILED", "trt.TrtRunner"} <= set(wanted)
    program = """
from operator import attrgetter
from polygraphy.backend import trt
absent = []
for name in json.loads(sys.argv[1]):
    root, _, path = name.partition(".")
    try:
        attrgetter(path)(tensorrt if root == "tensorrt" else trt)
    except AttributeError:
        absent.append(name)
print(json.dumps(absent))
"""
    assert ask(major, program, wanted) == []
    assert ask(major, program, ["tensorrt.ProfilingVerbosity.DETAILLED"]) == ["tensorrt.ProfilingVerbosity.DETAILLED"]


@pytest.mark.parametrize("major", VERSIONS)
def test_every_call_into_polygraphy_fits_the_real_signature(major: str) -> None:
    written = calls()
    assert len(written) >= 8
    program = """
import inspect
from operator import attrgetter
from polygraphy.backend import trt
from polygraphy.logger import G_LOGGER
wrong = []
for name, positional, keywords in json.loads(sys.argv[1]):
    root, _, path = name.partition(".")
    function = attrgetter(path)(trt if root == "trt" else G_LOGGER)
    signature = inspect.signature(function)
    known = set(signature.parameters)
    for base in inspect.getmro(function) if inspect.isclass(function) else ():  # **kwargs goes to the class above
        known |= set(inspect.signature(base.__init__).parameters)
    try:
        signature.bind(*[None] * positional, **dict.fromkeys(keywords))
    except TypeError as error:
        wrong.append([name, str(error)])
    wrong += [[name, keyword] for keyword in keywords if keyword not in known]
print(json.dumps(wrong))
"""
    assert ask(major, program, written) == []
    assert ask(major, program, [("trt.CreateConfig", 0, ["profilling"])]) == [["trt.CreateConfig", "profilling"]]


@pytest.mark.parametrize("major", VERSIONS)
def test_networks_are_strongly_typed_in_every_version(major: str) -> None:
    program = "print(json.dumps(hasattr(tensorrt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED')))"
    assert ask(major, program, None) is True


def present(name: str) -> Gpu:
    return Gpu(name, "9.0", "580.65.06")


def test_a_missing_library_is_named_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(provenance, "current_gpu", lambda: present("H200"))
    assert tensorrt.missing() == "no libnvinfer, no Python module tensorrt"


def test_nothing_is_missing_when_everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(provenance, "current_gpu", lambda: present("H200"))
    assert tensorrt.missing() == ""


class Runner:
    """Polygraphy's TrtRunner: remembers what it was asked, and hands out the same buffer every
    time.
    """

    context = "context"

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.buffer = np.zeros((1, 3), np.float16)

    def set_profile(self, number: int) -> None:
        self.asked.append(number)

    def infer(self, feed: Feed, check_inputs: bool) -> dict[str, object]:
        self.asked.append(feed["input_mask"].shape)
        self.buffer += 1
        return {"logits": self.buffer}


def engine_of_two_profiles(runner: Runner, inspector: object = None) -> tensorrt.Engine:
    corners = [[(1, 1), (32, 64), (32, 128)], [(1, 1), (1, 64), (1, 128)]]
    built = SimpleNamespace(
        num_optimization_profiles=2,
        get_tensor_profile_shape=lambda name, number: corners[number],
        create_engine_inspector=lambda: inspector,
    )
    return tensorrt.Engine(built, runner, "TensorRT")  # type: ignore[arg-type]


def feed(batch: int, tokens: int) -> Feed:
    return {name: np.ones((batch, tokens), np.int32) for name in INPUTS}


def test_an_engine_switches_profiles_only_when_the_shape_asks_for_another() -> None:
    runner = Runner()
    engine = engine_of_two_profiles(runner)
    for batch in (32, 1, 1, 16):
        engine.infer(feed(batch, 50))
    assert runner.asked == [(32, 50), 1, (1, 50), (1, 50), 0, (16, 50)]


def test_answers_are_float32_copies_of_buffers_that_are_used_again() -> None:
    engine = engine_of_two_profiles(Runner())
    first = engine.infer(feed(1, 8))
    engine.infer(feed(1, 8))
    assert first.dtype == np.float32
    assert first.tolist() == [[1, 1, 1]]


def test_layers_are_inspected_with_a_profile_active_and_its_shape_set(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, inspector = Runner(), SimpleNamespace(get_engine_information=lambda form: f"{form} of {inspector.execution_context}")
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(LayerInformationFormat=SimpleNamespace(JSON="JSON")))
    assert engine_of_two_profiles(runner, inspector).layers(1) == "JSON of context"
    assert runner.asked == [1, (1, 64)]
