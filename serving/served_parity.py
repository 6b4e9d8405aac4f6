"""Every output of a live server: golden and probe rows asked over a protocol, compared as offline.

A model by text answers with its label, its probability and what the tokenizer made of the text; a
model by ids with logits alone. Logits are held against the FP32 SavedModel's, the other outputs
against these logits and against the bundle's own tokenizer. An output that nobody compared fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slipway import console, errors
from slipway.client.client import Client
from slipway.client.tensors import Tagging
from slipway.client.transport import Options
from slipway.contract import bundle
from slipway.contract.bundle import Bundle, Reference
from slipway.contract.parity import comparison, judgement
from slipway.contract.parity.comparison import Comparison, ProbeComparison
from slipway.contract.parity.judgement import Failure
from slipway.contract.parity.probabilities import softmax
from slipway.contract.ragged import Logits, Numbers, Ragged, unpadded
from slipway.contract.records import MAX_BATCH, TEXT_MODEL
from slipway.contract.tokenizer import Tokenizer, Tokens
from slipway.contract.variants import VARIANTS
from slipway.errors import ManifestError, ParityError, ServerError

_OF_TEXTS = frozenset(("label", "probability", "logits", "truncated", "tokens"))
_OF_IDS = frozenset(("logits",))
_ROUNDING = 1e-5  # of a probability: the server computes it in FP32
_PROBE_ROWS = 256  # at most, of a model by ids; the gate ran them all on the same file
_SHOWN = 5  # wrong answers
_REQUESTS = 8  # in flight
_UNHURRIED = Options(deadline=3600)  # all golden rows are one call


_Part = TypeVar("_Part")


@dataclass(frozen=True)
class AskedModel:
    """A served model that is asked for golden and probe rows."""

    name: str
    variant: str  # whose limits it has to hold
    served_as: str  # its name on the server


@dataclass(frozen=True)
class ServedCheck:
    """The answers of one model over one protocol, judged by its variant's limits."""

    model: str
    variant: str
    protocol: str
    failures: list[Failure]
    wrong_answers: list[str]  # sentences about outputs other than logits
    outputs: list[str]  # that were compared
    probe_rows: int  # that were asked beside the golden rows
    probes: ProbeComparison  # of their answers; tagger: one a word
    texts_per_second: float
    measured: Comparison

    @property
    def passed(self) -> bool:
        return not self.failures and not self.wrong_answers

    @property
    def verdict(self) -> str:
        """One of judgement's three; a wrong answer is no question of how many rows there are."""
        return judgement.WORSE if self.wrong_answers else judgement.verdict(self.failures)

    def to_json(self) -> dict[str, Any]:
        """Return an entry of served.json's "checks": the comparison's figures beside the others."""
        facts = asdict(self)
        return {"passed": self.passed, "verdict": self.verdict, **facts.pop("measured"), **facts}


@dataclass(frozen=True)
class _Answers:
    logits: Logits  # [rows, labels]; tagger: [tokens, labels], NaN where nothing was answered
    answered: NDArray[np.bool_]  # [rows]; tagger: [tokens]
    wrong: list[str]  # what other outputs said that they should not


def check(address: str, protocol: str, model: AskedModel, reference: Reference, connection: Options = _UNHURRIED) -> ServedCheck:
    """Ask for all golden rows and for probe rows, and compare every output of the answers.

    Raises ServerError; ManifestError for a bundle whose ids are not what its tokenizer gives.
    """
    source, golden, probes = reference.bundle, reference.golden, reference.probes
    by_text, limits = model.name == TEXT_MODEL, VARIANTS[model.variant].limits
    rows = np.arange(len(probes.texts)) if by_text else _spread(probes.ids, source.task)
    with Client(f"{protocol}://{address}", connection) as client:
        outputs = _OF_TEXTS if by_text else _OF_IDS
        wrong = _not_compared(client.outputs(model.served_as), outputs, model.served_as, source)
        asked = _Asked(client, model.served_as, source)
        started = time.monotonic()
        answers = asked.texts("golden", golden.texts, golden.ids) if by_text else asked.ids(golden.ids)
        seconds = time.monotonic() - started
        probed = asked.texts("probe", probes.texts, probes.ids.take(rows)) if by_text else asked.ids(probes.ids.take(rows))
    measured = comparison.compare_golden(golden, answers.logits, source.labels)
    expected = probes.logits[probes.ids.tokens_of(rows) if source.task == "tagging" else rows]
    of_probes = comparison.compare_probes(expected[probed.answered], probed.logits[probed.answered])
    return ServedCheck(
        model=f"{TEXT_MODEL} ({model.variant})" if by_text else model.name,
        variant=model.variant,
        protocol=protocol,
        failures=judgement.judge(measured, limits) + judgement.judge_probes(of_probes, limits),
        wrong_answers=[*wrong, *answers.wrong, *probed.wrong],
        outputs=sorted(outputs),
        probe_rows=len(rows),
        probes=of_probes,
        texts_per_second=len(golden.texts) / seconds,
        measured=measured,
    )


