"""Replay: every output is compared, and what is wrong is named. By a made-up server, and by a real
one with a fault planted in every output of its models.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from serving import served_parity
from serving.served_parity import AskedModel, ServedCheck
from serving.server import triton
from serving.server.triton import Server
from slipway.client.tensors import Classification, Tagging
from slipway.client.transport import PROTOCOLS
from slipway.contract import bundle, manifest
from slipway.contract.bundle import NOT_ASKED, Bundle, Golden, Probes, Reference
from slipway.contract.labelling import encode
from slipway.contract.parity import judgement, probes
from slipway.contract.parity.probabilities import softmax
from slipway.contract.ragged import Logits, Ragged
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.contract.tokenizer import Tokenizer
from slipway.errors import ManifestError, ServerError
from tests.support.command import slipway_output
from tests.support.serving import word_runs

SEEN = ("good", "bad", "day", "night", "long")  # in golden texts; the others in probe rows alone
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *SEEN, "x", "##s", "\u4eac")
LABELS = ("no", "maybe", "yes")
LONGEST = 12  # tokens
TABLE = np.random.default_rng(1).normal(size=(len(PIECES), len(LABELS))).astype(np.float32)
SEGMENT = np.array([0.5, -0.5, 1.5], np.float32)
TEXT, IDS = AskedModel(TEXT_MODEL, "ort_fp32", TEXT_MODEL), AskedModel("bert_ort_fp32", "ort_fp32", "bert_ort_fp32")
PLANTED = {  # model and file of a served version → what stands there, and the fault in its place
    (TEXT_MODEL, "outputs.py"): {
        "labels[i].encode()": "labels[i - 1].encode()",
        ".astype(np.float32)\n": ".astype(np.float32) ** 2\n",
    },
    (TEXT_MODEL, "model.py"): {
        "[[row.truncated] for row in tokens]": "[[False] for row in tokens]",
        "[[len(row)] for row in ids]": "[[len(row) - 2] for row in ids]",
    },
    ("bert_onnx_fp32", "model.py"): {"_stacked(logits[place]": "3 * _stacked(logits[place]"},
}
OUTPUTS = {TEXT.name: {"label", "probability", "logits", "truncated", "tokens"}, IDS.name: {"logits"}}


def model(ids: NDArray[Any], types: NDArray[Any], table: Logits = TABLE) -> Logits:
    """The reference: the logits of each token of a row, [tokens, labels]."""
    return np.asarray(table[ids] + 3 * table[ids].mean(axis=0) + types[:, None] * SEGMENT, np.float32)


def answers(rows: Ragged, task: str) -> Logits:
    parts = [model(rows[row], rows.types[rows.offsets[row] : rows.offsets[row + 1]]) for row in range(len(rows))]
    return np.concatenate(parts) if task == "tagging" else np.stack([part[0] for part in parts])


@dataclass(frozen=True)
class Run:
    """A bundle with what it holds; `check` asks the server that a test has put in its place."""

    source: Bundle
    golden: Golden
    probes: Probes

    def check(self, asked: AskedModel = TEXT) -> ServedCheck:
        return served_parity.check("nowhere", "http", asked, Reference(self.source, self.golden, self.probes))


def tokenizer(source: Bundle) -> Tokenizer:
    return Tokenizer(source.vocabulary, lower_case=True, max_seq_len=LONGEST)


def run_of(directory: Path, task: str, rows: int = 400) -> Run:
    (directory / "vocab.txt").write_text("\n".join(PIECES) + "\n", "utf-8")
    (directory / "labels.txt").write_text("\n".join(LABELS) + "\n", "utf-8")
    source = Bundle(directory, "", {"task": task, "lower_case": True, "max_seq_len": LONGEST})
    random = np.random.default_rng(2)
    sentences = [random.choice(SEEN, random.integers(3, 15)).tolist() for _ in range(rows)]  # some are cut
    texts: dict[str, list[Any]] = {
        "single_text": [" ".join(words) for words in sentences],
        "text_pair": [[" ".join(words), "good day"] for words in sentences],
        "tagging": sentences,
    }
    tags = [[0] * len(words) if task == "tagging" else 0 for words in sentences]
    encoded = encode(list(zip(texts[task], tags, strict=True)), task, tokenizer(source))
    logits = answers(encoded.rows, task)
    labels = np.where(encoded.labels == NOT_ASKED, NOT_ASKED, logits.argmax(axis=1))
    made = probes.rows(tokenizer(source), source.vocabulary, LONGEST, task)
    probed = Probes(made.texts, made.ids, answers(made.ids, task))
    return Run(source, Golden(texts[task], encoded.rows, labels, logits), probed)


@dataclass
class MadeUpServer:
    """Answers as the reference does, through `change`; stands in for a client and its server."""

    source: Bundle
    change: Callable[[Any], Any] = lambda answer: answer  # of a Classification or a Tagging
    table: Logits = field(default_factory=TABLE.copy)
    extra: frozenset[str] = frozenset()  # outputs that nobody knows
    missing: frozenset[str] = frozenset()

    def __call__(self, *_: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def outputs(self, model: str) -> set[str]:
        return (OUTPUTS[model] | self.extra) - self.missing

    def classify(self, texts: Sequence[Any], model: str) -> list[Classification]:
        given = [tuple(text) for text in texts] if self.source.task == "text_pair" else texts
        return [self._classified(np.array(row.ids), np.array(row.types), row.truncated) for row in tokenizer(self.source)(given)]

    def _classified(self, ids: NDArray[Any], types: NDArray[Any], truncated: bool) -> Classification:
        logits = model(ids, types, self.table)[0]
        share = float(softmax(logits[None]).max())
        answer = Classification(LABELS[logits.argmax()], share, tuple(logits.tolist()), truncated, len(ids))
        changed: Classification = self.change(answer)
        return changed

    def tag(self, sentences: list[list[str]], model: str) -> list[Tagging]:
        rows = zip(sentences, tokenizer(self.source).of_words(sentences), strict=True)
        return [self._tagged(words, row.words, np.array(row.ids), row.truncated) for words, row in rows]

    def _tagged(self, words: list[str], word_of: list[int | None], ids: NDArray[Any], truncated: bool) -> Tagging:
        logits, labels, shares = np.zeros((len(words), len(LABELS)), np.float32), [""] * len(words), [0.0] * len(words)
        of_pieces = model(ids, np.zeros_like(ids), self.table)
        for word in {word for word in word_of if word is not None}:
            logits[word] = of_pieces[word_of.index(word)]
            labels[word], shares[word] = LABELS[logits[word].argmax()], float(softmax(logits[[word]]).max())
        changed: Tagging = self.change(Tagging(tuple(labels), tuple(shares), logits, truncated, len(ids)))
        return changed

    def logits(self, _: str, ids: NDArray[Any], types: NDArray[Any] | None) -> Logits:
        assert (types is not None) == (self.source.task == "text_pair")
        kinds = np.zeros_like(ids) if types is None else types
        lengths = (ids != 0).sum(axis=1)
        rows = [model(row[:length], kind[:length], self.table) for row, kind, length in zip(ids, kinds, lengths, strict=True)]
        if self.source.task != "tagging":
            return np.stack([row[0] for row in rows])
        padded = np.zeros((*ids.shape, len(LABELS)), np.float32)
        for place, row in zip(padded, rows, strict=True):
            place[: len(row)] = row
        return padded


@pytest.fixture(params=["single_text", "text_pair", "tagging"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    return run_of(tmp_path, request.param)


@pytest.fixture
def texts(tmp_path: Path) -> Run:
    return run_of(tmp_path, "single_text")


@pytest.fixture
def sentences(tmp_path: Path) -> Run:
    return run_of(tmp_path, "tagging")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(run: Run, **faults: Any) -> None:
        monkeypatch.setattr(served_parity, "Client", MadeUpServer(run.source, **faults))

    return put


Serve = Callable[..., None]


@pytest.mark.parametrize("asked", [TEXT, IDS], ids=["by text", "by ids"])
def test_a_right_model_passes_with_every_output_compared(run: Run, asked: AskedModel, serve: Serve) -> None:
    serve(run)
    served = run.check(asked)
    assert (list(map(str, served.failures)), served.wrong_answers, served.verdict) == ([], [], judgement.PASSED)
    assert set(served.outputs) == OUTPUTS[asked.name]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"label": "of another model"}, "golden row 0: label 'of another model', expected '"),
        ({"probability": 0.5}, "golden row 0: probability 0.500000, expected 0."),
        ({"tokens": 7}, "golden row 0: 7 tokens, expected "),
        ({"logits": (1.0, 2.0)}, "golden row 0: 2 logits, expected 3"),
    ],
)
def test_a_wrong_output_of_a_classifier_is_named_with_its_row(texts: Run, changes: dict[str, Any], told: str, serve: Serve) -> None:
    serve(texts, change=lambda answer: replace(answer, **changes))
    served = texts.check()
    assert served.wrong_answers[0].startswith(told)
    assert served.verdict == judgement.WORSE


def test_a_cut_text_that_is_not_called_so_is_named(texts: Run, serve: Serve) -> None:
    serve(texts, change=lambda answer: replace(answer, truncated=False))
    wrong = texts.check().wrong_answers
    cut = int(np.sum(texts.golden.ids.lengths == LONGEST))
    assert 0 < len([sentence for sentence in wrong if sentence.startswith("golden")]) <= cut
    assert all("truncated False, expected True" in sentence for sentence in wrong)


def test_a_probability_may_be_rounded_as_fp32_rounds(texts: Run, serve: Serve) -> None:
    serve(texts, change=lambda answer: replace(answer, probability=answer.probability * (1 - 5e-6)))
    assert texts.check().passed


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (lambda answer: {"labels": (*answer.labels[:-1], "of another")}, "label 'of another', expected "),
        (lambda answer: {"probabilities": (0.9, *answer.probabilities[1:])}, "probability 0.900000, expected "),
        (lambda answer: {"logits": np.where(answer.logits == 0, 1, answer.logits)}, "which was not read"),
        (lambda answer: {"truncated": not answer.truncated}, "truncated "),
    ],
    ids=["label", "probability", "logits of words that were cut off", "truncated"],
)
def test_a_wrong_output_of_a_tagger_is_named(
    sentences: Run, changes: Callable[[Tagging], dict[str, Any]], told: str, serve: Serve
) -> None:
    serve(sentences, change=lambda answer: replace(answer, **changes(answer)))
    served = sentences.check()
    assert not served.passed
    assert told in served.wrong_answers[0]


@pytest.mark.parametrize("asked", [TEXT, IDS], ids=["by text", "by ids"])
def test_an_output_that_nobody_compares_fails(texts: Run, asked: AskedModel, serve: Serve) -> None:
    serve(texts, extra=frozenset({"embedding"}))
    served = texts.check(asked)
    assert (served.passed, served.wrong_answers) == (False, ["output embedding was not compared"])


def test_an_output_that_is_not_there_is_named_with_the_command_that_builds_anew(texts: Run, serve: Serve) -> None:
    serve(texts, missing=frozenset({"probability"}))
    with pytest.raises(ServerError, match=rf"(?s)does not answer with probability.*slipway build {texts.source.directory.parent}"):
        texts.check()


@pytest.mark.parametrize("asked", [TEXT, IDS], ids=["by text", "by ids"])
def test_logits_of_another_scale_are_no_flips_and_do_not_pass(run: Run, asked: AskedModel, serve: Serve) -> None:
    serve(run, table=3 * TABLE)
    served = run.check(asked)
    assert any("slope" in failure.what for failure in served.failures)


@pytest.mark.parametrize(("asked", "piece"), [(TEXT, "\u4eac"), (IDS, "##s")], ids=["by text", "by ids"])
def test_a_word_piece_that_no_golden_text_has_is_missed_by_them_and_not_by_probe_rows(
    run: Run, asked: AskedModel, piece: str, serve: Serve
) -> None:
    table = TABLE.copy()
    table[PIECES.index(piece)] *= -5
    serve(run, table=table)
    served = run.check(asked)
    assert served.measured.logit_difference_max == 0
    assert [failure for failure in served.failures if "probe" in failure.what] == served.failures != []


def test_a_model_by_ids_answers_a_spread_of_probe_rows_with_the_longest(texts: Run) -> None:
    ids = Ragged.of([[2] * (3 + row % 40) for row in range(1000)])
    chosen = served_parity._spread(ids, "single_text")
    assert len(chosen) == 256
    assert {3, 42} <= set(ids.lengths[chosen].tolist())


def test_requests_of_many_sizes_are_in_flight_together(texts: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    two_in_flight = threading.Barrier(2)
    answer = MadeUpServer.classify

    def classify(self: MadeUpServer, some: Sequence[Any], model: str) -> list[Classification]:
        sizes.append(len(some))
        if len(sizes) <= 2:
            two_in_flight.wait(timeout=20)
        return answer(self, some, model)

    monkeypatch.setattr(MadeUpServer, "classify", classify)
    serve(texts)
    assert texts.check().passed
    assert {1, 2, 3} < set(sizes) <= set(range(1, 33))
    assert max(sizes) > 16


def test_rows_without_a_label_count_for_flips_and_not_for_accuracy(texts: Run, serve: Serve) -> None:
    labels = texts.golden.labels.copy()
    labels[:100] = NOT_ASKED
    serve(texts)
    measured = replace(texts, golden=replace(texts.golden, labels=labels)).check().measured
    assert (measured.rows, measured.labelled, measured.accuracy) == (400, 300, 1.0)


def test_too_few_rows_decide_nothing(tmp_path: Path, serve: Serve) -> None:
    few = run_of(tmp_path, "single_text", rows=50)
    serve(few)
    assert few.check().verdict == judgement.UNDECIDED


def test_ids_that_the_bundles_own_tokenizer_does_not_give_are_the_bundles_fault(texts: Run, serve: Serve) -> None:
    serve(texts)
    ids = texts.golden.ids.ids.copy()
    ids[1] = PIECES.index("x")
    other = replace(texts, golden=replace(texts.golden, ids=replace(texts.golden.ids, ids=ids)))
    with pytest.raises(ManifestError, match=r"(?s)the bundle contradicts itself.*golden row 0.*slipway train"):
        other.check()


def test_a_check_as_json_has_its_verdict_outputs_and_probe_rows(texts: Run, serve: Serve) -> None:
    serve(texts)
    record = texts.check().to_json()
    assert (record["verdict"], record["probe_rows"], len(record["outputs"])) == ("passed", len(texts.probes.texts), 5)


def test_the_first_wrong_answers_are_shown_and_the_others_counted(
    texts: Run, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(texts, change=lambda answer: replace(answer, tokens=7))
    served = texts.check()
    served_parity.show([served])
    lines = [line for line in capsys.readouterr().out.splitlines() if "over http: " in line]
    assert (len(lines), f"and {len(served.wrong_answers) - 5} more" in lines[-1]) == (6, True)


@pytest.fixture(scope="module")
def faulty_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose served models start as they should, since their engines and labels are right."""
    run = word_runs.make(tmp_path_factory.mktemp("faulty") / "run")
    slipway_output("build", run, "--engine", "onnx_fp32")
    repository = run / "model_repository"
    facts = manifest.read(repository, REPOSITORY, "")
    for (served, name), faults in PLANTED.items():
        path = repository / served / "1" / name
        code = path.read_text("utf-8")
        for right, wrong in faults.items():
            assert right in code
            code = code.replace(right, wrong)
        path.chmod(0o644)
        path.write_text(code, "utf-8")
    manifest.seal(repository, REPOSITORY, {name: fact for name, fact in facts.items() if name != "files"})
    return run


