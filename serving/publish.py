"""Publish a run's compiled repository into model_repository/ as the next version. It is not served yet: see serving.promote.

Refuses what has not passed parity for exactly these files, and what clients of the served version could not ask in the same words.
The first version is active at once. Exits 10 when somebody else is publishing.

    python -m serving.publish runs/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

from serving import audit, compiled_repository, publication
from serving.publication import Place
from train import errors


def main() -> int:
    arguments = _parse()
    place = Place(arguments.repository)
    with audit.line(place, "publish") as line, publication.locked(place):
        line["run"] = str(arguments.run)
        compiled = compiled_repository.proven(arguments.run)
        line |= compiled.facts
        line["version"] = number = publication.add(place, compiled)
        active = publication.read(place).active
    print(f"published   {arguments.run} as version {number} of {place.repository}; version {active} is the active one")
    print("next        make promote" if number != active else "next        make serve PUBLISHED=1")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's directory, for example runs/demo")
    parser.add_argument("--repository", type=Path, default=publication.DEFAULT, help="where to; default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
