"""`slipway classify` from and to Parquet on a real Triton: the other columns keep their types."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from serving.server.triton import Server
from slipway.client.files import answers, parquet_out
from slipway.client.files.answers import Tally
from slipway.client.files.questions import InputLine, Source
from slipway.client.tensors import Tagging
from slipway.errors import Interrupted, SlipwayError
from tests.slipway.client.terminal import on_terminal
from tests.support.command import CHECKOUT, slipway

REVIEWS = pyarrow.table(
    {
        "id": pyarrow.array([7, 8, 9], pyarrow.uint8()),
        "review": pyarrow.array(["good", None, "schön"]).dictionary_encode(),
        "day": pyarrow.array([datetime.date(2024, 2, 29), None, None]),
        "at": pyarrow.array([1577934245123456789, None, 0], pyarrow.timestamp("ns", "Europe/Berlin")),
        "price": pyarrow.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.00")]),
        "image": pyarrow.array([b"\xff", None, b""]),
        "nested": pyarrow.array([{"tags": ["a", "b"]}, None, {"tags": []}]),
        "answer_label": ["old", "old", "old"],
    }
).replace_schema_metadata({"source": "own"})


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.parquet"
    parquet.write_table(REVIEWS, path)
    return path


def classify(server: Server, *words: object) -> subprocess.CompletedProcess[str]:
    return slipway("classify", "--address", server.http, *words)


def test_the_other_columns_keep_values_and_types_beside_the_answers(echo_server: Server, reviews: Path) -> None:
    out = reviews.with_name("answered.parquet")
    done = classify(echo_server, reviews, "--text", "review", "--output", out)
    answered = parquet.read_table(out)
    assert (done.returncode, "3 lines, 1 with an error" in done.stderr) == (1, True)
    own = REVIEWS.drop_columns("answer_label")
    assert answered.select(own.column_names).equals(own.unify_dictionaries())
    assert answered.schema.metadata[b"source"] == b"own"
    assert answered["answer_label"].to_pylist() == ["good", None, "schön"]
    assert answered["answer_error"].to_pylist() == [None, "'review': null", None]


def test_an_answers_columns_have_their_types(echo_server: Server, reviews: Path) -> None:
    out = reviews.with_name("answered.parquet")
    classify(echo_server, reviews, "--text", "review", "--output", out)
    [*_, label, probability, logits, truncated, tokens, error] = parquet.read_schema(out)
    assert [str(field.type) for field in (label, probability, truncated, tokens, error)] == [
        *("string", "double", "bool", "int64", "string")
    ]
    assert str(logits.type.value_type) == "double"
    assert parquet.read_table(out)["answer_logits"].to_pylist() == [[4, -1], None, [6, -1]]


def test_answers_on_stdout_are_json_lines_with_the_other_fields(echo_server: Server, reviews: Path) -> None:
    done = classify(echo_server, reviews, "--text", "review")
    first, null, _ = map(json.loads, done.stdout.splitlines())
    answer, nested = first.pop("answer"), first.pop("nested")
    assert (answer["label"], nested) == ("good", {"tags": ["a", "b"]})
    assert first == {
        **{"id": 7, "review": "good", "day": "2024-02-29", "at": "2020-01-02T03:04:05.123456789Z", "price": "1.50"},
        **{"image": "/w==", "answer_label": "old", "line": 1},
    }
    assert (null["day"], null["error"]) == (None, "'review': null")


def test_a_csv_has_empty_cells_for_nulls(echo_server: Server, reviews: Path) -> None:
    out = reviews.with_name("answered.csv")
    classify(echo_server, reviews, "--text", "review", "--output", out)
    with out.open(newline="") as file:
        first, null, _ = csv.DictReader(file)
    assert (first["price"], first["nested"], first["answer_label"]) == ("1.50", '{"tags": ["a", "b"]}', "good")
    assert (null["day"], null["answer_error"]) == ("", "'review': null")


def test_the_content_says_that_it_is_parquet_whatever_the_name(echo_server: Server, reviews: Path) -> None:
    words = [sys.executable, "-m", "slipway.cli", "classify", "--address", echo_server.http, "--text", "review"]
    with reviews.open("rb") as file:
        done = subprocess.run(words, cwd=CHECKOUT, stdin=file, capture_output=True, check=False, timeout=60)
    assert len(done.stdout.splitlines()) == 3


def test_json_lines_of_parquet_are_gone_on_with(echo_server: Server, reviews: Path) -> None:
    out = reviews.with_name("answered.jsonl")
    classify(echo_server, reviews, "--text", "review", "--output", out)
    whole = out.read_bytes()
    out.with_name("answered.jsonl.part").write_bytes(whole[: whole.index(b"\n") + 20])
    out.unlink()
    done = classify(echo_server, reviews, "--text", "review", "--output", out, "--resume")
    assert ("3 lines, 1 with an error" in done.stderr, out.read_bytes()) == (True, whole)


def test_a_table_of_text_becomes_parquet_of_strings(echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n1,ä\n2\n")
    classify(echo_server, tmp_path / "in.csv", "--output", tmp_path / "out.parquet")
    good, bad = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert (good["id"], good["answer_label"], good["answer_error"]) == ("1", "ä", None)
    assert (bad["id"], bad["answer_label"], bad["answer_error"]) == ("2", None, "expected 2 columns, found 1")


def test_json_lines_do_not_become_parquet(echo_server: Server, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    done = classify(echo_server, tmp_path / "in.jsonl", "--output", tmp_path / "out.parquet")
    assert (done.returncode, "do not become a table" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_an_empty_table_is_answered_by_an_empty_table(echo_server: Server, tmp_path: Path) -> None:
    parquet.write_table(REVIEWS.slice(0, 0), tmp_path / "in.parquet")
    done = classify(echo_server, tmp_path / "in.parquet", "--text", "review", "--output", tmp_path / "out.parquet")
    assert (done.returncode, parquet.read_table(tmp_path / "out.parquet").num_rows) == (0, 0)


def test_answers_that_are_there_are_not_written_over(echo_server: Server, reviews: Path) -> None:
    before = reviews.read_bytes()
    done = classify(echo_server, reviews, "--text", "review", "--output", reviews)
    assert (done.returncode, "answers are there already" in done.stderr, reviews.read_bytes()) == (2, True, before)


def test_parquet_is_not_gone_on_with_and_json_lines_are_proposed(reviews: Path) -> None:
    done = slipway("classify", reviews, "--output", "out.parquet", "--resume")
    assert (done.returncode, "--resume --output out.jsonl" in done.stderr) == (2, True)


def test_without_a_known_suffix_the_output_is_as_the_input_but_no_excel(echo_server: Server, reviews: Path) -> None:
    bare, excel = reviews.with_name("answered"), reviews.with_name("answered.xlsx")
    assert classify(echo_server, reviews, "--text", "review", "--output", bare).returncode == 1
    assert classify(echo_server, reviews, "--text", "review", "--output", excel).returncode == 2
    assert (parquet.read_table(bare).num_rows, excel.exists()) == (3, False)


def test_the_bar_counts_rows(echo_server: Server, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["text"] * 300}), tmp_path / "in.parquet")
    words = [sys.executable, "-m", "slipway.cli", "classify", "--address", echo_server.http, str(tmp_path / "in.parquet")]
    _, shown = on_terminal(words, stdout="null")
    assert (b"100%" in shown, b"300 texts" in shown) == (True, True)


def proposed(stderr: str) -> str:
    """The command that an error proposes, for a shell of any directory."""
    [fix] = [line.removeprefix("  fix       ") for line in stderr.splitlines() if line.startswith("  fix")]
    own = shlex.join(["env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "slipway.cli", "classify"])
    return re.sub(r"\S+ classify", own, fix)


def test_a_pipe_is_refused_with_the_command_that_keeps_it_in_a_file(echo_server: Server, reviews: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "slipway.cli", "classify", "--address", echo_server.http, "--text", "review"]
    with subprocess.Popen(["cat", str(reviews)], stdout=subprocess.PIPE) as pipe:
        done = subprocess.run(words, cwd=CHECKOUT, stdin=pipe.stdout, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "which a pipe does not let" in done.stderr) == (2, True)
    again = f"cat reviews.parquet | {proposed(done.stderr).removeprefix('read the pipe by ')}"
    answered = subprocess.run(["bash", "-c", again], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert len(answered.stdout.splitlines()) == 3


def test_a_directory_is_refused_with_a_loop_that_answers_its_parts(echo_server: Server, tmp_path: Path) -> None:
    parts = tmp_path / "own parts"
    parts.mkdir()
    for number in (1, 2):
        parquet.write_table(REVIEWS, parts / f"{number}.parquet")
    done = classify(echo_server, parts, "--text", "review", "--output", "all.parquet")
    subprocess.run(["bash", "-c", proposed(done.stderr)], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert sorted(path.name for path in (tmp_path / "answered").iterdir()) == ["1.parquet", "2.parquet"]


def tagger(lines: list[InputLine], **options: Any) -> Source:
    return Source(iter(lines), ("words",), **options)


def test_a_taggers_words_and_answers_are_lists(tmp_path: Path) -> None:
    line = InputLine(1, 1, {"words": ["New", "York"]}, ["New", "York"])
    answer = Tagging(("B", "I"), (0.5, 1.0), pyarrow.array([1.0]).to_numpy().reshape(1, 1), False, 4)
    with parquet_out.in_file(tmp_path / "out.parquet", tagger([line]), "tagging", Tally()) as write:
        write([(line, answer)])
    [row] = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert row == {
        **{"words": ["New", "York"], "answer_labels": ["B", "I"], "answer_probabilities": [0.5, 1.0]},
        **{"answer_logits": [[1.0]], "answer_truncated": False, "answer_tokens": 4, "answer_error": None},
    }


def test_a_row_group_holds_many_requests(tmp_path: Path) -> None:
    line = InputLine(1, 1, {"words": ["a"]}, ["a"])
    with parquet_out.in_file(tmp_path / "out.parquet", tagger([]), "tagging", Tally()) as write:
        for _ in range(100):
            write([(line, "no")])
    assert parquet.ParquetFile(tmp_path / "out.parquet").metadata.num_row_groups == 1


def test_ctrl_c_leaves_the_answered_rows_in_a_file_that_can_be_read(tmp_path: Path) -> None:
    def interrupted() -> None:
        line = InputLine(1, 1, {"words": ["a"]}, ["a"])
        with parquet_out.in_file(tmp_path / "out.parquet", tagger([]), "tagging", Tally(written=1)) as write:
            write([(line, "no")])
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"1 rows are kept in \S+out\.parquet\.part"):
        interrupted()
    assert parquet.read_table(tmp_path / "out.parquet.part")["words"].to_pylist() == [["a"]]


def test_an_error_before_the_first_answer_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(SlipwayError, match="a reason"),
        parquet_out.in_file(tmp_path / "out.parquet", tagger([]), "tagging", Tally()),
    ):
        raise answers.unwritable("there", "a reason")
    assert list(tmp_path.iterdir()) == []
