"""All records of a run that belong to its present state; of the others, what writes them.

JSON enters the report here; everything after this file reads dataclasses, whose fields are the
records' keys, as far as a page shows them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from serving.benchmark.record import BenchmarkRecord
from slipway import errors
from slipway.contract import artifact, bundle, manifest
from slipway.contract.bundle import Golden
from slipway.contract.parity.comparison import Flip, Neighbours, Precision, ProbeComparison, Unseen
from slipway.contract.parity.judgement import Failure
from slipway.contract.parity.probabilities import Probabilities
from slipway.contract.records import BENCHMARK, BENCHMARK_SCHEMA, REPOSITORY, SERVED, from_json
from slipway.contract.variants import VARIANTS, Limits
from slipway.errors import ManifestError

MODEL_CARD = "model_card.md"  # in the run's directory, if its maker wrote one
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    where: str
    sha256: str
    generated: bool


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """The encoder that training began with."""

    handle: str  # address or directory
    sha256: str
    made_from: str  # empty: it is not the default encoder


@dataclass(frozen=True, slots=True)
class LabelScores:
    """How well the test rows of one label were classified."""

    precision: float
    recall: float
    f1: float
    rows: int


@dataclass(frozen=True, slots=True)
class EntityScores(LabelScores):
    """How well the entities of a tagger's test rows were found; whole ones alone are right."""

    by_kind: dict[str, LabelScores]


@dataclass(frozen=True, slots=True)
class PublishedAccuracies:
    """Accuracies that others published for the same test rows."""

    source: str
    trained_on: str
    test_accuracy: dict[str, float]  # by model


@dataclass(frozen=True, slots=True)
class Metrics:
    """Test scores of the FP32 SavedModel, and what training took. None: not recorded."""

    test_rows: int
    test_accuracy: float
    confusion: list[list[int]]  # [true label][predicted label]
    per_class: dict[str, LabelScores] = field(default_factory=dict)
    macro_f1: float | None = None
    entities: EntityScores | None = None  # of a tagger whose labels are tags of entities
    published: PublishedAccuracies | None = None
    train_rows: int | None = None
    world_size: int | None = None
    world_sizes: list[dict[str, int]] = field(default_factory=list)  # "ranks" and "from_step"; more than one: elastic
    steps: int | None = None
    examples: int | None = None
    examples_per_second: float | None = None
    tokens_per_second: float | None = None
    padding_waste: float | None = None
    peak_memory_bytes: int | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """What a split holds."""

    rows: int
    labels: dict[str, int]  # rows of each label, tagger: words; without those that no row has
    repeated: int  # rows whose text came before in this split
    median_length: int  # characters; of a pair both texts together
    longest: int


@dataclass(frozen=True, slots=True)
class LeftOutRows:
    """Rows of the files that are in no split."""

    bad: dict[str, int]  # by the rule that they break
    without_label: int
    leaked: int  # removed from training and validation, because their text is in another split


@dataclass(frozen=True, slots=True)
class DataCard:
    """What training counted in the corpus before its first step."""

    splits: dict[str, SplitFacts]
    left_out: LeftOutRows
    leaks: dict[str, int]  # by split: rows of the files with a text of training, test rows also of validation
    two_labels: int  # texts that come with more than one label
    of_two_labels: str  # such a text with its labels
    without_test_rows: list[str]  # labels
    unread_words: int  # tagger: words of nothing that the tokenizer reads
    first_row: str  # of training, with its label
    leak_policy: str = ""  # what --leaks said; "" in cards of earlier versions, as no notes
    notes: list[str] = field(default_factory=list)  # what was assumed of files and labels, or what they lack


@dataclass(frozen=True, slots=True)
class UnlabelledFacts:
    """Golden rows beside the test rows."""

    where: str


@dataclass(frozen=True, slots=True)
class BundleRecord:
    """bundle.json: which model the run has, of which corpus and encoder."""

    task: str
    corpus: CorpusFacts
    encoder: EncoderFacts
    hyper_parameters: dict[str, object]
    metrics: Metrics
    versions: dict[str, str]
    data_card: DataCard | None = None  # None: trained elsewhere, or before cards were kept
    unlabelled: UnlabelledFacts | None = None
    max_seq_len: int = 0  # tokens that the model reads; 0: not recorded
    lower_case: bool = False