def exit_status(checks: Sequence[ServedCheck]) -> int:
    """Return 0 if all passed; 1 if one is worse; NOT_DECIDED if there are too few rows to say."""
    verdicts = {check.verdict for check in checks}
    if judgement.WORSE in verdicts:
        return ParityError.exit_code
    return errors.NOT_DECIDED if judgement.UNDECIDED in verdicts else 0


def show(checks: list[ServedCheck]) -> None:
    """Print a table of the checks, and under it what was wrong."""
    columns = ("model", "over", "flips", "accuracy", "loss <", "texts/s", "verdict")
    table = console.table("Parity of the live server with the FP32 SavedModel", *columns, left=("model", "over", "verdict"))
    for served in checks:
        measured = served.measured
        table.add_row(
            served.model,
            served.protocol,
            f"{measured.flips}/{measured.rows}",
            f"{measured.accuracy:.2%}",
            f"{measured.accuracy_loss_bound:.2%}",
            f"{served.texts_per_second:.0f}",
            console.VERDICTS[served.verdict],
        )
    console.console().print(table)
    for served in checks:
        wrong = served.wrong_answers
        more = [f"and {len(wrong) - _SHOWN} more wrong answers"] if len(wrong) > _SHOWN else []
        for sentence in [*map(str, served.failures), *wrong[:_SHOWN], *more]:
            print(f"{served.model} over {served.protocol}: {sentence}")


def _spread(ids: Ragged, task: str) -> Numbers:
    """Return the numbers of at most _PROBE_ROWS rows of all lengths, the longest among them.

    A model that is not of pairs takes no segments, so rows with a second one cannot be asked.
    """
    second = np.add.reduceat(ids.types, ids.offsets[:-1]) > 0
    by_length = np.argsort(ids.lengths, kind="stable")
    by_length = by_length[~second[by_length] | (task == "text_pair")]
    chosen: Numbers = by_length[np.linspace(0, len(by_length) - 1, min(_PROBE_ROWS, len(by_length))).astype(int)]
    return chosen


def _not_compared(served: set[str], compared: frozenset[str], model: str, source: Bundle) -> list[str]:
    """Name each output that nobody compares. Raises ServerError where one is not there at all."""
    if missing := compared - served:
        raise ServerError(
            f"{model} does not answer with {', '.join(sorted(missing))}",
            expected=f"the outputs {', '.join(sorted(compared))}",
            found=", ".join(sorted(served)),
            where=f"the server's metadata of {model}",
            fix=f"{errors.command('build', source.directory.parent)} writes the repository anew",
        )
    return [f"output {name} was not compared" for name in sorted(served - compared)]


@dataclass(frozen=True)
class _Asked:
    """A served model, and the bundle that it has to answer as."""

    connection: Client
    served_as: str
    source: Bundle

    def ids(self, ids: Ragged) -> _Answers:
        """Ask for every row's ids, in requests padded as a client would pad them."""

        def ask(rows: Numbers) -> Logits:
            feed = ids.take(rows).padded()
            types = feed["input_type_ids"] if self.source.task == "text_pair" else None
            return unpadded(self.connection.logits(self.served_as, feed["input_word_ids"], types), feed)

        logits = np.concatenate(_in_flight(ask, len(ids)))
        return _Answers(logits, np.ones(len(logits), bool), [])

    def texts(self, kind: str, texts: list[Any], ids: Ragged) -> _Answers:
        """Ask for every text; `ids` are what the bundle has for them, and `kind` what they are."""
        tokens, names, tagging = _tokens(self.source, kind, texts, ids), self.source.labels, self.source.task == "tagging"
        parts, wrong = [], []
        for row, (answer, read) in enumerate(zip(self._answers(texts), tokens, strict=True)):
            places = _first_pieces(read) if tagging else {0: 0}
            logits = np.full((len(read.ids) if tagging else 1, len(names)), np.nan, np.float32)
            if answer.logits.shape[1] == len(names):
                logits[list(places.values())] = answer.logits[list(places)]
                differences = list(_differences(answer, read, list(places), names))
            else:
                differences = [f"{answer.logits.shape[1]} logits, expected {len(names)}"]
            parts.append(logits)
            if differences:
                wrong.append(f"{kind} row {row}: {'; '.join(differences)}")
        answered = np.concatenate([_answered(read) for read in tokens]) if tagging else np.ones(len(texts), bool)
        return _Answers(np.concatenate(parts), answered, wrong)

    def _answers(self, texts: list[Any]) -> list[Tagging]:
        """Return each text's answer; a classifier's has one place."""

        def ask(rows: Numbers) -> list[Tagging]:
            some = [texts[row] for row in rows]
            if self.source.task == "tagging":
                return self.connection.tag(some, model=self.served_as)
            answers = self.connection.classify(some, model=self.served_as)
            return [
                Tagging((text.label,), (text.probability,), np.array([text.logits], np.float32), text.truncated, text.tokens)
                for text in answers
            ]

        return [answer for answers in _in_flight(ask, len(texts)) for answer in answers]


