"""Faults in a compiled repository, sealed anew as if it had been compiled so: is it published?

Publishing builds the repository again from what passed (serving/registry/proof.py), so the file
that differs is named. Nothing is served here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults import catalogue
from benchmarks.faults.catalogue import Catch, Fault
from serving.registry import proof
from serving.repository import compiler, embedded
from serving.repository.compiler import BuildSettings
from slipway.contract import artifact, bundle, manifest
from slipway.contract.records import REPOSITORIES, REPOSITORY, TEXT_MODEL
from slipway.errors import ParityError

Change = Callable[[bytes], bytes]  # of a file
VERSION = f"{TEXT_MODEL}/1"
_REPOSITORY = REPOSITORIES["embedded"]


def catches(run: Path, scratch: Path) -> Iterator[Catch]:
    """Plant each of FAULTS into a copy of `run` with a repository, below `scratch`, which is empty.

    Raises ManifestError or ParityError for a run that could not be published without a fault.
    """
    sound = compiled(run, scratch / "sound")
    proof.proven(sound)
    for number, fault in enumerate(FAULTS):
        target = catalogue.copy(sound, scratch / f"fault_{number}")
        shutil.copytree(sound / _REPOSITORY, target / _REPOSITORY)
        yield catalogue.catch(fault, target)
        shutil.rmtree(target)


def compiled(run: Path, target: Path) -> Path:
    """Return `target`, now a copy of `run` with a repository of what passed."""
    catalogue.copy(run, target)
    source = bundle.load(target / "bundle")
    passed, settings = artifact.verdicts(target, source.sha256).passed, BuildSettings("embedded", "", embedded.cores(), 1, 1, 0)
    with manifest.atomic_directory(target / _REPOSITORY) as building:
        compiler.write(building, source, bundle.load_golden(source), passed, settings)
    return target


def edit(path: Path, change: Change) -> None:
    """Change what a file says. Raises ValueError where that changes nothing: it is no fault."""
    data = path.read_bytes()
    if change(data) == data:
        raise ValueError(f"the fault changes nothing in {path}")
    catalogue.replace(path, change(data))


def text(old: str, new: str) -> Change:
    """Return the change of `old` to `new`, wherever a file has it."""
    return lambda data: data.replace(old.encode(), new.encode())


def exchanged(first: int, second: int) -> Change:
    """Return the change that exchanges two lines of a file."""

    def change(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        lines[first], lines[second] = lines[second], lines[first]
        return b"".join(lines)

    return change


def setting(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Return the change of a settings.json by what it should have other than now."""

    def changed(data: bytes) -> bytes:
        settings = json.loads(data)
        return json.dumps({**settings, **change(settings)}, indent=1, ensure_ascii=False).encode() + b"\n"

    return changed


def _edited(name: str, change: Change, repository: Path) -> None:
    edit(repository / name, change)


def _model_of_another_variant(repository: Path) -> None:
    first, second, *_ = sorted(repository.glob("bert_*/1/model.onnx"))
    edit(first, lambda _: second.read_bytes())


def _weights_missing(repository: Path) -> None:
    (repository / VERSION / "model.onnx").unlink()


def _module_too_many(repository: Path) -> None:
    (repository / VERSION / "numpy.py").write_text("raise SystemExit")


def _bytecode(repository: Path) -> None:
    place = repository / VERSION / "__pycache__"
    place.unlink()
    place.mkdir()
    (place / "outputs.cpython-310.pyc").write_bytes(b"what Python would run in place of outputs.py")


def _model_too_many(repository: Path) -> None:
    shutil.copytree(repository / TEXT_MODEL, repository / "another")


def _version_too_many(repository: Path) -> None:
    shutil.copytree(repository / VERSION, repository / TEXT_MODEL / "2")


def _planted(change: Callable[[Path], object], run: Path) -> None:
    """Change the run's repository and write the hashes of what is there now, bytecode too."""
    repository = run / _REPOSITORY
    change(repository)
    facts = json.loads((repository / REPOSITORY).read_text("utf-8"))
    manifest.write_json(repository / REPOSITORY, {**facts, "files": manifest.hashes(repository, leave_out=(REPOSITORY,))})


def _publish(run: Path) -> list[str]:
    """Return why the run's repository is not published; nothing: it would be."""
    try:
        proof.proven(run)
    except ParityError as error:
        return [f"{error.expected}; found {error.found}"]
    return []


def _fault(name: str, file: str, change: Callable[[Path], object]) -> Fault:
    return Fault(name, "repository", partial(_planted, change), _publish, f"{file}, as it is built from what passed")


_EDITED: dict[str, tuple[str, Change]] = {  # fault → the file that is edited, and how
    "two labels exchanged": (f"{VERSION}/labels.txt", exchanged(0, 1)),
    "two word pieces exchanged": (f"{VERSION}/vocab.txt", exchanged(-1, -2)),
    "lower_case turned over": (f"{VERSION}/settings.json", setting(lambda own: {"lower_case": not own["lower_case"]})),
    "max_seq_len halved": (f"{VERSION}/settings.json", setting(lambda own: {"max_seq_len": own["max_seq_len"] // 2})),
    "a tolerance that holds nothing": (f"{VERSION}/settings.json", setting(lambda _: {"tolerance": 1e9})),
    "no start-up answers": (f"{VERSION}/settings.json", setting(lambda _: {"start_up": []})),
    "proven nowhere": (f"{VERSION}/settings.json", setting(lambda _: {"proven_on": {}})),
    "another tokenizer": (f"{VERSION}/tokenizer.py", lambda data: data + b"\nMOST = 2\n"),
    "other outputs": (f"{VERSION}/outputs.py", text("labels[i].encode()", "labels[i - 1].encode()")),
    "an engine that does not compare its start-up answers": (f"{VERSION}/engine.py", text('if "logits" in row', "if False")),
    "another max_batch_size": (f"{TEXT_MODEL}/config.pbtxt", text("max_batch_size: 32", "max_batch_size: 64")),
    "another number of instances": (f"{TEXT_MODEL}/config.pbtxt", text("count: 1", "count: 2")),
    "another name of an output": (f"{TEXT_MODEL}/config.pbtxt", text('name: "truncated"', 'name: "cut"')),
    "another variant in the manifest": (REPOSITORY, text(f'"{TEXT_MODEL}": "', f'"{TEXT_MODEL}": "another_')),
}

FAULTS = (
    *(_fault(name, file, partial(_edited, file, change)) for name, (file, change) in _EDITED.items()),
    _fault("the model of another variant", "1/model.onnx", _model_of_another_variant),
    _fault("no weights", f"{VERSION}/model.onnx", _weights_missing),
    _fault("a module too many", f"{VERSION}/numpy.py", _module_too_many),
    _fault("bytecode", f"{VERSION}/__pycache__", _bytecode),
    _fault("a model too many", "another/1/__pycache__", _model_too_many),
    _fault("a version too many", f"{TEXT_MODEL}/2/__pycache__", _version_too_many),
)
