"""Measure a server that runs already, in a container or a cluster: closed loops on its model by
text, over the protocol of each address, from this machine.

What only the server's machine could tell is not claimed: its engine alone, its CPU, baselines,
padding, where the latency is spent. Shared memory, and random arrivals beyond its capacity, are not
for a server that others may use. Writes RUN/endpoint_benchmark.json (docs/benchmarks.md).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from serving.benchmark import plan, results, table
from serving.benchmark.journal import LoadRound, only_benchmark
from serving.benchmark.plan import NETWORK, BenchSetting, Planned
from serving.benchmark.record import EndpointRecord, MeasuredAddress, MeasuredModel
from serving.load import interference, perf_analyzer
from serving.load.perf_analyzer import Load, LoadResult
from serving.repository import embedded
from slipway import errors, provenance
from slipway.client import endpoint
from slipway.client.endpoint import Described, Endpoint
from slipway.contract import bundle, manifest
from slipway.contract.bundle import Bundle
from slipway.contract.records import ENDPOINT, ENDPOINT_BENCHMARK, REPOSITORIES, REPOSITORY, TEXT_MODEL
from slipway.errors import ServerError, UsageError

_SCHEMA = 1
_WARM_WINDOWS = (plan.WARM_MS, 10 * plan.WARM_MS, 50 * plan.WARM_MS)  # ms
_MOST_TRIES = 3  # of a load that failed or was disturbed


@dataclass
class _Bench:
    """What all loads are measured with, and what they gave; keyed by protocol or a load's id."""

    setting: BenchSetting
    places: dict[str, Endpoint]
    here: dict[str, bool]  # the server is on this machine: others' share of it is not judged
    inputs: Sequence[Path]  # perf_analyzer's, of each round
    paces: dict[str, float] = field(default_factory=dict)  # texts/s of plan.WARM_CLIENTS
    lost: dict[str, LoadResult] = field(default_factory=dict)  # the load after which it was asked no more
    measured: dict[str, list[LoadRound]] = field(default_factory=dict)
    client_shares: dict[str, list[float]] = field(default_factory=dict)

    @property
    def planned(self) -> list[Planned]:
        """Every load once."""
        clients = self.setting.concurrency
        return [Planned(TEXT_MODEL, "text", protocol, NETWORK, "own", number) for protocol in self.places for number in clients]


def measure(arguments: argparse.Namespace, setting: BenchSetting) -> int:
    """Measure the server at arguments.address. Return 1 if a load FAILED, and not for want of room
    in the server. Raises UsageError; ServerError for a server that does not answer, or is no server
    of RUN's model.
    """
    started, run, places = time.monotonic(), arguments.run, _places(arguments)
    source = bundle.load(run / "bundle")
    addresses = tuple(_measured_address(place, source) for place in places.values())
    _greet(addresses, arguments)
    with only_benchmark(run), tempfile.TemporaryDirectory(prefix=".bench-", dir=run) as scratch:
        golden = bundle.load_golden(source)
        inputs = perf_analyzer.write_inputs(Path(scratch), source, golden, setting.texts, set(), setting.rounds)
        here = {protocol: address.on_this_machine for protocol, address in zip(places, addresses, strict=True)}
        bench = _Bench(setting, places, here, inputs["text", "own"])
        _measure_rounds(bench)
        record = _record(arguments, bench, source, addresses, time.monotonic() - started)
        manifest.write_json(run / ENDPOINT_BENCHMARK, record.to_json())
    table.show_endpoint(record)
    return int(any(row.status == "FAILED" and not row.rejected for row in record.rows))


def _places(arguments: argparse.Namespace) -> dict[str, Endpoint]:
    """Return protocol → where it is asked. Raises UsageError, ServerError."""
    if arguments.headers:
        raise UsageError(
            "perf_analyzer takes headers on its command line alone, where ps shows them",
            expected="--header NAME:VALUE, if this machine's other users may see the value",
            found="a file of headers, which stand for what ps must not show",
            where="the option --headers",
            fix=_command("bench", arguments, "--header", "NAME:VALUE"),
        )
    if arguments.subjects:
        raise UsageError(
            "of a server elsewhere, its model by text is measured",
            expected="--address or --subjects",
            found="both",
            where="the command line",
            fix=_command("bench", arguments),
        )
    places = endpoint.elsewhere(arguments.address, arguments)
    by_protocol = {place.protocol: place for place in places}
    if len(by_protocol) < len(places):
        raise UsageError(
            "two addresses have one protocol",
            expected="one address for HTTP and one for gRPC, of one server",
            found=", ".join(place.address for place in places),
            where="the option --address",
            fix=errors.command("bench", arguments.run, "--address", arguments.address[0]),
        )
    return by_protocol


