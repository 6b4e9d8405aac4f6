"""Every command where files cannot be read or written: a sentence and its exit code, nothing
half-written, and what was there is there.
"""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.registry import golden_rows
from serving.registry.proof import proven
from serving.registry.registry import Registry, add_version, make_active, promoted, read_published
from serving.server import triton
from serving.server.triton import Server
from slipway import doctor, tools
from slipway.cli import COMMANDS
from slipway.contract import bundle
from tests.support.faults import Fault, failing, here, tree

pytestmark = pytest.mark.experiment("full disk, missing rights, cut-off files")

STORAGE = 74
# Operations that fail, counted from the first; each command is walked until it does no more.
POINTS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144)
NOISE = re.compile(r"Traceback|line \d+, in |\[Errno|site-packages|\.building-\d|\.\w+\.(?:json|html)\.\d")
READERS = ("check", "status", "lint", "ask", "doctor")  # they write nothing; classify writes its --output
ANALYZE = ("analyze throughput", "analyze profile", "analyze lr")
# Behind their first files these start Horovod, a server, or a measurement of minutes.
LONG = {
    "train": 5,
    "export": 5,
    "import": 2,
    "serve": 1,
    "verify": 1,
    "tune": 1,
    "bench": 1,
    "promote": 3,
    **dict.fromkeys(ANALYZE, 1),
}


@dataclass(frozen=True)
class Place:
    """All that a command reads and writes, below one directory."""

    root: Path
    server: str  # HTTP address of a model that answers

    def words(self, command: str) -> list[object]:
        """The command line."""
        run, repository = self.root / "run", ["--repository", self.root / "published/model_repository"]
        rows = ["--corpus", self.root / "corpus", "--encoder", self.root / "encoder", "--train-rows", 200, "--processes", 1]
        rows += ["--max-seq-len", 48]
        model = ["--vocab", self.root / "encoder/assets/vocab.txt", "--labels", self.root / "corpus/classes.txt"]
        model += ["--golden", self.root / "corpus/test.csv", "--saved-model", self.root / "run/bundle/saved_model"]
        texts = ["--address", self.server, "--headers", self.root / "headers"]
        options = {
            "train": [self.root / "runs/new", *rows],
            "import": [self.root / "runs/imported", *model],
            "export": [run, "--variant", "ort_int8"],
            "build": [run, "--engine", "ort_int8"],
            "serve": [run, "--port", triton.free_ports().http],
            "tune": [run, "--p99-ms", 100],
            "compare": [self.root / "other", run],
            "publish": [run, *repository],
            "promote": [*repository, "--version", 1],
            "lint": [run / "model_repository"],
            "ask": ["a text", *texts],
            "classify": [self.root / "texts.txt", *texts, "--output", self.root / "answers.jsonl", "--resume"],
            "doctor": [],
            **dict.fromkeys(("rollback", "status"), repository),
            **{command: [self.root / "runs/new", *rows] for command in ANALYZE},
        }
        return [*command.split(), *options.get(command, [run])]


