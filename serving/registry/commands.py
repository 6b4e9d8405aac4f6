"""`slipway rollback` and `slipway status`. Quick to start: somebody may be in a hurry.

    slipway rollback
    slipway status

rollback drops no request of a server that runs, needs none that answers, and leaves a line in the
registry's audit.
"""

from __future__ import annotations

import argparse

from serving.registry.audit import AUDIT_FILE, audited, last_entries, show_exchange
from serving.registry.registry import Published, Registry, is_locked, publishing_lock, read_published, rolled_back
from serving.registry.rollout import (
    RunningServer,
    answering_server,
    faults,
    is_unfinished,
    memory,
    repair,
    roll_back,
    running_server,
    take_up,
)
from slipway import console, errors
from slipway.contract.records import TEXT_MODEL
from slipway.errors import PublishingError

_ENTRIES = 5  # of the audit that status shows


def rollback(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.repository)
    with audited(registry, "rollback") as entry, publishing_lock(registry):
        before, server = read_published(registry), answering_server(registry)
        take_up(server, registry, before)
        number = _version_to_return_to(before, registry)
        entry |= {"version": number, "instead_of": before.active}
        show_exchange(before, number, entry)
        if server:
            entry["server"] = server.http
        served = roll_back(server, registry, before, rolled_back(before))
    unserved = "" if served else ", and nobody serves it yet"
    print(f"rolled back version {before.active}; version {number} is the active one{unserved}")
    return 0


def _version_to_return_to(published: Published, registry: Registry) -> int:
    if published.previous is not None:
        return published.previous
    raise PublishingError(
        "nothing to roll back to",
        expected="a version that was active before",
        found=f"version {published.active} alone",
        where=str(registry.repository),
        fix=f"{registry.command('publish', 'RUN')} && {registry.command('promote')}",
    )


def status(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.repository)
    if arguments.repair:
        _repair(registry)
    published, server = read_published(registry), running_server(registry)
    _show_versions(published)
    wrong = _show_server(registry, published, server)
    print(f"\nlast lines of {registry.state / AUDIT_FILE}:")
    for entry in last_entries(registry, _ENTRIES):
        why = f": {entry['why']}" if "why" in entry else ""
        print(f"  {entry['time']}  {entry['by']}  {entry['action']} {entry.get('version', '')}  {entry['result']}{why}")
    if server and (wrong or is_unfinished(registry)) and not is_locked(registry):
        raise PublishingError(
            f"what is served is not version {published.active} alone",
            expected=f"every model of version {published.active}, and no other",
            found=f"other versions or none of {', '.join(sorted(wrong))}" if wrong else "a promotion or rollback that was cut off",
            where=server.http,
            fix=registry.command("status", "--repair"),
        )
    return 0


def _repair(registry: Registry) -> None:
    with audited(registry, "repair") as entry, publishing_lock(registry):
        published = read_published(registry)
        entry["version"] = published.active
        repair(running_server(registry), registry, published)


def _show_versions(published: Published) -> None:
    columns = ("is", "published", TEXT_MODEL, "of the run")
    table = console.table("", "version", *columns, left=columns)
    states = {published.previous: "the one before", published.active: "active"}
    for number, version in sorted(published.versions.items(), reverse=True):
        state = states.get(number, "rolled back" if version.rolled_back else "")
        table.add_row(str(number), state, version.published, version.variants[TEXT_MODEL], version.run)
    console.console().print(table)


def _show_server(registry: Registry, published: Published, server: RunningServer | None) -> set[str]:
    """Print what is served; return the models that are not served as published."""
    if server is None:
        print(f"\nnobody serves it: {errors.command('serve', '--published', registry.repository)}")
        return set()
    served, wrong, standby = server.served_versions(), faults(server, published), str(published.standby)
    print(f"\nserved at {server.http}, gRPC {server.grpc}:")
    for model in sorted({*published.models, *served}):
        *lower, answering = served.get(model, []) or ["none"]
        expected = published.active if model in published.models else "none"
        fault = f"  (expected {expected}: a switch is on, or was cut off)" if model in wrong else ""
        print(f"  {model}  version {', '.join([*lower, answering]) if fault else answering}{fault}")
    if any(standby in versions for versions in served.values()):
        print(f"  version {standby} stays loaded for a rollback, in {memory(registry, int(standby))}")
    return wrong
