"""`slipway classify` on a real Triton: a line out for each line in, and a bad one
fails alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.server import triton
from serving.server.triton import Server
from slipway.client.commands import read_line
from slipway.client.transport import PROTOCOLS
from slipway.contract.records import HOST
from tests.support.command import CHECKOUT, slipway

ENTRY = [sys.executable, "-m", "slipway.cli", "classify"]


def run(server: Server, *arguments: object, lines: bytes = b"") -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, rows, and what was said on stderr."""
    words = [*ENTRY, "--address", server.http, *map(str, arguments)]
    done = subprocess.run(words, cwd=CHECKOUT, input=lines, capture_output=True, check=False, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def test_every_line_of_a_file_is_answered_in_its_place(echo_server: Server, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(500)]
    (tmp_path / "texts.txt").write_text("\n".join(texts), "utf-8")
    code, rows, _ = run(echo_server, tmp_path / "texts.txt", "--batch", 7)
    assert [row["answer"]["label"] for row in rows] == texts
    assert [row["line"] for row in rows] == list(range(1, 501))
    assert code == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_standard_input_is_read_when_no_file_is_named(echo_server: Server, protocol: str) -> None:
    _, rows, _ = run(echo_server, "--protocol", protocol, "--address", echo_server.address(protocol), lines="世界\n".encode())
    assert rows == [
        {
            "text": "世界",
            "line": 1,
            "answer": {"label": "世界", "probability": 0.5, "logits": [6, -1], "truncated": False, "tokens": 6},
        }
    ]


def test_what_a_json_line_held_stands_beside_its_answer(echo_server: Server) -> None:
    _, [row], _ = run(echo_server, "--jsonl", lines=b'{"id": 7, "text": "a", "label": "gold"}\n')
    assert (row["id"], row["label"], row["answer"]["label"]) == (7, "gold", "a")


def test_bad_lines_fail_alone_and_are_counted(echo_server: Server) -> None:
    code, rows, said = run(echo_server, lines=b"one\n\nthree\n\xff\nfive\n")
    assert [row.get("answer", {}).get("label") for row in rows] == ["one", None, "three", None, "five"]
    assert (rows[1]["error"], "0xff" in rows[3]["error"]) == ("text 0 is empty", True)
    assert (code, "5 lines, 2 with an error" in said) == (1, True)


def test_a_headers_file_that_is_none_is_refused_without_showing_it(echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("secret\n")
    code, _, said = run(echo_server, "--headers", tmp_path / "headers", lines=b"text\n")
    assert (code, "no headers" in said, "secret" in said) == (8, True, False)


def test_without_a_server_it_says_how_to_start_one() -> None:
    done = slipway("classify", "--address", f"{HOST}:{triton.free_ports().http}")
    assert (done.returncode, "serve RUN" in done.stderr) == (8, True)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = slipway("classify", tmp_path / "nothing.txt")
    assert (done.returncode, "nothing.txt" in done.stderr) == (8, True)


def test_a_reader_that_has_had_enough_ends_it_quietly(echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a text of some length\n" * 5000, "utf-8")
    words = [*ENTRY, "--address", echo_server.http, str(tmp_path / "texts.txt")]
    with subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(30) == 0
    assert b"Error" not in said


def test_a_terminal_gets_a_progress_bar(echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("text\n" * 300, "utf-8")
    ours, its = pty.openpty()
    with subprocess.Popen(
        [*ENTRY, "--address", echo_server.http, str(tmp_path / "texts.txt")], cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=its
    ) as process:
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # that is how a terminal ends; it is read all the while, because it holds little
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == 0
    assert b"300 texts" in shown
    assert b"100%" in shown


@pytest.mark.parametrize(
    ("raw", "task", "question"),
    [
        ("one text\r\n", "single_text", "one text"),
        ("with\ta tab", "single_text", "with\ta tab"),
        ("first\tsecond\tand its tab", "text_pair", ("first", "second\tand its tab")),
        ("three small  words", "tagging", ["three", "small", "words"]),
        ("", "single_text", ""),  # for the model to refuse
    ],
)
def test_a_plain_line_is_one_question(raw: str, task: str, question: Any) -> None:
    line = read_line(1, raw.encode(), task, jsonl=False)
    assert (line.question, line.error) == (question, "")


@pytest.mark.parametrize(
    ("raw", "task", "question"),
    [
        ('{"text": "one\\ntext", "label": 3}', "single_text", "one\ntext"),
        ('{"text_b": "second", "text": "first"}', "text_pair", ("first", "second")),
        ('{"words": ["three", "small", "words"]}', "tagging", ["three", "small", "words"]),
    ],
)
def test_a_json_line_is_one_question(raw: str, task: str, question: Any) -> None:
    line = read_line(1, raw.encode(), task, jsonl=True)
    assert (line.question, line.error) == (question, "")


def test_what_a_json_line_held_is_kept() -> None:
    assert read_line(1, b'{"text": "a", "id": 7}', "single_text", jsonl=True).fields == {"text": "a", "id": 7}


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read_line(1, b"\xef\xbb\xbftext\n", "single_text", jsonl=False).question == "text"


@pytest.mark.parametrize(
    ("raw", "task", "jsonl", "error"),
    [
        (b"ab\xffcd", "single_text", False, "can't decode byte 0xff in position 2"),
        (b"only one", "text_pair", False, "'text_b', a string; found text"),
        (b"{", "single_text", True, "line 1 column 2"),
        (b"[" * 100_000, "single_text", True, "recursion"),
        (b"3", "single_text", True, "expected a JSON object, found int"),
        (b'{"title": "a"}', "single_text", True, "expected 'text', a string; found title"),
        (b'{"text": 3}', "single_text", True, "'text', a string"),
        (b'{"text": "a", "text_b": null}', "text_pair", True, "'text_b', a string"),
        (b'{"words": "a b"}', "tagging", True, "'words', a list of words"),
        (b'{"words": []}', "tagging", True, "'words', a list of words"),
        (b'{"text": "\\ud800"}', "single_text", True, "surrogates not allowed"),
    ],
)
def test_a_bad_line_says_what_is_wrong_with_it(raw: bytes, task: str, jsonl: bool, error: str) -> None:
    line = read_line(1, raw, task, jsonl)
    assert line.question is None
    assert error in line.error
