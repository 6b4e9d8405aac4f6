"""The command line: `slipway COMMAND RUN [options]`.

Every command is one row of COMMANDS: its name, one line of help, and its place, "module:NAME".
`NAME(arguments)` there runs it and returns the exit status; its module is imported when it is
called. `NAME_options(parser)` in the options.py of its stage declares its options, so that `--help`
imports nothing heavy.

    slipway export runs/demo
    slipway --print-completion bash > ~/.local/share/bash-completion/completions/slipway
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from slipway import errors

_CHECKOUT = Path(__file__).parents[1]
_SHELLS = ("bash", "zsh", "tcsh")
_MAKERS = ("train", "import", "analyze")  # first words of commands whose RUN need not be there yet
_READERS = ("check", "status", "lint", "ask", "classify", "doctor")  # those that write to no run
_RUNS = ("run", "a", "b")  # arguments that are a run's directory
_WRITTEN = ("run", "b")  # arguments in which a command writes, if it is no reader
_REPLACED = ("repository", "published")  # arguments beside which it does
_PROBE = bytes(1 << 14)  # a disk that is full to the last page has no room for it


@dataclass(frozen=True)
class Command:
    """A command: its name (of a group two words), help, and place, "module:function"."""

    name: str
    help: str
    place: str

    @property
    def stage(self) -> str:
        return self.place.split(".")[0]

    @property
    def is_here(self) -> bool:
        """Whether the stage's folder lies beside this package, as in a checkout."""
        return (_CHECKOUT / self.stage).is_dir()

    def run(self, arguments: argparse.Namespace) -> int:
        """Import the command's module, run it and return its exit status."""
        module, _, function = self.place.partition(":")
        status: int = getattr(importlib.import_module(module), function)(arguments)
        return status

    def declare(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's options. Raises ToolError outside of a checkout."""
        if not self.is_here:
            raise errors.ToolError(
                f"slipway {self.name} runs from a checkout",
                expected=f"the folder {self.stage}/ beside the package slipway",
                found="the installed package alone: client, linter and this command line",
                where=str(_CHECKOUT),
                fix=f"in a checkout of Slipway: make setup && .venv/bin/slipway {self.name}",
            )
        getattr(importlib.import_module(f"{self.stage}.options"), self.place.partition(":")[2] + "_options")(parser)


COMMANDS = (
    Command("train", "fine-tune an encoder on a corpus with Horovod → RUN/bundle", "train.finetune:train"),
    Command("import", "make RUN/bundle of a SavedModel trained elsewhere", "export.import_savedmodel.command:import_savedmodel"),
    Command("export", "convert RUN/bundle into every variant and compare → RUN/artifacts", "export.convert:export"),
    Command("check", "check every hash, link and verdict of RUN again", "export.commands:check"),
    Command("build", "compile what passed into a Triton repository → RUN/model_repository", "serving.repository.build:build"),
    Command("serve", "run Triton on RUN or on what is published, until Ctrl-C", "serving.commands:serve"),
    Command("verify", "compare the live server's answers with the SavedModel's → RUN/served.json", "serving.commands:verify"),
    Command("tune", "find the cheapest configuration that holds a p99 → RUN/tuning.json", "serving.tuning.tune:tune"),
    Command("bench", "measure RUN's models and two baselines → RUN/benchmark.json", "serving.benchmark.benchmark:bench"),
    Command("report", "render RUN's records → RUN/report.html", "serving.report.report:report"),
    Command("compare", "put two runs of one corpus side by side → B/compare.html", "serving.report.compare:compare"),
    Command("publish", "add RUN's repository to model_repository/ as its next version", "serving.registry.promotion:publish"),
    Command("promote", "try a published version beside the active one, then switch", "serving.registry.promotion:promote"),
    Command("rollback", "switch back to the version that was active before", "serving.registry.commands:rollback"),
    Command("status", "show what is published, what is served, what was done last", "serving.registry.commands:status"),
    Command("lint", "find what is wrong in any Triton model repository", "slipway.lint.commands:lint"),
    Command("ask", "classify a text on a running server, and show all its scores", "slipway.client.ask:ask"),
    Command("classify", "classify a file's or a pipe's lines → JSONL, CSV or TSV", "slipway.client.classify:classify"),
    Command("analyze throughput", "measure examples/s and its share of the machine's peak", "train.analysis.throughput:throughput"),
    Command("analyze profile", "show the operations a training step spends its time in", "train.analysis.profiler:profile"),
    Command("analyze lr", "find a learning rate by a range test", "train.analysis.lr_finder:lr"),
    Command("doctor", "show what this machine can run, and what provides the rest", "slipway.doctor:doctor"),
)


def main() -> NoReturn:
    """Run the command in sys.argv and exit with its status."""
    errors.run(_main)


def _main() -> int:
    words = sys.argv[1:]
    if words[:1] == ["--print-completion"]:
        return _completion(words[1] if len(words) > 1 else "bash")
    chosen = next((c for c in COMMANDS if c.name.split() == words[: len(c.name.split())]), None)
    arguments = _parser((chosen,) if chosen else ()).parse_args()
    if not chosen:
        return 2
    if words[0] not in _MAKERS:
        _check_runs(arguments)
    places = _places(arguments)
    for place in places if words[0] not in _READERS else ():
        _check_room(place)
    with errors.named(places[0] if places else Path()):
        return chosen.run(arguments)


def _places(arguments: argparse.Namespace) -> list[Path]:
    """Return the directories in which a command with these arguments writes, if it does."""
    values = [(name, getattr(arguments, name, None)) for name in (*_WRITTEN, *_REPLACED)]
    return [value.parent if name in _REPLACED else value for name, value in values if isinstance(value, Path)]


def _check_room(place: Path) -> None:
    """Raise OSError where nothing can be written: before hours of work, instead of after them.

    What is written has no name, and is gone when this returns.
    """
    there = next(parent for parent in (place, *place.absolute().parents) if parent.is_dir())
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(_PROBE)
            probe.flush()
    except OSError as error:
        error.filename = str(there)  # not the name that the file would have had
        raise


def _check_runs(arguments: argparse.Namespace) -> None:
    """Raise ManifestError for a run that is not there, with the command for the one that was
    probably meant. Before anything says what it lacks, and proposes to train under that name.
    """
    for run in (run for name in _RUNS if isinstance(run := getattr(arguments, name, None), Path) and not run.is_dir()):
        beside = sorted(path.parent.name for path in run.parent.glob("*/bundle"))
        raise errors.ManifestError(
            f"there is no run {run}",
            expected="a directory that slipway train or slipway import made",
            found=f"no such directory; beside it {', '.join(beside) or 'there is no run'}",
            where=str(run.absolute().parent),
            fix=errors.meant(run, beside) or f"name a run, or make one: {errors.command('train', run, '--corpus', 'FILE')}",
        )


def _parser(with_options: tuple[Command, ...]) -> argparse.ArgumentParser:
    """Build the parser: every command by name and help, options only for those named (their modules
    are imported).
    """
    parser = argparse.ArgumentParser(
        prog="slipway",
        description="A TensorFlow BERT from fine-tuning to a Triton endpoint, every conversion proven.",
        epilog="slipway COMMAND --help shows a command's options.",
        allow_abbrev=False,
    )
    groups = {"": parser.add_subparsers(metavar="COMMAND", required=True)}
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group not in groups:
            member = groups[""].add_parser(group, help="throughput, profile, lr: how training uses this machine")
            groups[group] = member.add_subparsers(metavar="WHAT", required=True)
        child = groups[group].add_parser(name, help=command.help, description=command.help, allow_abbrev=False)
        if command in with_options:
            command.declare(child)
        child.set_defaults(command=command.name)  # for errors that name it again
    return parser


def _completion(shell: str) -> int:
    try:
        shtab = importlib.import_module("shtab")
    except ModuleNotFoundError:
        raise errors.ToolError(
            "completion needs the package shtab",
            expected="shtab",
            found="none",
            where=sys.prefix,
            fix=f"{sys.executable} -m pip install shtab",
        ) from None
    print(shtab.complete(_parser(tuple(command for command in COMMANDS if command.is_here)), shell=shell))
    return 0


if __name__ == "__main__":
    main()
