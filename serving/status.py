"""What is published, what of it is served, and what was done last.

python -m serving.status
"""

from __future__ import annotations

import argparse
from pathlib import Path

from serving import audit, live_server, publication
from serving.publication import Place, Published
from serving.records import TEXT_MODEL
from train import errors, terminal

_LINES = 5  # of the audit


def main() -> int:
    arguments = _parse()
    place = Place(arguments.repository)
    published = publication.read(place)
    live = live_server.of(place)
    _show_versions(published)
    if live:
        served = live.serves()
        print(f"\nserved at {live.http}, gRPC {live.grpc}:")
        for model in published.models:
            expected = (
                ""
                if served.get(model) == [str(published.active)]
                else f"  (expected {published.active}: a switch is on, or failed)"
            )
            print(f"  {model}  version {', '.join(served.get(model, [])) or 'none'}{expected}")
    else:
        print("\nnobody serves it: make serve PUBLISHED=1")
    print(f"\nlast lines of {place.state / audit.FILE}:")
    for line in audit.last(place, _LINES):
        why = f": {line['why']}" if "why" in line else ""
        print(f"  {line['time']}  {line['by']}  {line['action']} {line.get('version', '')}  {line['result']}{why}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--repository", type=Path, default=publication.DEFAULT, help="where it was published; default: %(default)s")
    return parser.parse_args()


def _show_versions(published: Published) -> None:
    table = terminal.table(
        "", "version", "is", "published", TEXT_MODEL, "of the run", left=("is", "published", TEXT_MODEL, "of the run")
    )
    previous = published.history[-2] if len(published.history) > 1 else None
    for number, facts in sorted(published.versions.items(), reverse=True):
        when = published.rolled_back(number)
        is_what = "active" if number == published.active else "the one before" if number == previous else when and "rolled back"
        table.add_row(str(number), is_what, facts["published"], facts["variants"][TEXT_MODEL], facts["run"])
    terminal.console().print(table)


if __name__ == "__main__":
    errors.run(main)
