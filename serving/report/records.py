"""The records of a run as frozen dataclasses, whose fields are the records' keys, as far as a page
shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from serving.benchmark.record import BenchmarkRecord
from slipway.contract.bundle import Golden
from slipway.contract.parity.comparison import Flip, Neighbours, Precision, ProbeComparison, Unseen
from slipway.contract.parity.judgement import Failure
from slipway.contract.parity.probabilities import Probabilities
from slipway.contract.variants import Limits
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
    made_at: str = ""  # UTC in ISO 8601; "": written by an earlier version


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
class ElsewhereRecord:
    """endpoint.json: the checks of servers that `verify --address` named, one of each."""

    passed: bool
    addresses: tuple[str, ...]
    checks: tuple[LiveCheck, ...]
    made_at: str = ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """How text_classifier runs: a variant, processes with an engine each, and their threads."""

    engine: str
    instances: int
    threads: int  # of each


@dataclass(frozen=True, slots=True)
class Slo:
    p99_ms: float
    rate: float = 0.0  # texts/s; 0: none was asked for


@dataclass(frozen=True, slots=True)
class HeldLoad:
    """The load of most texts/s that holds the SLO."""

    texts_per_second: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Candidate(Configuration):
    """A configuration that was to be tried; `holds` is None unless a load of it held the SLO."""

    cores: int
    status: str  # measured, not measured
    holds: HeldLoad | None = None


@dataclass(frozen=True, slots=True)
class TuningRecord:
    """tuning.json: which configuration is the cheapest that holds an SLO."""

    slo: Slo
    candidates: tuple[Candidate, ...]
    choice: Configuration | None  # None: nothing holds it
    reason: str
    use: str  # the command that builds the choice


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
    # None: `verify --address` was not run; an error: for a repository that is another by now
    elsewhere: ElsewhereRecord | ManifestError | None = None
    configuration: Configuration | None = None  # of the repository; None: not built yet
    tuning: TuningRecord | None = None  # None: not run, or for another bundle
    own_words: str = ""  # what the model's maker wrote for its card
    files: dict[str, str] = field(default_factory=dict)  # name → text of each record that is read here

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
    def made_on(self) -> str:
        """The day of the benchmark, without one that of the bundle, in UTC; "": not recorded."""
        made_at = self.bundle.made_at if "benchmark" in self.missing else self.benchmark.made_at
        return made_at.partition("T")[0]

    @property
    def failed(self) -> bool:
        """Whether a variant that was not left out changed the answers, here or where `verify
        --address` asked, or none is left.
        """
        if "parity" in self.missing:
            return False
        offline = [record.passed for record in self.parity if record.variant not in self.left_out]
        served = "served" in self.missing or (bool(self.served.checks) and self.served.passed)
        elsewhere = not isinstance(self.elsewhere, ElsewhereRecord) or self.elsewhere.passed
        return not (offline and all(offline) and served and elsewhere)

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
