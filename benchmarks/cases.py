"""Give Slipway the models, data and repositories of a directory of cases, and print its answers.

The cases are small inputs drawn from public reports. Each folder is named by its kind: a…
SavedModels with vocabulary, labels and rows, d… labelled data, r… model repositories. For each the
table has the exit status and the line of the answer that says most. Of models it also has whether
the answer is the good one; of the others a person has to judge. Nothing is trained or served.

    python -m benchmarks.cases CASES
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway import console, errors
from slipway.errors import SlipwayError
from slipway.lint import linter
from train import options, settings

_COMMAND = [sys.executable, "-m", "slipway.cli"]
_TAKEN = 0
# A case's folder or file → what a good answer says; a model that is not here is imported with all
# its rows right, data are read, and a repository has an error.
_ANSWERS = {
    "a05-tf-text-op": "CaseFoldUTF8",
    "a06-text-in-lookup": "takes texts",
    "a08-huggingface-tree/model.keras": "a model of Keras",
    "a08-huggingface-tree/frozen_graph.pb": "a frozen graph",
    "a08-huggingface-tree/my-model/tf_model.h5": "a model of Keras",
    "a08-huggingface-tree/nothing": "no such path",
    "a09-heads/multi-label": "multi-label",
    "a14-vocab-bytes/no-unk.txt": "no [UNK]",
    "a14-vocab-bytes/lower-case-special.txt": "but [unk]",
    "a14-vocab-bytes/pad-second.txt": "[PAD] in line 2",
    "a14-vocab-bytes/utf-16.txt": "UTF-16",
    "a14-vocab-bytes/latin-1.txt": "0xe9",
    "a14-vocab-bytes/with-counts.txt": "counts behind a tab",
}


@dataclass(frozen=True)
class Answer:
    """What Slipway answers to a case."""

    case: str
    status: int
    text: str  # all of it
    good: bool | None  # None: a person has to judge

    @property
    def line(self) -> str:
        """The line that says most: of an error its first, else the last."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("cases", type=Path, metavar="CASES", help="the directory of cases")
    cases: Path = parser.parse_args().cases
    table = console.table("", "case", "exit", "good", "answer", left=("case", "good", "answer"))
    answers = [*_models(cases), *_data(cases), *_repositories(cases)]
    for answer in answers:
        good = {True: "yes", False: "NO", None: "see"}[answer.good]
        table.add_row(answer.case, str(answer.status), good, answer.line)
    console.console().print(table)
    bad = sum(answer.good is False for answer in answers)
    print(f"{len(answers)} cases, {bad} without their good answer")
    return 1 if bad else 0


def _models(cases: Path) -> Iterator[Answer]:
    """Import each model with what lies beside it, each vocabulary, and each wrong path."""
    for model in sorted(cases.glob("a*/**/model")):
        vocabularies = sorted(path for path in model.parent.glob("*.txt") if path.name != "labels.txt")
        for vocabulary in vocabularies:
            case = model.parent if len(vocabularies) == 1 else vocabulary
            yield _imported(case.relative_to(cases), model, vocabulary, model.parent)
    tree = cases / "a08-huggingface-tree"
    names = ("", "my-model", "model.keras", "frozen_graph.pb", "my-model/tf_model.h5", "nothing") if tree.is_dir() else ()
    for name in names:
        path = tree / name
        yield _imported(path.relative_to(cases), path, tree / "my-model/vocab.txt", tree / "my-model")


def _imported(case: Path, model: Path, vocabulary: Path, beside: Path) -> Answer:
    with tempfile.TemporaryDirectory() as scratch:
        files = ["--vocab", vocabulary, "--labels", beside / "labels.txt", "--golden", beside / "rows.csv"]
        return _answer(case, ["import", f"{scratch}/run", "--saved-model", model, *files], "accuracy 100.00%")


def _answer(case: Path, words: Sequence[object], taken: str) -> Answer:
    done = subprocess.run([*_COMMAND, *map(str, words)], capture_output=True, text=True, check=False)
    expected = _ANSWERS.get(str(case))
    good = (expected or taken) in done.stdout + done.stderr and (done.returncode == _TAKEN) == (expected is None)
    return Answer(str(case), done.returncode, done.stdout + done.stderr, good and "Traceback" not in done.stderr)


def _data(cases: Path) -> Iterator[Answer]:
    """Read each corpus up to where training would begin."""
    for folder in sorted(cases.glob("d*/")):
        inner = [path for path in sorted(folder.iterdir()) if path.suffix != ".py" and path.name != "__pycache__"]
        for corpus in inner:
            yield _corpus(corpus, str(corpus.relative_to(cases)))


def _corpus(corpus: Path, case: str) -> Answer:
    parser = argparse.ArgumentParser()
    options.train_options(parser)
    try:
        data = settings.corpus_of(parser.parse_args(["RUN", "--corpus", str(corpus)]))
    except SlipwayError as error:
        return Answer(case, error.exit_code, f"error: {error.summary}: {error.found}", None)
    except Exception as error:  # a traceback is never a good answer
        return Answer(case, 1, repr(error), good=False)
    splits = f"{len(data.train)} train, {len(data.validation)} validation, {len(data.test)} test rows"
    return Answer(case, 0, f"{data.task}: {', '.join(data.labels[:5])}; {splits}", None)


def _repositories(cases: Path) -> Iterator[Answer]:
    """Lint each model: of a repository of cases by its name, or each repository of its own."""
    for folder in sorted(cases.glob("r*/")):
        shared = folder / "repository"
        for repository in [shared] if shared.is_dir() else sorted(path for path in folder.iterdir() if path.is_dir()):
            findings = linter.check(repository).findings
            for model in sorted(path.name for path in shared.iterdir()) if shared.is_dir() else [""]:
                own = [finding for finding in findings if not model or finding.model == model]
                worst = sorted(own, key=lambda finding: finding.severity)
                text = f"{worst[0].severity}: {worst[0].rule}: {worst[0].found}" if worst else "nothing found"
                name = str((repository / model if model else repository).relative_to(cases))
                yield Answer(name, 0, text, None)


if __name__ == "__main__":
    errors.run(main)