def _command(name: str, arguments: argparse.Namespace, *more: object) -> str:
    """Return the `slipway` command for the same addresses; a header without its value."""
    words: list[object] = [word for address in arguments.address for word in ("--address", address)]
    words += ["--tls"] if arguments.tls else []
    words += [
        word for name in ("authorities", "certificate", "key") if (file := vars(arguments)[name]) for word in (f"--{name}", file)
    ]
    words += [word for header in arguments.header for word in ("--header", f"{header.partition(':')[0]}:VALUE")]
    return errors.command(name, arguments.run, *words, *more)


def _measured_address(place: Endpoint, source: Bundle) -> MeasuredAddress:
    """Ask the server what it is. Raises ServerError where its model takes other inputs."""
    described, run = endpoint.describe(place), source.directory.parent
    expected = [tensor.name for tensor in embedded.text_inputs(source)]
    if sorted(described.inputs) != sorted(expected):
        raise ServerError(
            f"the server's {TEXT_MODEL} is not of this run's task",
            expected=f"the inputs {', '.join(expected)} ({source.task})",
            found=", ".join(described.inputs) or "none",
            where=place.address,
            fix=f"name the run that is served there: {errors.command('bench', 'RUN', '--address', place.address)}",
        )
    why_not = _why_not_verified(run, place.address, described)
    return MeasuredAddress(
        **asdict(described),
        address=place.address,
        tls=place.options.tls is not None,
        headers=tuple(place.options.headers),
        on_this_machine=_is_here(place.host),
        verified=not why_not,
        why_not=why_not,
    )


