"""Show which versions are published, which is served, and what was done last.

slipway status
"""

from __future__ import annotations

import argparse
from pathlib import Path

from serving.audit import AUDIT_FILE, last_entries
from serving.live_server import running_server
from serving.publication import DEFAULT_REPOSITORY, Published, Registry, read_published
from serving.records import TEXT_MODEL
from train import errors, terminal

_ENTRIES = 5  # of the audit


def main() -> int:
    arguments = _parse()
    registry = Registry(arguments.repository)
    published = read_published(registry)
    _show_versions(published)
    _show_server(registry, published)
    print(f"\nlast lines of {registry.state / AUDIT_FILE}:")
    for entry in last_entries(registry, _ENTRIES):
        why = f": {entry['why']}" if "why" in entry else ""
        print(f"  {entry['time']}  {entry['by']}  {entry['action']} {entry.get('version', '')}  {entry['result']}{why}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--repository", type=Path, default=DEFAULT_REPOSITORY, help="where it was published; default: %(default)s")
    return parser.parse_args()


def _show_versions(published: Published) -> None:
    columns = ("is", "published", TEXT_MODEL, "of the run")
    table = terminal.table("", "version", *columns, left=columns)
    states = {published.previous: "the one before", published.active: "active"}
    for number, version in sorted(published.versions.items(), reverse=True):
        state = states.get(number, "rolled back" if version.rolled_back else "")
        table.add_row(str(number), state, version.published, version.variants[TEXT_MODEL], version.run)
    terminal.console().print(table)


def _show_server(registry: Registry, published: Published) -> None:
    server = running_server(registry)
    if server is None:
        print(f"\nnobody serves it: {errors.command('serve', '--published', registry.repository)}")
        return
    served = server.served_versions()
    print(f"\nserved at {server.http}, gRPC {server.grpc}:")
    for model in published.models:
        versions = served.get(model, [])
        fault = f"  (expected {published.active}: a switch is on, or failed)" if versions != [str(published.active)] else ""
        print(f"  {model}  version {', '.join(versions) or 'none'}{fault}")


if __name__ == "__main__":
    errors.run(main)
