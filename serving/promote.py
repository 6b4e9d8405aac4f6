"""Run a published version's canary beside the served version, and switch to it if it holds.

All golden rows of every model go through HTTP and gRPC, with export's comparison and limits, and
p99 is compared with the served version's. No request is dropped. The server is that of `slipway
serve --published`, or an own one where there is none. A line of publishing.jsonl says how it ended.
Exits 1 when answers differ, 10 when the version is slower, cannot be loaded, or somebody else is
publishing; the served version then stays.

    slipway promote
"""

from __future__ import annotations

import argparse
from pathlib import Path

from serving import replay
from serving.audit import audited
from serving.compiled_repository import golden_source
from serving.live_server import RunningServer, rolled_out, running_or_own_server
from serving.publication import DEFAULT_REPOSITORY, Published, Registry, promote_version, publishing_lock, read_published
from serving.trial import Canary, CanaryResult, refuse_failed, run_canary
from train import bundle, errors
from train.errors import PublishingError


def main() -> int:
    arguments = _parse()
    registry = Registry(arguments.repository)
    with audited(registry, "promote") as entry, publishing_lock(registry):
        before = read_published(registry)
        number = _version_to_promote(before, arguments.version, registry)
        entry |= {"version": number, "instead_of": before.active}
        with running_or_own_server(registry) as server:
            entry["server"] = server.http
            print(f"canary      version {number} beside version {before.active} on {server.http}", flush=True)
            results = _run_canaries(server, registry, before, number, arguments)
            entry["trials"] = [result.to_json() for result in results]
            _show_canaries(results)
            refuse_failed(results, before.active, str(registry.repository))
            with rolled_out(server, registry, before.models, before.active, number):
                promote_version(registry, number)
    print(f"promoted    version {number}; back to version {before.active}: {registry.command('rollback')}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--repository", type=Path, default=DEFAULT_REPOSITORY, help="where it was published; default: %(default)s")
    parser.add_argument("--version", type=int, help="default: the newest, unless it was rolled back")
    parser.add_argument(
        "--p99-limit", type=float, default=1.25, help="times the served version's p99; refused when beyond it for certain"
    )
    parser.add_argument("--pairs", type=int, default=300, help="questions to both versions of each model, to compare p99 on")
    return parser.parse_args()


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
    source = golden_source(version)
    golden = bundle.load_golden(source)
    canary = Canary(registry, number, source, golden, version.variants)
    results = []
    for model in before.models:
        rows = f"{len(golden.texts)} golden rows over HTTP and gRPC"
        print(f"            {model}: {rows}, then p99 on {arguments.pairs} pairs", flush=True)
        results.append(run_canary(server, canary, model, arguments.pairs, arguments.p99_limit))
    return results


def _show_canaries(results: list[CanaryResult]) -> None:
    replay.show([check for result in results for check in result.checks])
    for result in results:
        latency = result.latency
        low, high = latency.interval
        print(
            f"{result.model}: p99 {latency.ratio:.2f} times the served version's ({low:.2f} to {high:.2f}), "
            f"another answer to {latency.other_answers} of {latency.pairs} texts"
        )


if __name__ == "__main__":
    errors.run(main)
