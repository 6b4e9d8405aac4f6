"""The whole way with other people's data: the commands of its page, in their order, and no file
edited by hand. Only the encoder is a tiny one, and the port is free.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.server import triton
from slipway.client.client import Client
from slipway.client.tensors import Tagging
from slipway.contract import bundle
from slipway.contract.ragged import INPUTS
from tests.support.command import CHECKOUT
from tests.support.models import hugging_face_models

LIVING, THINGS = ["researchers", "refugees", "coach", "striker", "rebel"], ["profit", "planet", "cup", "border", "chip"]
QUICK = ["--max-seq-len", "32", "--learning-rate", "5e-3", "--epochs", "8", "--processes", "1"]  # of a tiny model
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclass(frozen=True)
class Kind:
    """Of data: who writes the files of its page, and what `slipway ask` is asked at the end."""

    page: str
    run: str
    write: Callable[[Path], None]
    task: str
    asked: Any  # as Client.classify or tag takes it
    answers: Sequence[Any]  # one of them is right


def _words(source: random.Random, of: list[str]) -> str:
    return " ".join(source.choices(of, k=source.randint(2, 5)))


def write_reviews(directory: Path) -> None:
    """600 rows as a German spreadsheet has them: semicolons, a quoted field, umlauts."""
    source = random.Random(1)
    rows = [
        _words(source, of) + f' "{word}"' for of, word in zip([LIVING, THINGS] * 300, ["schön", "übel; naja"] * 300, strict=True)
    ]
    quoted = [
        f'{number};"{text.replace(chr(34), chr(34) * 2)}";{"gut" if number % 2 else "mäßig"}' for number, text in enumerate(rows)
    ]
    (directory / "reviews.csv").write_text("\n".join(["id;review;stars", *quoted]) + "\n", "utf-8-sig")


def write_tickets(directory: Path) -> None:
    source = random.Random(2)
    rows = [{"text": _words(source, (LIVING, THINGS)[number % 2]), "label": number % 2 + 3} for number in range(600)]
    (directory / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_pairs(directory: Path) -> None:
    """What the second text is of; the first tells nothing."""
    source = random.Random(3)
    rows = []
    for _ in range(600):
        first, second = source.choice([LIVING, THINGS]), source.choice([LIVING, THINGS])
        texts = [_words(source, of) for of in (first, second)]
        rows.append({"text": texts, "label": "thing" if second is THINGS else "living"})
    (directory / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_entities(directory: Path) -> None:
    """Words outside of the vocabulary are cut into pieces."""
    source = random.Random(4)
    sentences = [source.choices([*LIVING, *THINGS, "zebra"], k=source.randint(2, 9)) for _ in range(600)]
    tagged = ["".join(f"{word} {'O' if word in THINGS else 'B-LIVING'}\n" for word in words) for words in sentences]
    (directory / "entities.conll").write_text("\n".join(tagged), "utf-8")


def write_hugging_face(directory: Path) -> None:
    """A fine-tuned DistilBERT as it is downloaded; rows have its own answers, in NumPy."""
    model = "distilbert-base-uncased-finetuned-sst-2-english"
    tensors = hugging_face_models.weights("distilbert", tagger=False)
    settings = hugging_face_models.config("distilbert", "DistilBertForSequenceClassification")
    path = hugging_face_models.write(directory / model, settings, tensors)
    words = [f"w{number}" for number in range(hugging_face_models.PIECES - 4)]
    (path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]) + "\n")
    ids = np.array([[2, *row, 3] for row in np.random.default_rng(0).integers(4, hugging_face_models.PIECES, (1200, 6))])
    feed = dict(zip(INPUTS, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
    logits = hugging_face_models.logits("distilbert", tensors, feed, tagger=False)
    least, most = np.sort(logits, axis=1)[:, -2:].T
    clear = np.argsort(least - most)[:400]  # what rounding to 8 bits does not turn
    rows = [f"{' '.join(words[i - 4] for i in ids[at][1:-1])},{'abc'[logits[at].argmax()]}" for at in clear]
    (directory / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")


KINDS = [
    Kind("data.md", "runs/reviews", write_reviews, "single_text", 'Cup profit "übel; naja"', ["gut"]),
    Kind("data.md", "runs/tickets", write_tickets, "single_text", "coach rebel", ["3"]),
    Kind("data.md", "runs/questions", write_pairs, "text_pair", ("coach", "cup profit"), ["thing"]),
    Kind("data.md", "runs/entities", write_entities, "tagging", ["coach", "zebra", "cup"], [["B-LIVING", "B-LIVING", "O"]]),
    Kind("hugging_face.md", "runs/sentiment", write_hugging_face, "single_text", "w1 w2", "abc"),
]


def commands(page: str, run: str) -> list[list[str]]:
    """The lines of a page that are about this run, as words."""
    lines = (CHECKOUT / "docs" / page).read_text("utf-8").replace("\\\n", " ").splitlines()
    found = [shlex.split(line) for line in lines if line.startswith("    slipway ")]
    return [words for words in found if run in words]


def python(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "slipway.cli", *words[1:]]


def follow(words: list[str], directory: Path, accepted: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(python(words), cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode in accepted, (words, done.stdout, done.stderr)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.run.partition("/")[2])
def walked(request: pytest.FixtureRequest, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kind, Path]:
    """A kind and its run after every command of its page up to `serve`, in a directory of the
    user's own.
    """
    kind: Kind = request.param
    directory = tmp_path_factory.mktemp(kind.run.partition("/")[2]) / "my data"
    directory.mkdir()
    kind.write(directory)
    for words in commands(kind.page, kind.run):
        match words[1]:
            case "train":
                follow([*words, "--encoder", str(tiny_encoder), *QUICK], directory)
            case "export":
                follow(words, directory, accepted=(0, 11))  # 11: what did not pass is left out, and was named
            case "import" | "build" | "verify":
                follow(words, directory)
    return kind, directory


def test_the_page_has_the_whole_way() -> None:
    for kind in KINDS:
        verbs = [words[1] for words in commands(kind.page, kind.run)]
        assert verbs == ["import" if kind.page == "hugging_face.md" else "train", "export", "build", "verify", "serve"], kind.run


def test_it_ends_at_a_verified_endpoint(walked: tuple[Kind, Path]) -> None:
    kind, directory = walked
    served = json.loads((directory / kind.run / "served.json").read_text("utf-8"))
    assert served["passed"]
    assert {check["protocol"] for check in served["checks"]} == {"http", "grpc"}
    assert bundle.load(directory / kind.run / "bundle").task == kind.task


def test_it_learned_what_the_rows_say(walked: tuple[Kind, Path]) -> None:
    kind, directory = walked
    assert bundle.load(directory / kind.run / "bundle").facts["metrics"]["test_accuracy"] > 0.9


def test_the_golden_rows_have_logits_for_every_answer_and_answer_their_labels(walked: tuple[Kind, Path]) -> None:
    kind, directory = walked
    source = bundle.load(directory / kind.run / "bundle")
    golden = bundle.load_golden(source)
    answers = len(golden.ids.ids) if kind.task == "tagging" else len(golden.texts)
    assert golden.logits.shape == (answers, len(source.labels))
    assert np.mean((golden.logits.argmax(axis=1) == golden.labels)[golden.asked]) > 0.9


def test_a_pairs_second_text_and_a_taggers_words_are_told_apart(walked: tuple[Kind, Path]) -> None:
    kind, directory = walked
    golden = bundle.load_golden(bundle.load(directory / kind.run / "bundle"))
    assert set(golden.ids.types) == ({0, 1} if kind.task == "text_pair" else {0})
    if kind.task == "tagging":
        words = [len(text) for text in golden.texts]
        assert golden.asked.sum() == sum(words)
        assert len(golden.ids.ids) > sum(words) + 2 * len(words)  # zebra is more than one piece


def test_it_is_served_until_ctrl_c_and_answers_with_the_users_own_labels(walked: tuple[Kind, Path]) -> None:
    kind, directory = walked
    [serve] = [words for words in commands(kind.page, kind.run) if words[1] == "serve"]
    port = triton.free_ports().http
    arguments = python([*serve, "--port", str(port)])
    with subprocess.Popen(arguments, cwd=directory, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("stop it" in line for line in process.stdout), "it ended before it served"
            with Client(f"127.0.0.1:{port}") as client:
                [answer] = client.tag([kind.asked]) if kind.task == "tagging" else client.classify([kind.asked])
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    given = list(answer.labels) if isinstance(answer, Tagging) else answer.label
    assert given in kind.answers
    assert process.returncode == 0
