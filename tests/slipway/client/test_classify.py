"""`slipway classify` on a real Triton: a line out for each line in, and a bad one
fails alone.
"""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from serving.server import triton
from serving.server.triton import Server
from slipway.client.transport import PROTOCOLS
from slipway.contract.records import HOST
from tests.slipway.client.terminal import on_terminal
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
    _, [row], _ = run(echo_server, "--format", "jsonl", lines=b'{"id": 7, "text": "a", "label": "gold"}\n')
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
    assert (done.returncode, "nothing.txt" in done.stderr) == (74, True)


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


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("text\n" * 300, "utf-8")
    return path


@pytest.mark.parametrize("stdout", ["file", "pipe"])
def test_answers_go_to_stdout_whole_while_a_terminal_shows_the_bar(echo_server: Server, texts: Path, stdout: str) -> None:
    out, shown = on_terminal([*ENTRY, "--address", echo_server.http, str(texts)], stdout=stdout)
    assert [json.loads(line)["answer"]["label"] for line in out.splitlines()] == ["text"] * 300
    assert b"100%" in shown
    assert b'"answer"' not in shown


def test_the_bar_shows_count_and_rate(echo_server: Server, texts: Path) -> None:
    _, shown = on_terminal([*ENTRY, "--address", echo_server.http, str(texts)], stdout="null")
    assert b"300 texts" in shown
    assert b"a second" in shown


def test_a_terminal_that_gets_the_answers_gets_no_bar(echo_server: Server, texts: Path) -> None:
    _, shown = on_terminal([*ENTRY, "--address", echo_server.http, str(texts)], stdout="terminal")
    assert shown.count(b'"answer"') == 300
    assert b"%" not in shown


def test_answers_in_a_file_leave_the_bar_to_the_terminal(echo_server: Server, texts: Path, tmp_path: Path) -> None:
    words = [*ENTRY, "--address", echo_server.http, str(texts), "--output", str(tmp_path / "out.jsonl")]
    _, shown = on_terminal(words, stdout="terminal")
    assert b"100%" in shown
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 300


def test_colours_that_are_forced_take_nothing_from_stdout(echo_server: Server, texts: Path) -> None:
    done = slipway("classify", texts, "--address", echo_server.http, environment={"FORCE_COLOR": "1"})
    assert len(done.stdout.splitlines()) == 300


def test_answers_are_utf_8_and_not_escaped_whatever_the_locale(echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("世界\n", "utf-8")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    words = [*ENTRY, "--address", echo_server.http, str(tmp_path / "texts.txt")]
    out, _ = on_terminal(words, stdout="pipe", environment=plain)
    assert out.decode().startswith('{"text": "世界"')


def test_half_of_a_surrogate_pair_stays_as_it_was_written(echo_server: Server) -> None:
    _, [row], _ = run(echo_server, "--format", "jsonl", lines=b'{"text": "a", "id": "\\ud800"}\n')
    assert row["id"] == "\ud800"


def test_an_earlier_answer_is_replaced(echo_server: Server) -> None:
    _, [row], _ = run(echo_server, "--format", "jsonl", lines=b'{"text": "a", "line": 7, "error": "no"}\n')
    assert (row["line"], "error" in row, row["answer"]["label"]) == (1, False, "a")


def table(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("csv", ";"), ("tsv", "\t")])
def test_a_table_keeps_its_columns_beside_the_answers(echo_server: Server, tmp_path: Path, suffix: str, delimiter: str) -> None:
    source, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    source.write_text(f'id{delimiter}review\n1{delimiter}"two\nlines, ""quoted"""\n2{delimiter}\n', "utf-8")
    code, _, _ = run(echo_server, source, "--text", "review", "--output", out)
    good, bad = table(out, delimiter)
    assert (good["id"], good["review"], good["answer_label"]) == ("1", 'two\nlines, "quoted"', 'two\nlines, "quoted"')
    assert json.loads(good["answer_logits"]) == [len(good["review"]), -1]
    assert (bad["id"], bad["answer_label"], bad["answer_error"], code) == ("2", "", "text 0 is empty", 1)