@pytest.fixture(scope="module")
def server(faulty_run: Path) -> Iterator[Server]:
    with triton.running(faulty_run / "model_repository") as running:
        yield running


@pytest.fixture(scope="module", params=PROTOCOLS)
def replayed(request: pytest.FixtureRequest, server: Server, faulty_run: Path) -> dict[str, ServedCheck]:
    """Model → its check over the protocol."""
    source = bundle.load(faulty_run / "bundle")
    reference = bundle.load_reference(source)
    models = [AskedModel(name, "onnx_fp32", name) for name in (TEXT_MODEL, "bert_onnx_fp32")]
    address = server.address(request.param)
    return {asked.name: served_parity.check(address, request.param, asked, reference) for asked in models}


@pytest.mark.parametrize(
    "told",
    ["golden row 0: label 'World', expected 'Business'", "probability 0.", "tokens, expected ", "truncated False, expected True"],
)
def test_a_fault_in_an_output_that_is_served_is_named(replayed: dict[str, ServedCheck], told: str) -> None:
    served = replayed[TEXT_MODEL]
    assert any(told in sentence for sentence in served.wrong_answers)
    assert (served.failures, served.verdict) == ([], judgement.WORSE)


def test_logits_that_are_served_at_another_scale_are_named(replayed: dict[str, ServedCheck]) -> None:
    served = replayed["bert_onnx_fp32"]
    assert any("slope" in failure.what for failure in served.failures)
    assert served.measured.flips == 0