@dataclass(frozen=True, slots=True)
class StepRecord:
    step: int  # counted from 1
    loss: float | None  # None: not finite
    learning_rate: float
    skipped: bool
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class ValidationRecord:
    """One evaluation on the validation rows, after the step it names."""

    step: int
    validation_loss: float | None  # None: not finite
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """history.json: every step and every validation."""

    steps: tuple[StepRecord, ...]
    validation: tuple[ValidationRecord, ...]


@dataclass(frozen=True, slots=True)
class ParityCheck:
    """A model's answers compared with the FP32 SavedModel's; bounds are one-sided, 95 %."""

    variant: str
    passed: bool
    verdict: str  # passed, worse or undecided
    rows: int
    labelled: int  # of the rows
    flips: int
    flip_rate_bound: float
    accuracy: float
    accuracy_loss_bound: float


@dataclass(frozen=True, slots=True)
class OfflineCheck(ParityCheck):
    """parity.json: the check of a variant's file."""

    as_meant: bool  # on the kind of processor that the variant is meant for
    accuracy_loss: float
    mcnemar_p: float
    logit_difference_max: float
    texts_per_second: float
    limits: Limits
    unseen: tuple[Unseen, ...]  # classes that these rows cannot judge
    flipped_rows: tuple[Flip, ...]
    versions: dict[str, str]
    # None: the engine failed
    probabilities: Probabilities | None = None
    neighbours: Neighbours | None = None
    probes: ProbeComparison | None = None
    precision: Precision | None = None


@dataclass(frozen=True, slots=True)
class LiveCheck(ParityCheck):
    """The check of a served model, asked over one protocol."""

    model: str
    protocol: str
    failures: tuple[Failure, ...]
    wrong_answers: tuple[str, ...]
    outputs: tuple[str, ...]  # that were compared
    probe_rows: int


@dataclass(frozen=True, slots=True)
class ServedRecord:
    """served.json: the checks of the live server."""

    passed: bool
    ready_seconds: float
    checks: tuple[LiveCheck, ...]


@dataclass(frozen=True, slots=True)
class RunRecords:
    """Every record of the run whose directory is `run`."""

    run: str
    bundle: BundleRecord
    labels: list[str]
    training: TrainingRecord | None  # None: trained elsewhere
    golden: Golden
    # Of what has not run yet, or was of an earlier state: the error that names the command.
    parity_or_error: tuple[OfflineCheck, ...] | ManifestError  # also of variants that were left out
    left_out: dict[str, str]  # variant → why, in one line
    skipped: dict[str, dict[str, str]]  # variant → "reason" and "fix"
    served_or_error: ServedRecord | ManifestError
    benchmark_or_error: BenchmarkRecord | ManifestError
    made_on: str = ""  # date of the benchmark's file, without one of the bundle's; "": not known
    own_words: str = ""  # what the model's maker wrote for its card

    @property
    def parity(self) -> tuple[OfflineCheck, ...]:
        """The verdicts offline. Raises ManifestError if there are none yet."""
        return _there(self.parity_or_error)

    @property
    def served(self) -> ServedRecord:
        """The verdicts of the live server. Raises ManifestError if there are none yet."""
        return _there(self.served_or_error)

    @property
    def benchmark(self) -> BenchmarkRecord:
        """What was measured. Raises ManifestError if nothing was yet."""
        return _there(self.benchmark_or_error)

    @property
    def missing(self) -> dict[str, ManifestError]:
        """What is not there, by its name: "parity", "served", "benchmark"."""
        records = {"parity": self.parity_or_error, "served": self.served_or_error, "benchmark": self.benchmark_or_error}
        return {name: record for name, record in records.items() if isinstance(record, ManifestError)}

    @property
    def failed(self) -> bool:
        """Whether a variant that was not left out changed the answers, or none is left."""
        if "parity" in self.missing:
            return False
        offline = [record.passed for record in self.parity if record.variant not in self.left_out]
        served = "served" in self.missing or (bool(self.served.checks) and self.served.passed)
        return not (offline and all(offline) and served)

    @property
    def passed(self) -> bool:
        """Whether every variant that was not left out, and at least one, gave the same answers,
        offline and served.
        """
        return not self.failed and not {"parity", "served"} & set(self.missing)


