"""Switch the registry back to the previous version, without a dropped request if it is served.

slipway rollback
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from serving.audit import audited
from serving.live_server import rolled_out, running_server
from serving.publication import DEFAULT_REPOSITORY, Published, Registry, publishing_lock, read_published, roll_back_version
from train import errors
from train.errors import PublishingError


def main() -> int:
    arguments = _parse()
    registry = Registry(arguments.repository)
    with audited(registry, "rollback") as entry, publishing_lock(registry), ExitStack() as stack:
        before = read_published(registry)
        number = _version_to_return_to(before, registry)
        entry |= {"version": number, "instead_of": before.active}
        if server := running_server(registry):
            entry["server"] = server.http
            stack.enter_context(rolled_out(server, registry, before.models, before.active, number))
        roll_back_version(registry)
    unserved = "" if server else ", and nobody serves it"
    print(f"rolled back version {before.active}; version {number} is the active one{unserved}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--repository", type=Path, default=DEFAULT_REPOSITORY, help="where it was published; default: %(default)s")
    return parser.parse_args()


def _version_to_return_to(published: Published, registry: Registry) -> int:
    if published.previous is not None:
        return published.previous
    raise PublishingError(
        "nothing to roll back to",
        expected="a version that was active before",
        found=f"version {published.active} alone",
        where=str(registry.repository),
        fix="publish and promote another version instead",
    )


if __name__ == "__main__":
    errors.run(main)
