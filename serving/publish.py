"""Publish a run's compiled repository into model_repository/ as the next version.

It is served after `slipway promote`; the first version is active at once. A repository is refused
if exactly its files have not passed parity, or if clients of the served version could not ask it in
the same words. Exits 10 when somebody else is publishing.

    slipway publish runs/demo
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from serving.audit import audited
from serving.compiled_repository import proven
from serving.publication import DEFAULT_REPOSITORY, Registry, add_version, publishing_lock, read_published
from train import errors


def main() -> int:
    arguments = _parse()
    registry = Registry(arguments.repository)
    with audited(registry, "publish") as entry, publishing_lock(registry):
        entry["run"] = str(arguments.run)
        compiled = proven(arguments.run)
        entry |= asdict(compiled.origin)
        entry["version"] = number = add_version(registry, compiled)
        active = read_published(registry).active
    print(f"published   {arguments.run} as version {number} of {registry.repository}; version {active} is the active one")
    served = errors.command("serve", "--published", registry.repository)
    print(f"next        {served if number == active else registry.command('promote')}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's directory, for example runs/demo")
    parser.add_argument("--repository", type=Path, default=DEFAULT_REPOSITORY, help="where to; default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
