"""What is written for programs arrives whole, whatever of the streams is a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from slipway import console
from tests.slipway.client.terminal import on_terminal
from tests.support.serving import tiny_repository

DATA = "data " * 40  # wider than a terminal
PRINTS_DURING_AN_ACTIVITY = f"""
import sys
from slipway import console
with console.activity("convert") as say:
    say("this")
    print({DATA!r})
    print("a warning", file=sys.stderr)
"""
PRINTS_BESIDE_A_BAR = f"""
from slipway import console
with console.bar_beside_data("shown", data_on_stdout=True) as bar:
    bar.add_task("")
    print({DATA!r})
"""
PRINTS_A_WIDE_TABLE = f"""
from slipway import console
table = console.table("", "cell", left=("cell",))
table.add_row({DATA!r})
console.console().print(table)
"""


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


@pytest.mark.parametrize("stdout", ["file", "pipe"])
@pytest.mark.parametrize("program", [PRINTS_DURING_AN_ACTIVITY, PRINTS_BESIDE_A_BAR, PRINTS_A_WIDE_TABLE])
def test_what_is_printed_arrives_on_stdout_when_stderr_is_a_terminal(program: str, stdout: str) -> None:
    out, shown = on_terminal(python(program), stdout=stdout)
    assert out.decode().count(DATA.strip()) == 1
    assert b"data" not in shown


def test_a_bar_beside_data_is_shown_on_the_terminal() -> None:
    _, shown = on_terminal(python(PRINTS_BESIDE_A_BAR), stdout="null")
    assert b"shown" in shown


def test_a_bar_does_not_disturb_data_on_the_same_terminal() -> None:
    _, shown = on_terminal(python(PRINTS_BESIDE_A_BAR), stdout="terminal")
    assert shown.replace(b"\r\n", b"").decode() == DATA


def test_a_warning_arrives_on_stderr_when_stdout_is_a_terminal() -> None:
    _, shown = on_terminal(python(PRINTS_DURING_AN_ACTIVITY), stdout="terminal", stderr="null")
    assert b"a warning" not in shown
    assert b"data" in shown


def test_forced_colours_make_no_terminal_of_a_pipe() -> None:
    out, _ = on_terminal(python(PRINTS_DURING_AN_ACTIVITY), stdout="pipe", stderr="null", environment={"FORCE_COLOR": "1"})
    assert out.decode() == f"{DATA}\n"


@pytest.mark.parametrize("stdout", ["file", "pipe"])
def test_the_linters_json_arrives_whole(tmp_path: Path, stdout: str) -> None:
    repository = tiny_repository.classifiers(tmp_path) / "model_repository"
    out, shown = on_terminal([sys.executable, "-m", "slipway.cli", "lint", "--json", str(repository)], stdout=stdout)
    assert "text_classifier" in json.loads(out)["models"]
    assert shown == b""


@pytest.mark.parametrize("text", ["[b]", "[/b]", "[red]a[/]", "runs/[old]", ":warning:", "[link=x]"])
def test_what_a_user_named_is_shown_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = console.table("", "label", left=("label",))
    table.add_row(text)
    console.console().print(table)
    console.console().print(f"{text} alone")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()][1:] == [text, f"{text} alone"]