def _why_not_verified(run: Path, address: str, described: Described) -> str:
    """Return why RUN/endpoint.json does not say that the answers at this address are RUN's; "": it
    does.
    """
    path = run / ENDPOINT
    if not path.is_file():
        return f"{path} is not there"
    try:
        record = json.loads(path.read_text("utf-8"))
        checks: dict[str, Any] = dict(zip(record["addresses"], record["checks"], strict=True))
        servers = dict(zip(record["addresses"], record.get("servers", ()), strict=False))
        passed, of = {place: check["passed"] for place, check in checks.items()}, record["repository_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        return f"{path} cannot be read: {error!r}"
    if address not in passed:
        return f"{path} is of {', '.join(passed)}"
    if not passed[address]:
        return f"{path} says that its answers did not pass"
    repositories = [run / directory / REPOSITORY for directory in REPOSITORIES.values()]
    if of not in [manifest.sha256(path) for path in repositories if path.is_file()]:
        return f"{path} is of a repository that was built anew since"
    if servers.get(address) != json.loads(json.dumps(asdict(described))):
        return f"{path} does not say that the server and version which answer now are those that passed"
    return ""


def _is_here(host: str) -> bool:
    """Return whether the address is this machine's own, so that a socket can be bound to it."""
    try:
        places = socket.getaddrinfo(urlsplit(f"//{host}").hostname, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_can_bind(family, address) for family, *_, address in places)


def _can_bind(family: socket.AddressFamily, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind(address)
        except OSError:
            return False
    return True


def _greet(addresses: Sequence[MeasuredAddress], arguments: argparse.Namespace) -> None:
    for address in addresses:
        versions = ", ".join(address.model_versions) or "unnamed"
        server = f"{address.server or 'unnamed'} {address.server_version}".strip()
        print(f"server      {address.address}: {server}, {TEXT_MODEL} version {versions}")
    for address in addresses:
        if not address.verified:
            print(f"warning     {address.address} is not shown to answer as {arguments.run}: {address.why_not}")
    if not all(address.verified for address in addresses):
        print(f"            {_command('verify', arguments)}", flush=True)


def _measure_rounds(bench: _Bench) -> None:
    for protocol in bench.places:
        _warm_up(bench, protocol)
    seconds = sum(
        plan.load_seconds(_load(bench, planned).window_ms) for planned in bench.planned if planned.protocol in bench.paces
    )
    rounds, setting = bench.setting.rounds, bench.setting.name
    print(f"benchmark   {setting}: {rounds} rounds of {len(bench.planned)} loads, about {rounds * seconds:.0f} s", flush=True)
    for number in range(rounds):
        for planned in plan.order(bench.planned, number):
            bench.measured.setdefault(planned.id, []).append(_measure_load(bench, planned, number))
        print(f"            round {number + 1} of {rounds}", flush=True)


def _warm_up(bench: _Bench, protocol: str) -> None:
    """Send the first requests, not counted, and note their pace. perf_analyzer gives up on windows
    without an answer, so a slow server is given longer ones.
    """
    load = _load(bench, Planned(TEXT_MODEL, "text", protocol, NETWORK, "own", plan.WARM_CLIENTS))
    for window in _WARM_WINDOWS:
        result = perf_analyzer.run(replace(load, window_ms=window), bench.inputs[0])
        if not result.failure:
            bench.paces[protocol] = result.throughput
            return
        if _why_gone(bench.places[protocol], result):
            break
    print(f"            {bench.places[protocol].address}, warming up: {result.failure}", flush=True)
    bench.lost[protocol] = result


def _load(bench: _Bench, planned: Planned) -> Load:
    place, window = bench.places[planned.protocol], plan.window(bench.setting, planned, bench.paces.get(planned.protocol))
    return Load(TEXT_MODEL, planned.protocol, place.host, planned.concurrency or 0, window, connection=place.options)


def _measure_load(bench: _Bench, planned: Planned, number: int) -> LoadRound:
    """Return one round of a load: the first try that ended well and undisturbed, or the last.

    A server that has gone is asked no more: each load would wait for it as long as it can.
    """
    if planned.protocol in bench.lost:
        return LoadRound(result=bench.lost[planned.protocol])
    for tries in range(1, _MOST_TRIES + 1):
        measured = replace(_try_load(bench, planned, bench.inputs[number]), tries=tries)
        if measured.result.failure:
            print(f"            {planned.id}: {measured.result.failure}", flush=True)
            if gone := _why_gone(bench.places[planned.protocol], measured.result):
                bench.lost[planned.protocol] = replace(measured.result, failure=gone)
                break
            if measured.result.rejected:  # as it would be again
                break
        elif not _disturbed(bench, planned.protocol, [measured])[0]:
            break
    return measured


def _why_gone(place: Endpoint, failed: LoadResult) -> str:
    """Return why the server is asked no more after a failed load; "": it is."""
    if failed.exit_status is None:
        return f"not measured after an earlier load: {failed.failure}"
    try:
        endpoint.describe(place)
    except ServerError as error:
        return f"not measured, the server had gone: {error.found}"
    return ""


def _try_load(bench: _Bench, planned: Planned, inputs: Path) -> LoadRound:
    before = interference.look(())
    result = perf_analyzer.run(_load(bench, planned), inputs)
    after = interference.look(())
    cores = (after.at - before.at) * len(os.sched_getaffinity(0))
    bench.client_shares.setdefault(planned.id, []).append((after.ours - before.ours) / cores)
    return LoadRound(**vars(interference.between(before, after)), result=result)


def _disturbed(bench: _Bench, protocol: str, rounds: Sequence[LoadRound]) -> list[list[str]]:
    """Return why each round does not count, though it ended well."""
    judged = [replace(measured, others_share=0.0) for measured in rounds] if bench.here[protocol] else rounds
    return interference.disturbed(judged)


def _record(
    arguments: argparse.Namespace, bench: _Bench, source: Bundle, addresses: tuple[MeasuredAddress, ...], seconds: float
) -> EndpointRecord:
    loads = [
        results.counted(planned, rounds, _disturbed(bench, planned.protocol, rounds))
        for planned in bench.planned
        for rounds in [bench.measured[planned.id]]
    ]
    rows = tuple(results.result_row(load, results.capacity(loads, TEXT_MODEL)) for load in loads)
    subjects: Mapping[str, MeasuredModel] = {TEXT_MODEL: MeasuredModel(TEXT_MODEL, "text", None, False, "")}
    setting, slo = bench.setting, (arguments.p99_ms, arguments.price_per_hour, arguments.currency)
    return EndpointRecord(
        schema=_SCHEMA,
        setting=setting.name,
        rounds=setting.rounds,
        texts=setting.texts,
        window_ms=setting.window_ms,
        bundle_sha256=source.sha256,
        model=TEXT_MODEL,
        addresses=addresses,
        rows=rows,
        client_share={name: float(np.median(shares)) for name, shares in bench.client_shares.items()},
        comparisons=tuple(results.compare_loads(loads)),
        choice=results.choose_row(rows, subjects, {}, *slo),
        seconds=seconds,
        made_at=provenance.now(),
        **provenance.record("tritonclient", "tokenizers", "numpy"),
    )