@pytest.fixture(scope="module")
def place(
    finished_run: Path, generated: Path, tiny_encoder: Path, echo_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    root = tmp_path_factory.mktemp("place")
    for name in ("run", "other"):
        shutil.copytree(finished_run, root / name)
    shutil.copytree(generated, root / "corpus")
    shutil.copytree(tiny_encoder, root / "encoder")
    (root / "texts.txt").write_text("one\ntwo\n")
    (root / "headers").write_text("X-Key: secret\n")
    registry = Registry(root / "published/model_repository")
    for _ in range(2):
        add_version(registry, proven(root / "run"))
    golden_rows.keep(registry, bundle.load(root / "run/bundle"))
    make_active(registry, promoted(read_published(registry), 2))
    return Place(root, echo_server.http)


@pytest.fixture(autouse=True)
def nothing_half_written(place: Place) -> Iterator[None]:
    """No temporary file or directory is left by any command."""
    yield
    assert [name for name in tree(place.root) if re.search(r"(?:^|/)\.", name)] == []


def call(place: Place, command: str) -> subprocess.CompletedProcess[str]:
    return here(*place.words(command))


def assert_sentence(done: subprocess.CompletedProcess[str]) -> None:
    """What is wrong, and its four parts, without what only a programmer can read."""
    told = done.stdout + done.stderr
    assert all(re.search(rf"^  {part} +\S", told, re.MULTILINE) for part in ("expected", "found", "where", "fix")), told
    assert not NOISE.search(told), told


def changes(place: Place, before: dict[str, str]) -> set[str]:
    """What is not as it was, but for what a failed command leaves on purpose: the lock and the
    audit of a registry, the command of a run that was begun, and answers to go on with.
    """
    after = tree(place.root)
    different = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    kept = ("published/runs/published/", "runs/new/train.json", "answers.jsonl.part")
    return {name for name in different if not name.startswith(kept)}


WRITERS = [command.name for command in COMMANDS if command.name not in READERS]


def test_the_walk_is_through_every_command() -> None:
    assert {*WRITERS, *READERS} == {command.name for command in COMMANDS}


@pytest.mark.parametrize("command", WRITERS)
def test_a_disk_that_fills_up_at_any_point_is_said_and_nothing_is_half_written(command: str, place: Place) -> None:
    met = 0
    for point in (point for point in POINTS if point <= LONG.get(command, POINTS[-1])):
        before = tree(place.root)
        with failing(Fault(place.root, errno.ENOSPC, first=point)) as fault:
            done = call(place, command)
        if fault.met < point:  # it was done before the disk was full
            break
        met += 1
        assert done.returncode == STORAGE, done.stderr
        assert_sentence(done)
        assert "the disk is full" in done.stderr
        assert changes(place, before) == set()
    assert met


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("command", WRITERS)
def test_a_place_that_cannot_be_written_is_said_before_anything_is_begun(command: str, number: int, place: Place) -> None:
    before = tree(place.root)
    with failing(Fault(place.root, number, removing=True)):
        done = call(place, command)
    assert done.returncode == STORAGE, done.stderr
    assert_sentence(done)
    assert changes(place, before) == set()


@pytest.mark.parametrize("command", sorted({*READERS} - {"doctor"}))
def test_what_only_reads_needs_no_place_to_write(command: str, place: Place) -> None:
    with failing(Fault(place.root, errno.EROFS, removing=True)) as fault:
        done = call(place, command)
    assert (fault.met, done.returncode) == (0, 0), done.stdout + done.stderr


@pytest.mark.parametrize("command", sorted({*WRITERS, *READERS} - {"doctor"}))
def test_files_that_may_not_be_read_are_said(command: str, place: Place) -> None:
    before = tree(place.root)
    with failing(Fault(place.root, errno.EACCES, reading=True)):
        done = call(place, command)
    assert done.returncode == (6 if command == "lint" else STORAGE), done.stderr
    assert not NOISE.search(done.stdout)
    if command != "lint":  # which says of each file what is wrong
        assert_sentence(done)
    assert changes(place, before) == set()


def test_doctor_says_what_it_may_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_tools", list)  # processes of seconds
    with failing(Fault(tools.CHECKOUT / "requirements", errno.EACCES, reading=True)):
        done = here("doctor")
    assert done.returncode == STORAGE
    assert_sentence(done)


CONFIG = "model_repository/text_classifier/config.pbtxt"
# Command → files that it reads → exit code where it is gone, and where it is cut off; 0: it can do
# without, or half of it is one, too.
READ: dict[str, dict[str, tuple[int, int]]] = {
    "train": {"corpus/train.csv": (3, 3), "corpus/test.csv": (0, 3)},
    "import": {"encoder/assets/vocab.txt": (7, 0), "corpus/classes.txt": (7, 3), "corpus/test.csv": (3, 3)},
    "export": {"run/bundle/bundle.json": (6, 6), "run/bundle/golden.npz": (6, 6)},
    "check": {"run/bundle/vocab.txt": (6, 6), "run/artifacts/export.json": (6, 6), "run/artifacts/ort_int8/parity.json": (1, 1)},
    "build": {"run/bundle/golden.jsonl": (6, 6), "run/artifacts/ort_int8/model.onnx": (6, 6)},
    "serve": {f"run/{CONFIG}": (6, 6), "run/model_repository/repository.json": (6, 6)},
    "verify": {"run/bundle/probes.npz": (6, 6), "run/model_repository/repository.json": (6, 6)},
    "tune": {"run/bundle/bundle.json": (6, 6), "run/bundle/golden.npz": (6, 6)},
    "bench": {f"run/{CONFIG}": (6, 6), "run/bundle/golden.npz": (6, 6)},
    "report": {"run/bundle/history.json": (6, 6), "run/artifacts/skipped.json": (0, 6)},
    "compare": {"run/bundle/bundle.json": (6, 6), "other/artifacts/skipped.json": (0, 6)},
    "publish": {"run/model_repository/repository.json": (6, 6), f"published/{CONFIG}": (6, 6)},
    "promote": {"published/model_repository/repository.json": (6, 6), f"published/{CONFIG}": (6, 6)},
    "rollback": {"published/model_repository/repository.json": (6, 6), f"published/{CONFIG}": (6, 6)},
    "status": {"published/model_repository/repository.json": (6, 6), f"published/{CONFIG}": (6, 6)},
    "lint": {f"run/{CONFIG}": (0, 6)},
    "ask": {"headers": (STORAGE, 0)},
    "classify": {"headers": (STORAGE, 0), "texts.txt": (STORAGE, 0)},
    **{command: {"corpus/train.csv": (3, 3)} for command in ANALYZE},
}
DAMAGES = [(command, name, how) for command, files in READ.items() for name in files for how in (0, 1) if READ[command][name][how]]


def gone(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()  # it may be a link of another
    path.write_bytes(content[: len(content) * 2 // 3])


@pytest.mark.parametrize(("command", "name", "how"), DAMAGES)
def test_a_file_that_is_gone_or_cut_off_is_named_with_its_code(command: str, name: str, how: int, place: Place) -> None:
    path, kept = place.root / name, place.root.parent / "kept"
    damage: Callable[[Path], None] = (gone, cut_off)[how]
    path.rename(kept)
    try:
        shutil.copyfile(kept, path)
        damage(path)
        before = tree(place.root)
        done = call(place, command)
        assert done.returncode == READ[command][name][how], done.stdout + done.stderr
        if command != "lint":  # which lists findings
            assert_sentence(done)
        assert changes(place, before) == set()
    finally:
        path.unlink(missing_ok=True)
        kept.rename(path)