def test_a_table_that_is_answered_again_has_its_new_answers_alone(echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,answer_label,answer_error\nnew,old,old\n")
    run(echo_server, tmp_path / "in.csv", "--output", tmp_path / "out.csv")
    [row] = table(tmp_path / "out.csv")
    assert (row["answer_label"], row["answer_error"]) == ("new", "")


def test_a_table_without_quotes_is_written_without(echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text('text\tid\n"open\t1\n')
    run(echo_server, tmp_path / "in.tsv", "--no-quotes", "--output", tmp_path / "out.tsv")
    assert (tmp_path / "out.tsv").read_text().splitlines()[1].split("\t")[:3] == ['"open', "1", '"open']


def test_a_lone_carriage_return_stays_in_its_cell(echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b'id,text\n"a\rb",good\n')
    run(echo_server, tmp_path / "in.csv", "--output", tmp_path / "out.csv")
    [row] = table(tmp_path / "out.csv")
    assert (row["id"], row["text"]) == ("a\rb", "good")


def test_texts_become_a_table_and_a_table_json_lines(echo_server: Server, tmp_path: Path) -> None:
    run(echo_server, "--output", tmp_path / "a.csv", lines="ä\n".encode())
    run(echo_server, tmp_path / "a.csv", "--output", tmp_path / "b.jsonl")
    [row] = table(tmp_path / "a.csv")
    assert (row["text"], json.loads((tmp_path / "b.jsonl").read_text())["text"]) == ("ä", "ä")


def test_a_suffix_that_is_not_written_is_refused(echo_server: Server, tmp_path: Path) -> None:
    code, _, said = run(echo_server, "--output", tmp_path / "out.xlsx", lines=b"text\n")
    assert (code, ".xlsx is not written" in said, list(tmp_path.iterdir())) == (2, True, [])


def test_json_lines_do_not_become_a_table(echo_server: Server, tmp_path: Path) -> None:
    code, _, said = run(echo_server, "--format", "jsonl", "--output", tmp_path / "out.csv", lines=b'{"text": "a"}\n')
    assert (code, "do not become a table" in said, list(tmp_path.iterdir())) == (2, True, [])


@pytest.mark.parametrize(("name", "head"), [("out.jsonl", 0), ("out.csv", 1)])
def test_an_interrupted_run_is_gone_on_with(echo_server: Server, tmp_path: Path, name: str, head: int) -> None:
    out, partial = tmp_path / name, tmp_path / f"{name}.part"
    words = [*ENTRY, "--address", echo_server.http, "--output", str(out), "--batch", "1", "--in-flight", "1"]
    with subprocess.Popen(words, cwd=CHECKOUT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b"one\ntwo\n")
        process.stdin.flush()
        end = time.monotonic() + 30
        while time.monotonic() < end and not (partial.exists() and partial.read_bytes().count(b"\n") == 2 + head):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 75
        assert b"2 lines, which are kept" in process.stderr.read()
    with partial.open("ab") as file:
        file.write(b'"cut o')  # as where the process was killed
    code, _, said = run(echo_server, "--output", out, "--resume", lines=b"one\ntwo\nthree\n")
    assert (code, "3 lines" in said, partial.exists()) == (0, True, False)
    assert out.read_bytes().count(b"\n") == 3 + head
    assert b"cut o" not in out.read_bytes()


def test_answers_that_are_there_are_not_written_over(echo_server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(echo_server, "--output", out, lines=b"one\n")
    before = out.read_bytes()
    code, _, said = run(echo_server, "--output", out, lines=b"two\n")
    assert (code, "--resume" in said, out.read_bytes()) == (2, True, before)


def test_answers_to_other_lines_are_not_gone_on_with(echo_server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(echo_server, "--output", out, lines=b"one\n")
    before = out.read_bytes()
    code, _, said = run(echo_server, "--output", out, "--resume", lines=b"two\n")
    assert (code, "another line 1" in said, out.read_bytes()) == (2, True, before)


def test_lines_without_answers_are_not_taken_for_answered(echo_server: Server, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "one"}\n')
    code, _, said = run(echo_server, source, "--output", source, "--resume")
    assert (code, "a line without an answer" in said, source.read_text()) == (2, True, '{"text": "one"}\n')


def test_an_input_that_grew_is_gone_on_with(echo_server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for lines in (b"one\n", b"one\ntwo\n"):
        run(echo_server, "--output", out, "--resume", lines=lines)
    assert [json.loads(line)["line"] for line in out.read_bytes().splitlines()] == [1, 2]


def test_errors_before_an_interruption_count_at_the_end(echo_server: Server, tmp_path: Path) -> None:
    for lines in (b"one\n\n", b"one\n\ntwo\n"):
        code, _, said = run(echo_server, "--output", tmp_path / "out.csv", "--resume", lines=lines)
    assert (code, "3 lines, 1 with an error" in said) == (1, True)


def test_stdout_cannot_be_resumed() -> None:
    done = slipway("classify", "news.txt", "--resume")
    assert (done.returncode, "--output" in done.stderr) == (2, True)


def test_what_follows_a_broken_row_is_said_after_the_answers_before(echo_server: Server) -> None:
    words = [*ENTRY, "--address", echo_server.http, "--format", "csv"]
    done = subprocess.run(words, cwd=CHECKOUT, input=b'text\ngood\n"open\n', capture_output=True, check=False, timeout=60)
    assert done.stdout.splitlines()[1].startswith(b"good,good,")
    assert (done.returncode, b"begins in line 3" in done.stderr) == (3, True)


def test_a_full_disk_is_said(echo_server: Server, texts: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        words = [*ENTRY, "--address", echo_server.http, str(texts)]
        done = subprocess.run(words, cwd=CHECKOUT, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, b"No space left" in done.stderr, b"Traceback" in done.stderr) == (74, True, False)


def test_a_line_that_trickles_is_answered_before_the_next(echo_server: Server) -> None:
    words = [*ENTRY, "--address", echo_server.http, "--batch", "1", "--in-flight", "1"]
    with subprocess.Popen(words, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"first\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["answer"]["label"] == "first"
        process.stdin.close()
