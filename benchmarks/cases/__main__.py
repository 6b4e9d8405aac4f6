"""Give Slipway every case of a directory, and print its answers beside the good ones.

Each folder is named by its kind: a… SavedModels with vocabulary, labels and rows, d… labelled
data, r… model repositories, k… calls to a server. What a good answer is stands beside the code of
each kind; of a case that is not there a person has to judge. Nothing is trained. Calls need a
single-text run with its repository, which is served meanwhile on free ports of this machine. Takes
7 minutes.

    python -m benchmarks.cases CASES --run runs/demo
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import harness
from benchmarks.cases import calls, corpora, large, models, repositories
from benchmarks.cases.answers import Answer
from serving.server import triton
from slipway import console, errors
from slipway.contract import bundle

_SERVED = {calls.CASE: calls.answers, large.CASE: large.answers}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("cases", type=Path, metavar="CASES", help="the directory of cases")
    parser.add_argument("--run", type=Path, help="a run with its repository, for the calls; without it they are left to see")
    arguments = parser.parse_args()
    cases: Path = arguments.cases
    served = list(_served(cases, arguments.run))  # first: what is wrong with the run is said at once
    answers = [*models.answers(cases), *corpora.answers(cases), *repositories.answers(cases), *served]
    _show(answers)
    bad, unknown = (sum(answer.good is good for answer in answers) for good in (False, None))
    print(f"{len(answers)} answers, {bad} not the good one, {unknown} to be seen by a person")
    return 1 if bad else 0


def _served(cases: Path, run: Path | None) -> Iterator[Answer]:
    """Ask a server of the run what the cases of calls ask; without a run nothing is asked."""
    asked = [name for name in _SERVED if (cases / name).is_dir()]
    if run is None or not asked:
        yield from (Answer(name, "", "no --run RUN was given") for name in asked)
        return
    harness.require_single_text(bundle.load(run / "bundle"), errors.command("verify", run))
    with triton.running(run / "model_repository") as server:
        for name in asked:
            yield from _SERVED[name](server.http, server.grpc)


def _show(answers: Sequence[Answer]) -> None:
    table = console.table("", "case", "exit", "good", "answer", left=("case", "good", "answer"))
    for answer in answers:
        good = {True: "yes", False: "NO", None: "see"}[answer.good]
        table.add_row(answer.case, str(answer.status), good, answer.line)
    console.console().print(table)


if __name__ == "__main__":
    errors.run(main)