def _in_flight(ask: Callable[[Numbers], _Part], rows: int) -> list[_Part]:
    """Ask for the numbers of all rows, in order and in parts: the requests.

    Their sizes are drawn at random from 1 to MAX_BATCH, small ones more often, and _REQUESTS are
    in flight, so that some share the server's batches.
    """
    sizes = (2 ** np.random.default_rng(0).uniform(0, np.log2(MAX_BATCH + 1), rows)).astype(int)
    ends = np.cumsum(sizes)
    with ThreadPoolExecutor(_REQUESTS) as threads:
        return list(threads.map(ask, np.split(np.arange(rows), ends[ends < rows])))


def _tokens(source: Bundle, kind: str, texts: list[Any], ids: Ragged) -> list[Tokens]:
    """Return what the bundle's tokenizer makes of the texts. Raises ManifestError for other ids."""
    tokenize = Tokenizer.of(source.vocabulary, source.facts)
    if source.task == "tagging":
        tokens = tokenize.of_words(texts)
    else:
        tokens = tokenize([tuple(text) for text in texts] if source.task == "text_pair" else texts)
    for row, read in enumerate(tokens):
        types = ids.types[ids.offsets[row] : ids.offsets[row + 1]].tolist()
        if (read.ids, read.types) != (ids[row].tolist(), types):
            run = source.directory.parent
            raise ManifestError(
                "the bundle contradicts itself: its tokenizer does not give its ids",
                expected=f"{kind} row {row} as {ids[row].tolist()}",
                found=str(read.ids),
                where=str(source.directory),
                fix=bundle.made_by(run, source.directory / bundle.MANIFEST, run / bundle.RUN_RECORD, over=True),
            )
    return tokens


def _first_pieces(read: Tokens) -> dict[int, int]:
    """Return the words of a tagger's sentence that it reads, with the position of their piece."""
    places: dict[int, int] = {}
    for piece, word in enumerate(read.words):
        if word is not None:
            places.setdefault(word, piece)
    return places


def _answered(read: Tokens) -> NDArray[np.bool_]:
    """Return for each of a tagger's tokens whether a word's answer comes from it."""
    answered = np.zeros(len(read.ids), bool)
    answered[list(_first_pieces(read).values())] = True
    return answered


def _differences(answer: Tagging, read: Tokens, places: list[int], names: list[str]) -> Iterator[str]:
    """Yield what an answer's outputs say and its own logits, or the tokenizer, do not.

    `places` are the words that were read; a classifier has the one at 0.
    """
    shares = dict(zip(places, softmax(answer.logits[places].astype(np.float64)), strict=True))
    for place, (label, probability) in enumerate(zip(answer.labels, answer.probabilities, strict=True)):
        share = shares.get(place, np.zeros(1))
        expected = names[share.argmax()] if place in shares else ""
        if label != expected:
            yield f"label {label!r}, expected {expected!r}, of the largest logit"
        if not abs(probability - share.max()) <= _ROUNDING:
            yield f"probability {probability:.6f}, expected {share.max():.6f}"
        if place not in shares and answer.logits[place].any():
            yield f"logits for word {place}, which was not read"
    if answer.tokens != len(read.ids):
        yield f"{answer.tokens} tokens, expected {len(read.ids)}"
    if answer.truncated != read.truncated:
        yield f"truncated {answer.truncated}, expected {read.truncated}"
