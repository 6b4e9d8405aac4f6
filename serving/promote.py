"""Try a published version beside the one that is served, and switch to it without a dropped request; else keep the old one.

Of every model: all golden rows through HTTP and gRPC, with export's comparison and limits, and p99 against the served version's.
On the server of `make serve PUBLISHED=1`; where there is none, on one of its own. A line of publishing.jsonl says how it ended.
Exits 1 when answers differ, 10 when it is slower, cannot be loaded, or somebody else is publishing.

    python -m serving.promote
"""

from __future__ import annotations

import argparse
from pathlib import Path

from serving import audit, compiled_repository, live_server, publication, replay, trial
from serving.live_server import Live
from serving.publication import Place, Published
from serving.trial import Candidate, Trial
from train import bundle, errors
from train.errors import PublishingError


def main() -> int:
    arguments = _parse()
    place = Place(arguments.repository)
    with audit.line(place, "promote") as line, publication.locked(place):
        before = publication.read(place)
        number = _chosen(before, arguments.version, place)
        line |= {"version": number, "instead_of": before.active}
        with live_server.served(place) as live:
            line["server"] = live.http
            print(f"trying      version {number} beside version {before.active} on {live.http}", flush=True)
            trials = _try(live, place, before, number, arguments)
            line["trials"] = trial.summary(trials)
            _show(trials)
            trial.refuse(trials, before.active, str(place.repository))
            with live_server.switched(live, place, before.models, before.active, number):
                publication.promote(place, number)
    print(f"promoted    version {number}; back to version {before.active}: make rollback")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--repository", type=Path, default=publication.DEFAULT, help="where it was published; default: %(default)s")
    parser.add_argument("--version", type=int, help="default: the newest, unless it was rolled back")
    parser.add_argument(
        "--p99-limit", type=float, default=1.25, help="times the served version's p99; refused when beyond it for certain"
    )
    parser.add_argument("--pairs", type=int, default=300, help="questions to both versions of each model, to compare p99 on")
    return parser.parse_args()


def _chosen(before: Published, wanted: int | None, place: Place) -> int:
    number = before.newest if wanted is None else wanted
    why = before.why_not(number)
    if not why and wanted is None and (when := before.rolled_back(number)):
        why = f"version {number} is the newest, and was rolled back at {when}"
    if why:
        raise PublishingError(
            "nothing to promote",
            expected=f"a version that is not active, of {', '.join(map(str, sorted(before.versions)))}",
            found=why,
            where=str(place.repository),
            fix="publish a new one, or name another with --version",
        )
    return number


def _try(live: Live, place: Place, before: Published, number: int, arguments: argparse.Namespace) -> list[Trial]:
    facts = before.versions[number]
    source = compiled_repository.golden_source(facts)
    golden = bundle.load_golden(source)
    candidate = Candidate(place, number, source, golden, facts["variants"])
    trials = []
    for model in before.models:
        print(
            f"            {model}: {len(golden.texts)} golden rows over HTTP and gRPC, then p99 on {arguments.pairs} pairs",
            flush=True,
        )
        trials.append(trial.run(live, candidate, model, arguments.pairs, arguments.p99_limit))
    return trials


def _show(trials: list[Trial]) -> None:
    replay.show([check for one in trials for check in one["checks"]])
    for one in trials:
        latency = one["latency"]
        low, high = latency["interval"]
        print(
            f"{one['model']}: p99 {latency['ratio']:.2f} times the served version's ({low:.2f} to {high:.2f}), "
            f"another answer to {latency['other_answers']} of {latency['pairs']} texts"
        )


if __name__ == "__main__":
    errors.run(main)
