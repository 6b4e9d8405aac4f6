"""`slipway publish` and `slipway promote`: a version is tried before it gets clients.

    slipway publish runs/demo
    slipway promote

promote drops no request of a server that runs. Both leave a line in the registry's audit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from serving import served_parity
from serving.options import MOST_CHANGED
from serving.registry import golden_rows
from serving.registry.audit import AuditEntry, audited, show_exchange
from serving.registry.canary import (
    Canary,
    CanaryResult,
    audit_entry,
    publish_again,
    questions,
    refuse_failed,
    refuse_other_answers,
    run_canary,
    try_alone,
)
from serving.registry.proof import golden_source, proven
from serving.registry.registry import (
    Compiled,
    Published,
    Registry,
    add_version,
    is_published,
    promoted,
    publishing_lock,
    read_published,
)
from serving.registry.regression import Accepted, GoldenSet, refuse_worse
from serving.registry.rollout import RunningServer, answering_server, keep_loaded, memory, running_or_own_server, switch, take_up
from slipway import console, errors
from slipway.contract import bundle
from slipway.contract.bundle import Bundle
from slipway.errors import PublishingError, SlipwayError, UsageError


def promote(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.repository)
    accepted = _accepted(arguments, registry)
    with audited(registry, "promote") as entry, publishing_lock(registry):
        before = read_published(registry)
        number = _version_to_promote(before, arguments.version, registry)
        entry |= {"version": number, "instead_of": before.active, "accepted": asdict(accepted)}
        with running_or_own_server(registry) as server:
            take_up(server, registry, before)
            entry["server"] = server.http
            print(f"canary      version {number} beside version {before.active} on {server.http}", flush=True)
            show_exchange(before, number, entry)
            again = registry.command(*_promote_words(arguments, number))
            sets = golden_rows.of_both(registry, before, number, accepted.reason, again)
            entry["golden_rows_of"] = [rows.version for rows in sets]
            results = _run_canaries(server, registry, before, number, arguments, sets)
            entry["canaries"] = [result.to_json() for result in results]
            _show_canaries(results)
            refuse_failed(results, before.active, registry)
            compared = [comparison for result in results for comparison in result.compared]
            refuse_worse(compared, accepted, before.active, registry, _promote_words(arguments, number))
            switch(server, registry, before, promoted(before, number))
            if server.standby:
                _keep_standby(server, registry, promoted(before, number))
    print(f"promoted    version {number}; back to version {before.active}: {registry.command('rollback')}")
    return 0


def _keep_standby(server: RunningServer, registry: Registry, published: Published) -> None:
    """Keep the version before loaded; the new one is active even if that fails."""
    standby = published.standby
    try:
        keep_loaded(server, registry, published)
        if standby is not None:
            print(f"standby     version {standby} stays loaded, in {memory(registry, standby)}")
    except (SlipwayError, OSError) as error:
        why = error.found if isinstance(error, SlipwayError) else error
        print(f"standby     version {standby} is not loaded yet ({why}); the server tries it again")


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
    asked = {model: questions(canary, model, arguments.pairs) for model in version.models}
    with _time_left(asked) as (done, left):
        results = []
        for model, planned in asked.items():
            new = "" if model in before.models else f"; no p99, because version {before.active} has no such model"
            print(f"            {model}: {planned} questions{new}{left(model)}", flush=True)
            results.append(run_canary(server, canary, model, arguments.pairs, arguments.p99_limit, done))
    return results


@contextmanager
def _time_left(questions: dict[str, int]) -> Iterator[tuple[Callable[[int], None], Callable[[str], str]]]:
    """Show how many of the models' questions are asked, and how long the others will take.

    Yields a function that takes how many more were asked, and one that begins a model and says how
    long it will take from there, for a file, where nobody sees a bar.
    """
    started, total = time.monotonic(), sum(questions.values())
    columns = (TextColumn("            {task.completed:.0f} of {task.total:.0f} questions"), BarColumn(), TimeRemainingColumn())
    with console.bar(*columns) as progress:
        line = progress.add_task("", total=total)

        def left(model: str) -> str:
            before = sum(list(questions.values())[: list(questions).index(model)])  # whatever doubts have added to it
            progress.update(line, completed=before)
            return f"; about {(time.monotonic() - started) / before * (total - before):.0f} s left" if before else ""

        yield lambda more: progress.advance(line, more), left


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
        if is_published(registry):
            take_up(answering_server(registry), registry, read_published(registry))
        else:
            _try_first(registry, compiled, source, entry)
        golden_rows.keep(registry, source)
        entry["version"] = number = add_version(registry, compiled)
        published = read_published(registry)
        golden_rows.drop_unused(registry, {version.bundle_sha256 for version in published.versions.values()})
        active = published.active
        show_exchange(published, number, entry)
    print(f"published   {arguments.run} as version {number} of {registry.repository}; version {active} is the active one")
    served = errors.command("serve", "--published", registry.repository)
    print(f"next        {served if number == active else registry.command('promote')}")
    return 0


def _try_first(registry: Registry, compiled: Compiled, source: Bundle, entry: AuditEntry) -> None:
    """Try the first version as any other, before it is active. Raises as canary.try_alone."""
    print(f"trial       {len(compiled.origin.models)} models over HTTP and gRPC: the first version is active at once", flush=True)
    checks = try_alone(compiled, bundle.load_reference(source))
    entry["checks"] = [audit_entry(check) for check in checks]
    served_parity.show(checks)
    refuse_other_answers(checks, registry, f"nothing is published; {publish_again(compiled.origin.run, registry)}")
