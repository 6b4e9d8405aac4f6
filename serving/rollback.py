"""Switch the published repository back to the version that was active before, without a dropped request, served or not.

python -m serving.rollback
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from serving import audit, live_server, publication
from serving.publication import Place, Published
from train import errors
from train.errors import PublishingError


def main() -> int:
    arguments = _parse()
    place = Place(arguments.repository)
    with audit.line(place, "rollback") as line, publication.locked(place), ExitStack() as stack:
        before = publication.read(place)
        number = _before(before, place)
        line |= {"version": number, "instead_of": before.active}
        if live := live_server.of(place):
            line["server"] = live.http
            stack.enter_context(live_server.switched(live, place, before.models, before.active, number))
        publication.roll_back(place)
    print(f"rolled back version {before.active}; version {number} is the active one" + ("" if live else ", and nobody serves it"))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--repository", type=Path, default=publication.DEFAULT, help="where it was published; default: %(default)s")
    return parser.parse_args()


def _before(published: Published, place: Place) -> int:
    if len(published.history) > 1:
        return published.history[-2]
    raise PublishingError(
        "nothing to roll back to",
        expected="a version that was active before",
        found=f"version {published.active} alone",
        where=str(place.repository),
        fix="publish and promote another version instead",
    )


if __name__ == "__main__":
    errors.run(main)
