"""docs/commands.md, written from the parser, the Makefile, the errors and the pages' own commands.

python -m tests.docs.commands_page     writes it anew
"""

from __future__ import annotations

import argparse
import os
import re
import textwrap
from collections import defaultdict

from slipway import errors
from slipway.cli import COMMANDS, Command
from tests.docs import shown_commands as shown
from tests.docs.shown_commands import Shown

_INTRODUCTION = """\
# Commands

In a checkout `slipway` is `.venv/bin/slipway`. `slipway COMMAND --help` says what is below, and
`slipway --print-completion bash` writes completion for a shell (also `zsh` and `tcsh`).

This page is written from the parser, the Makefile and the other pages by
`python -m tests.docs.commands_page`; a test holds that it is up to date.
"""
_MORE = {  # command → the page that tells its story
    "train": ("Training", "training.md"),
    "import": ("My SavedModel", "import.md"),
    "export": ("What the gate sees", "parity.md"),
    "check": ("What the gate sees", "parity.md"),
    "build": ("Configuration", "configuration.md"),
    "serve": ("Versions and rollout", "serving.md"),
    "verify": ("Clients", "clients.md"),
    "tune": ("Configuration", "configuration.md"),
    "bench": ("Benchmarks", "benchmarks.md"),
    "report": ("Benchmarks", "benchmarks.md"),
    "compare": ("Benchmarks", "benchmarks.md"),
    "publish": ("Versions and rollout", "serving.md"),
    "promote": ("Versions and rollout", "serving.md"),
    "rollback": ("Versions and rollout", "serving.md"),
    "status": ("Versions and rollout", "serving.md"),
    "lint": ("Lint", "lint.md"),
    "ask": ("Clients", "clients.md"),
    "classify": ("Clients", "clients.md"),
    "analyze throughput": ("Training", "training.md#measuring"),
    "analyze profile": ("Training", "training.md#measuring"),
    "analyze lr": ("Training", "training.md#optimization"),
    "doctor": ("Troubleshooting", "troubleshooting.md"),
}
_SHARED = {"analyze": "train"}  # group → whose options its commands take, too
# What a page shows → the test that runs it so, with values of its own. The parser alone takes the
# others.
TESTS = {
    "analyze lr --corpus": "tests/train/analysis/test_throughput.py",
    "ask": "tests/slipway/client/test_ask.py",
    "bench": "tests/journeys/test_end_to_end.py",
    "bench --address": "tests/serving/benchmark/test_elsewhere.py",
    "build": "tests/journeys/test_own_data.py",
    "classify": "tests/docs/test_client_docs.py",
    "classify --format --protocol": "tests/docs/test_client_docs.py",
    "classify --output --protocol --text": "tests/docs/test_client_docs.py",
    "export": "tests/journeys/test_own_data.py",
    "import --golden --saved-model": "tests/journeys/test_own_data.py",
    "import --golden --labels --saved-model --vocab": "tests/journeys/test_import.py",
    "lint": "tests/journeys/test_end_to_end.py",
    "promote": "tests/journeys/test_promote.py",
    "promote --accept-loss --reason --version": "tests/journeys/test_promote.py",
    "publish": "tests/journeys/test_promote.py",
    "report": "tests/journeys/test_end_to_end.py",
    "rollback": "tests/journeys/test_promote.py",
    "serve": "tests/journeys/test_own_data.py",
    "serve --page": "tests/serving/page/test_live.py",
    "serve --published": "tests/journeys/test_promote.py",
    "status": "tests/journeys/test_promote.py",
    "train --corpus": "tests/journeys/test_own_data.py",
    "train --corpus --encoder": "tests/train/test_finetune.py",
    "train --resume": "tests/journeys/test_resume.py",
    "train --corpus --label --text": "tests/journeys/test_own_data.py",
    "tune --p99-ms": "tests/serving/tuning/test_tune.py",
    "tune --p99-ms --rate": "tests/serving/tuning/test_tune.py",
    "verify": "tests/journeys/test_own_data.py",
    "verify --address": "tests/serving/benchmark/test_elsewhere.py",
}


def main() -> int:
    shown.GENERATED.write_text(page(), "utf-8")
    return 0


def page() -> str:
    sections = [_make(), *(_command(command) for command in COMMANDS), _exit_codes(), _in_pages()]
    return "\n".join([_INTRODUCTION, *sections])


