"""The command line: `slipway COMMAND RUN [options]`.

Every command is one row of COMMANDS: its name, one line of help, and where it lives as
"module:function". The module is imported when its command is called and has two functions:
`NAME_options(parser)` adds the options, `NAME(arguments)` runs and returns the exit status. So
`slipway --help` imports no stage, and nothing heavy.

    slipway export runs/demo
    slipway --print-completion bash > ~/.local/share/bash-completion/completions/slipway
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from slipway import errors

_CHECKOUT = Path(__file__).parents[1]
_SHELLS = ("bash", "zsh", "tcsh")


@dataclass(frozen=True)
class Command:
    """A command's name (two words: a group and its member), help and place, "module:function"."""

    name: str
    help: str
    place: str

    @property
    def module(self) -> str:
        return self.place.partition(":")[0]

    def function(self, suffix: str = "") -> Callable[..., int]:
        """Import the command's module and return its function. Raises ToolError without the
        checkout it runs from.
        """
        if not self.module.startswith("slipway.") and not (_CHECKOUT / self.module.split(".")[0]).is_dir():
            raise errors.ToolError(
                f"slipway {self.name} runs from a checkout",
                expected=f"the folder {self.module.split('.')[0]}/ beside the package slipway",
                found="the installed package alone: client, linter and this command line",
                where=str(_CHECKOUT),
                fix=f"in a checkout of Slipway: make setup && .venv/bin/slipway {self.name}",
            )
        return getattr(importlib.import_module(self.module), self.place.partition(":")[2] + suffix)  # type: ignore[no-any-return]


COMMANDS = (
    Command("train", "fine-tune an encoder on a corpus with Horovod → RUN/bundle", "train.finetune:train"),
    Command("import", "make RUN/bundle of a SavedModel that was trained elsewhere", "export.import_savedmodel:import_savedmodel"),
    Command("export", "convert RUN/bundle into every variant and compare → RUN/artifacts", "export.convert:export"),
    Command("check", "check every hash, link and verdict of RUN again", "export.commands:check"),
    Command("build", "compile what passed into a Triton repository → RUN/model_repository", "serving.repository.build:build"),
    Command("serve", "run Triton on RUN or on what is published, until Ctrl-C", "serving.serve:serve"),
    Command("verify", "compare the live server's answers with the SavedModel's → RUN/served.json", "serving.commands:verify"),
    Command("tune", "find the cheapest configuration that holds a p99 → RUN/tuning.json", "serving.tuning.search.tune:tune"),
    Command("bench", "measure RUN's models and two baselines → RUN/benchmark.json", "serving.benchmark.benchmark.benchmark:bench"),
    Command("report", "render RUN's records → RUN/report.html", "serving.report.report.report:report"),
    Command("compare", "put two runs of one corpus side by side → B/compare.html", "serving.report.report.compare:compare"),
    Command("publish", "add RUN's repository to model_repository/ as its next version", "serving.registry.commands:publish"),
    Command("promote", "try a published version beside the active one, then switch", "serving.registry.commands:promote"),
    Command("rollback", "switch back to the version that was active before", "serving.registry.commands:rollback"),
    Command("status", "show what is published, what is served, what was done last", "serving.registry.commands:status"),
    Command("lint", "find what is wrong in any Triton model repository", "slipway.lint.commands:lint"),
    Command("ask", "classify a text on a running server, over HTTP and gRPC", "slipway.client.commands:ask"),
    Command("classify", "classify a file's or a pipe's lines → JSONL", "slipway.client.commands:classify"),
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
    return chosen.function()(arguments) if chosen else 2


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
            command.function("_options")(child)
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
    available = tuple(c for c in COMMANDS if c.module.startswith("slipway.") or (_CHECKOUT / c.module.split(".")[0]).is_dir())
    print(shtab.complete(_parser(available), shell=shell))
    return 0


if __name__ == "__main__":
    main()
