"""The commands of the registry, and its audit: a line for each but status.

promote and rollback drop no request of a server that runs.

    slipway publish runs/demo
    slipway promote
    slipway rollback
    slipway status
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serving import served_parity
from serving.registry.canary import Canary, CanaryResult, refuse_failed, run_canary
from serving.registry.proof import golden_source, proven
from serving.registry.registry import (
    Published,
    Registry,
    add_version,
    now,
    promote_version,
    publishing_lock,
    read_published,
    roll_back_version,
)
from serving.registry.rollout import RunningServer, rolled_out, running_or_own_server, running_server
from slipway import console, errors, provenance
from slipway.contract import bundle
from slipway.contract.records import TEXT_MODEL
from slipway.errors import PublishingError, SlipwayError

AUDIT_FILE = "publishing.jsonl"  # in the registry's state
AuditEntry = dict[str, Any]  # one line of it
_ENTRIES = 5  # of the audit that status shows


@contextmanager
def audited(registry: Registry, action: str) -> Iterator[AuditEntry]:
    """Append an entry about the block: its own additions, and why it failed, if it did.

    The entry is written also when the block is interrupted.
    """
    entry: AuditEntry = {
        "time": now(),
        "action": action,
        "by": _user(),
        "command": shlex.join(sys.orig_argv),
        "commit": provenance.commit(),
        "result": "interrupted",
    }
    started = time.monotonic()
    try:
        yield entry
        entry["result"] = "done"
    except SlipwayError as error:
        entry |= {"result": "refused", "why": error.summary, "expected": error.expected, "found": error.found, "where": error.where}
        raise
    finally:
        entry["seconds"] = round(time.monotonic() - started, 1)
        _append_entry(registry.state / AUDIT_FILE, entry)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name in this container
        return str(os.getuid())


def _append_entry(path: Path, entry: AuditEntry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, (json.dumps(entry, ensure_ascii=False) + "\n").encode())  # in one piece: others may write too
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last_entries(registry: Registry, count: int) -> list[AuditEntry]:
    """Return the last `count` entries, the oldest first."""
    path = registry.state / AUDIT_FILE
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines[-count:]]


def promote(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.repository)
    with audited(registry, "promote") as entry, publishing_lock(registry):
        before = read_published(registry)
        number = _version_to_promote(before, arguments.version, registry)
        entry |= {"version": number, "instead_of": before.active}
        with running_or_own_server(registry) as server:
            entry["server"] = server.http
            print(f"canary      version {number} beside version {before.active} on {server.http}", flush=True)
            results = _run_canaries(server, registry, before, number, arguments)
            entry["canaries"] = [result.to_json() for result in results]
            _show_canaries(results)
            refuse_failed(results, before.active, registry)
            with rolled_out(server, registry, before.models, before.active, number):
                promote_version(registry, number)
    print(f"promoted    version {number}; back to version {before.active}: {registry.command('rollback')}")
    return 0


def _version_to_promote(before: Published, wanted: int | None, registry: Registry) -> int:
    """Return `wanted`, or the newest version. Raise PublishingError if it cannot be promoted."""
    number = before.newest if wanted is None else wanted
    if number not in before.versions:
        why = f"there is no version {number}"
    elif number == before.active:
        why = f"version {number} is the active one"
    elif wanted is None and (when := before.versions[number].rolled_back):
        why = f"version {number} is the newest, and was rolled back at {when}"
    else:
        return number
    raise PublishingError(
        "nothing to promote",
        expected=f"a version that is not active, of {', '.join(map(str, sorted(before.versions)))}",
        found=why,
        where=str(registry.repository),
        fix=f"{registry.command('publish', 'RUN')}, or {registry.command('promote', '--version', 'N')}",
    )


def _run_canaries(
    server: RunningServer, registry: Registry, before: Published, number: int, arguments: argparse.Namespace
) -> list[CanaryResult]:
    version = before.versions[number]
    source = golden_source(version, registry.command("publish", version.run))
    golden = bundle.load_golden(source)
    canary = Canary(registry, number, source, golden, version.variants)
    results = []
    for model in before.models:
        rows = f"{len(golden.texts)} golden rows over HTTP and gRPC"
        print(f"            {model}: {rows}, then p99 on {arguments.pairs} pairs", flush=True)
        results.append(run_canary(server, canary, model, arguments.pairs, arguments.p99_limit))
    return results


def _show_canaries(results: list[CanaryResult]) -> None:
    served_parity.show([check for result in results for check in result.checks])
    for result in results:
        latency = result.latency
        low, high = latency.interval
        print(
            f"{result.model}: p99 {latency.ratio:.2f} times the served version's ({low:.2f} to {high:.2f}), "
            f"another answer to {latency.other_answers} of {latency.pairs} texts"
        )


def publish(arguments: argparse.Namespace) -> int:
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


def rollback(arguments: argparse.Namespace) -> int:
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
    published = read_published(registry)
    _show_versions(published)
    _show_server(registry, published)
    print(f"\nlast lines of {registry.state / AUDIT_FILE}:")
    for entry in last_entries(registry, _ENTRIES):
        why = f": {entry['why']}" if "why" in entry else ""
        print(f"  {entry['time']}  {entry['by']}  {entry['action']} {entry.get('version', '')}  {entry['result']}{why}")
    return 0


def _show_versions(published: Published) -> None:
    columns = ("is", "published", TEXT_MODEL, "of the run")
    table = console.table("", "version", *columns, left=columns)
    states = {published.previous: "the one before", published.active: "active"}
    for number, version in sorted(published.versions.items(), reverse=True):
        state = states.get(number, "rolled back" if version.rolled_back else "")
        table.add_row(str(number), state, version.published, version.variants[TEXT_MODEL], version.run)
    console.console().print(table)


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