def _there(record: _Record | ManifestError) -> _Record:
    if isinstance(record, ManifestError):
        raise record
    return record


def read_run(run: Path) -> RunRecords:
    """Return what the run has of each record. Raises ManifestError if it has no bundle."""
    source = bundle.load(run / "bundle")
    history = source.directory / "history.json"
    left_out = artifact.examine(run, source.sha256).reasons
    benchmark = _if_there(lambda: _of_repository(run, BenchmarkRecord.from_json, BENCHMARK, "bench", schema=BENCHMARK_SCHEMA))
    own_words = run / MODEL_CARD
    return RunRecords(
        run=str(run),
        bundle=from_json(BundleRecord, source.facts),
        labels=source.labels,
        training=from_json(TrainingRecord, json.loads(history.read_text("utf-8"))) if history.is_file() else None,
        golden=bundle.load_golden(source),
        parity_or_error=_if_there(lambda: _parity(run, left_out, {"bundle_sha256": source.sha256})),
        left_out=left_out,
        skipped=artifact.skipped(run),
        served_or_error=_if_there(lambda: _of_repository(run, partial(from_json, ServedRecord), SERVED, "verify")),
        benchmark_or_error=benchmark,
        made_on=_day(source.directory / bundle.MANIFEST if isinstance(benchmark, ManifestError) else run / BENCHMARK),
        own_words=own_words.read_text("utf-8", errors="replace") if own_words.is_file() else "",
    )


def _day(path: Path) -> str:
    return date.fromtimestamp(path.stat().st_mtime).isoformat()


def _if_there(read: Callable[[], _Record]) -> _Record | ManifestError:
    try:
        return read()
    except ManifestError as error:
        return error


def _of_repository(run: Path, build: Callable[[Any], _Record], name: str, command: str, **expected: object) -> _Record:
    """Read a record of the run's repository, which `slipway <command> RUN` writes."""
    repository = run / "model_repository" / REPOSITORY
    _refuse_missing(repository, errors.command("build", run))
    of_repository = {"repository_sha256": manifest.sha256(repository), **expected}
    return _current(build, run / name, of_repository, errors.command(command, run))


def _parity(run: Path, left_out: Mapping[str, str], of_bundle: Mapping[str, object]) -> tuple[OfflineCheck, ...]:
    """Return the record of every variant that was exported, and those of what was left out."""
    fix = errors.command("export", run)
    tried = [name for name in left_out if _is_of(run / "artifacts" / name / artifact.PARITY, of_bundle)]
    exported = artifact.exported(run) if not tried or (run / "artifacts" / artifact.EXPORTED).is_file() else []
    paths = [run / "artifacts" / name / artifact.PARITY for name in VARIANTS if name in exported or name in tried]
    return tuple(_current(partial(from_json, OfflineCheck), path, of_bundle, fix) for path in paths)


def _is_of(path: Path, expected: Mapping[str, object]) -> bool:
    return path.is_file() and expected.items() <= json.loads(path.read_text("utf-8")).items()


def _current(build: Callable[[Any], _Record], path: Path, expected: Mapping[str, object], fix: str) -> _Record:
    """Read a record that has these values, and `build` it.

    Raises ManifestError if it is missing, has others, or was written by an earlier version.
    """
    _refuse_missing(path, fix)
    record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    for name, value in expected.items():
        if (actual := record.get(name)) != value:
            raise _outdated(path, f"{name} {value}", str(actual), fix)
    try:
        return build(record)
    except TypeError as error:
        raise _outdated(path, "every key that this version writes", str(error), fix) from error


def _outdated(path: Path, expected: str, found: str, fix: str) -> ManifestError:
    return ManifestError("a record is of an earlier state", expected=expected, found=found, where=str(path), fix=fix)


def _refuse_missing(path: Path, fix: str) -> None:
    if not path.is_file():
        raise ManifestError("a record is missing", expected=path.name, found="no such file", where=str(path), fix=fix)