def _table(head: str, rows: list[str]) -> str:
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *rows, ""])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _make() -> str:
    verbs = re.findall(r"^([a-z-]+):.*?## ?(.*)$", shown.MAKEFILE, re.MULTILINE)
    known = re.search(r"^KNOWN := ((?:.*\\\n)*.*)$", shown.MAKEFILE, re.MULTILINE)
    assert known, "the Makefile's list of its variables"
    names = ", ".join(f"`{name}`" for name in known[1].replace("\\\n", " ").split())
    rows = [f"| `make {verb}` | {_cell(words)} |" for verb, words in verbs]
    text = f"Most run set-up first, which has nothing to do the second time. The variables, as `NAME=value`, are {names}; "
    text = _wrapped(f"{text}the head of the Makefile says more.")
    return "\n".join(["## make", "", text, "", _table("| verb | what it does |", rows)])


def _command(command: Command) -> str:
    shared = next((other for other in COMMANDS if other.name == _SHARED.get(command.name.split()[0])), None)
    more = f" More: [{_MORE[command.name][0]}]({_MORE[command.name][1]})." if command.name in _MORE else ""
    lines = [f"## slipway {command.name}", "", _wrapped(f"{command.help[0].upper()}{command.help[1:]}.{more}"), ""]
    taken = _rows(shared) if shared else []
    rows = [row for row in _rows(command) if row not in taken]
    if rows:
        lines.append(_table("| option | default | meaning |", rows))
    if shared:
        lines += [f"It also takes the options of [slipway {shared.name}](#slipway-{shared.name}).", ""]
    return "\n".join(lines)


def _rows(command: Command) -> list[str]:
    actions = [action for action in shown.options_of(command)._actions if action.help != argparse.SUPPRESS]
    actions.sort(key=lambda action: bool(action.option_strings))  # RUN first
    return [_row(action, f"slipway {command.name}") for action in actions]


def _row(action: argparse.Action, program: str) -> str:
    value = f" {action.metavar}" if isinstance(action.metavar, str) and action.option_strings else ""
    more = " …" if action.nargs in ("*", "+") else ""
    name = " ".join(action.option_strings) or str(action.metavar or action.dest.upper())
    default, text = _default(action), (action.help or "") % {**vars(action), "prog": program}
    text = text.removesuffix(f"default: {action.default}").removesuffix("; ")
    choices = action.choices if isinstance(action.choices, tuple | list) else ()
    meaning = "; ".join(filter(None, [_cell(text), ", ".join(f"`{choice}`" for choice in choices)]))
    return f"| `{name}{value}{more}` | {'' if 'default:' in text else default} | {meaning} |"


def _default(action: argparse.Action) -> str:
    value = action.default
    if value in (None, "", []) or not action.option_strings:
        return ""
    if action.nargs == 0:
        return "on" if value is True else "off" if value is False else ""
    return f"{value:g}" if isinstance(value, float) else _cell(str(value))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _exit_codes() -> str:
    codes = defaultdict(list)
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.SlipwayError) and kind is not errors.SlipwayError:
            codes[kind.exit_code].append((kind.__doc__ or "").partition("\n")[0])
    codes[0].append("It was done.")
    codes[errors.SOME_PASSED].append("Some variants passed the export; the others are left out, and were named.")
    codes[errors.NOT_DECIDED].append("Too few golden rows decide; nothing is shown to be worse.")
    codes[130].append("Ctrl-C, before there was anything to save.")
    rows = [f"| {code} | {' '.join(meanings)} |" for code, meanings in sorted(codes.items())]
    return "\n".join(["## Exit codes", "", _table("| code | meaning |", rows)])


def _in_pages() -> str:
    text = """\
## Commands of these pages

The real parser, and make, take every command that a page shows, and a test holds it. Here they are
by their options, other than defaults. The tests that are named run them so, with values of their
own; `test_client_docs.py` and `test_own_data.py` take them off the page as they stand. What has no
test needs what the tests have not: another machine, a certificate, the time of a full measurement.
"""
    rows = [
        f"| `slipway {shape}` | {', '.join(_link(page) for page in sorted(pages))} | {_code(TESTS.get(shape, ''))} |"
        for shape, pages in sorted(shapes().items())
    ]
    return "\n".join([text, _table("| command | shown in | a test that runs it |", rows)])


def shapes() -> dict[str, set[str]]:
    """Command with its options → the pages that show it."""
    found = defaultdict(set)
    for one in shown.in_blocks():
        for words in commands(one):
            found[shown.shape(words)].add(one.page)
    return dict(found)


def _code(text: str) -> str:
    return f"`{text}`" if text else "–"


def _link(page: str) -> str:
    return f"[{page.removeprefix('docs/')}]({os.path.relpath(page, 'docs')})"


def commands(one: Shown) -> list[list[str]]:
    """What a shown line runs, as `slipway` commands."""
    if shown.is_slipway(one.words):
        return [one.words]
    return shown.made_by(one.words) if one.words[0] == "make" else []


if __name__ == "__main__":
    raise SystemExit(main())
