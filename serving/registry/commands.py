"""The commands of the registry. Each but status leaves a line in its audit.

promote and rollback drop no request of a server that runs.

    slipway publish runs/demo
    slipway promote
    slipway rollback
    slipway status
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import asdict

from serving import served_parity
from serving.options import MOST_CHANGED
from serving.registry import golden_rows
from serving.registry.audit import AUDIT_FILE, AuditEntry, audited, last_entries
from serving.registry.canary import (
    Canary,
    CanaryResult,
    audit_entry,
    publish_again,
    refuse_failed,
    refuse_other_answers,
    run_canary,
    try_alone,
)
from serving.registry.proof import Compiled, golden_source, proven
from serving.registry.registry import (
    Published,
    Registry,
    add_version,
    is_published,
    promote_version,
    publishing_lock,
    read_published,
    roll_back_version,
)
from serving.registry.regression import Accepted, GoldenSet, refuse_worse
from serving.registry.rollout import RunningServer, rolled_out, running_or_own_server, running_server
from slipway import console, errors
from slipway.contract import bundle
from slipway.contract.bundle import Bundle
from slipway.contract.records import TEXT_MODEL
from slipway.errors import PublishingError, UsageError

_ENTRIES = 5  # of the audit that status shows


def promote(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.repository)
    accepted = _accepted(arguments, registry)
    with audited(registry, "promote") as entry, publishing_lock(registry):
        before = read_published(registry)
        number = _version_to_promote(before, arguments.version, registry)
        entry |= {"version": number, "instead_of": before.active, "accepted": asdict(accepted)}
        with running_or_own_server(registry) as server:
            entry["server"] = server.http
            print(f"canary      version {number} beside version {before.active} on {server.http}", flush=True)
            _show_exchange(before, number, entry)
            again = registry.command(*_promote_words(arguments, number))
            sets = golden_rows.of_both(registry, before, number, accepted.reason, again)
            entry["golden_rows_of"] = [rows.version for rows in sets]
            results = _run_canaries(server, registry, before, number, arguments, sets)
            entry["canaries"] = [result.to_json() for result in results]
            _show_canaries(results)
            refuse_failed(results, before.active, registry)
            compared = [comparison for result in results for comparison in result.compared]
            refuse_worse(compared, accepted, before.active, registry, _promote_words(arguments, number))
            with rolled_out(server, registry, before, number):
                promote_version(registry, number)
    print(f"promoted    version {number}; back to version {before.active}: {registry.command('rollback')}")
    return 0


def _accepted(arguments: argparse.Namespace, registry: Registry) -> Accepted:
    """Return what is accepted of a worse version. Raises UsageError where no reason is given."""
    accepted = Accepted(arguments.accept_loss, arguments.accept_changes, arguments.reason.strip())
    if not accepted.reason and (accepted.loss > 0 or accepted.changes > MOST_CHANGED):
        words = ["--accept-loss", accepted.loss, "--accept-changes", accepted.changes, "--reason", "WHY"]
        raise UsageError(
            "a worse version is accepted for a reason",
            expected="--reason, which the audit keeps",
            found="none",
            where="the command line",
            fix=registry.command(*_promote_words(arguments, arguments.version), *words),
        )
    return accepted


def _promote_words(arguments: argparse.Namespace, number: int | None) -> list[object]:
    version = [] if number is None else ["--version", number]
    return ["promote", *version, "--pairs", arguments.pairs, "--p99-limit", f"{arguments.p99_limit:g}"]


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
    server: RunningServer,
    registry: Registry,
    before: Published,
    number: int,
    arguments: argparse.Namespace,
    sets: list[GoldenSet],
) -> list[CanaryResult]:
    version = before.versions[number]
    reference = bundle.load_reference(golden_source(version, registry.command("publish", version.run)))
    canary = Canary(registry, number, reference, version.variants, before.models, sets)
    results = []
    for model in version.models:
        rows = f"{len(reference.golden.texts)} golden rows over HTTP and gRPC"
        then = f"p99 on {arguments.pairs} pairs" if model in before.models else f"no p99: version {before.active} has no such model"
        print(f"            {model}: {rows}, then {then}", flush=True)
        results.append(run_canary(server, canary, model, arguments.pairs, arguments.p99_limit))
    return results


def _show_canaries(results: list[CanaryResult]) -> None:
    served_parity.show([check for result in results for check in result.checks])
    for result in results:
        if latency := result.latency:
            low, high = latency.interval
            print(
                f"{result.model}: p99 {latency.ratio:.2f} times the served version's ({low:.2f} to {high:.2f}), "
                f"another answer to {latency.other_answers} of {latency.pairs} texts"
            )
        for compared in result.compared:
            print(
                f"{result.model}: on the {compared.total.rows} golden rows of version {compared.rows_of} "
                f"{compared.total.lost} right answers lost, {compared.total.gained} gained, "
                f"{compared.changed_share:.1%} of all answers changed"
            )


def publish(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.repository)
    with audited(registry, "publish") as entry, publishing_lock(registry):
        entry["run"] = str(arguments.run)
        compiled = proven(arguments.run)
        entry |= asdict(compiled.origin)
        source = bundle.load(arguments.run / "bundle")
        if not is_published(registry):
            _try_first(registry, compiled, source, entry)
        golden_rows.keep(registry, source)
        entry["version"] = number = add_version(registry, compiled)
        published = read_published(registry)
        golden_rows.drop_unused(registry, {version.bundle_sha256 for version in published.versions.values()})
        active = published.active
        _show_exchange(published, number, entry)
    print(f"published   {arguments.run} as version {number} of {registry.repository}; version {active} is the active one")
    served = errors.command("serve", "--published", registry.repository)
    print(f"next        {served if number == active else registry.command('promote')}")
    return 0


def _show_exchange(published: Published, number: int, entry: AuditEntry) -> None:
    """Say which models come and go when version `number` becomes the active one."""
    entry["brought"], entry["gone"] = brought, gone = published.exchange(number)
    for model in brought:
        print(f"comes       {model}, which version {published.active} does not have, with version {number}")
    for model in gone:
        print(f"goes        {model}: who asks for it by name gets an error once version {number} is the active one")


def _try_first(registry: Registry, compiled: Compiled, source: Bundle, entry: AuditEntry) -> None:
    """Try the first version as any other, before it is active. Raises as canary.try_alone."""
    print(f"trial       {len(compiled.origin.models)} models over HTTP and gRPC: the first version is active at once", flush=True)
    checks = try_alone(compiled, bundle.load_reference(source))
    entry["checks"] = [audit_entry(check) for check in checks]
    served_parity.show(checks)
    refuse_other_answers(checks, registry, f"nothing is published; {publish_again(compiled.origin.run, registry)}")


def rollback(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.repository)
    with audited(registry, "rollback") as entry, publishing_lock(registry), ExitStack() as stack:
        before = read_published(registry)
        number = _version_to_return_to(before, registry)
        entry |= {"version": number, "instead_of": before.active}
        _show_exchange(before, number, entry)
        if server := running_server(registry):
            entry["server"] = server.http
            stack.enter_context(rolled_out(server, registry, before, number))
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
    for model in sorted({*published.models, *served}):
        versions, expected = served.get(model, []), [str(published.active)] if model in published.models else []
        fault = f"  (expected {', '.join(expected) or 'none'}: a switch is on, or failed)" if versions != expected else ""
        print(f"  {model}  version {', '.join(versions) or 'none'}{fault}")
