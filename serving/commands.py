"""`slipway serve` and `slipway verify`: the embedded Triton on a run's repository, if what it was
compiled from still passes.

serve runs it on loopback until Ctrl-C and restarts what is killed. Its key lies in RUN/serving.json
meanwhile; the log is RUN/triton.log, JSON Lines. verify asks every model for all golden rows and
for probe rows over HTTP and gRPC, compares every output, judges the logits as offline, and writes
RUN/served.json. Of a server that runs already, in a container or a cluster, it asks the model by
text at each --address, and writes RUN/endpoint.json.

    slipway serve runs/demo
    slipway serve runs/demo --page                # and a page to try it
    slipway serve --published model_repository    # where promote and rollback switch versions
    slipway verify runs/demo
    slipway verify runs/demo --address grpcs://model.example:443 --authorities ca.pem
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from serving import served_parity
from serving.front import config as front
from serving.front import proxy
from serving.page import web_server
from serving.page.answers import ServedModel
from serving.registry import rollout
from serving.registry.registry import Registry, read_published
from serving.served_parity import AskedModel, ServedCheck
from serving.server import control, passing, supervisor, triton
from serving.server.triton import Server
from slipway import errors, options, provenance
from slipway.client import endpoint
from slipway.client.transport import PROTOCOLS
from slipway.contract import bundle, manifest
from slipway.contract.bundle import Bundle, Reference
from slipway.contract.parity import judgement
from slipway.contract.records import ENDPOINT, HOST, REPOSITORIES, REPOSITORY, SERVED, TEXT_MODEL, Ports

_QUESTION = 40  # characters of the text in the command that the greeting proposes
_DEVELOPMENT = (
    "for one machine and development: this Triton is of October 2024, and one request can end it.\n"
    "           Production wants Triton 26.08 or newer behind a proxy (docs/serving.md)"
)


def serve(arguments: argparse.Namespace) -> int:
    if (arguments.run is None) == (arguments.published is None):
        published = errors.command("serve", "--published", arguments.published or options.REPOSITORY)
        raise errors.UsageError(
            "there is nothing to serve" if arguments.run is None else "there are two things to serve",
            expected="RUN, or --published",
            found="neither" if arguments.run is None else "both",
            where="the command line",
            fix=f"{errors.command('serve', arguments.run or 'RUN')}, or {published}",
        )
    if arguments.page and arguments.published:
        raise errors.UsageError(
            "the page is of a run",
            expected="RUN with --page, or --published without it",
            found="--published and --page",
            where="the command line",
            fix=errors.command("serve", "RUN", "--page"),
        )
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    ports = Ports(arguments.port, arguments.port + 1, arguments.port + 2)
    if arguments.published:
        registry = Registry(arguments.published)
        read_published(registry)
        registry.state.mkdir(parents=True, exist_ok=True)
        limits = _limits(arguments)
        return keep_serving(registry.repository, registry.state, ports, registry, standby=arguments.standby, limits=limits)
    run = passing.check(arguments.run)
    limits = _limits(arguments, run.record)
    page = web_server.running(ServedModel.of(run.source, run.record), ports) if arguments.page else nullcontext("")
    with page as address:
        return keep_serving(
            arguments.run / REPOSITORIES["embedded"],
            arguments.run,
            ports,
            question=_question(run.source),
            page=address,
            limits=limits,
        )


def _limits(arguments: argparse.Namespace, record: Mapping[str, Any] | None = None) -> front.Limits | None:
    """Return the front's limits for the repository of this manifest; None for no front."""
    if arguments.direct:
        return None
    return front.limits(arguments.run, record)


def keep_serving(
    repository: Path,
    state: Path,
    ports: Ports,
    registry: Registry | None = None,
    question: Sequence[str] = ("TEXT",),
    page: str = "",
    standby: bool = True,
    limits: front.Limits | None = None,
) -> int:
    """Serve a repository until Ctrl-C; return 0 if every request in flight was answered, else 1.

    Its files are held against its manifest, and nothing says that its answers are right: that is
    for whoever calls. Log and key lie in `state`. `question` is what `slipway ask` may be given,
    `page` the address of the page to try it, if there is one. With `standby` a registry's version
    before stays loaded. With `limits` the front listens on `ports`, and Triton on others. Raises
    ServerError, ManifestError.
    """
    log, key, inner = state / "triton.log", control.new_key(), ports
    while limits and {*vars(inner).values()} & {*vars(ports).values()}:
        inner = triton.free_ports()

    def start() -> Server:
        if registry:
            rollout.clear_canaries(registry)
        print(f"starting Triton on {repository}", flush=True)
        return triton.start(repository, inner, log, key, registry.canaries if registry else None)

    def greet(server: Server) -> None:
        _greet(replace(server, ports=ports), question, page, limits)

    def tell(message: str) -> None:
        print(message, flush=True)

    triton.check_ports(ports)
    where = {"http": f"{HOST}:{ports.http}", "grpc": f"{HOST}:{ports.grpc}"}
    facts = {"header": control.HEADER, "key": key, "standby": "yes" if standby else "no"}
    facts |= {"inner_http": f"{HOST}:{inner.http}", "inner_grpc": f"{HOST}:{inner.grpc}"}
    with control.record(state, {**where, **facts}), rollout.keeper(registry, tell) if registry else nullcontext():
        log.unlink(missing_ok=True)
        with proxy.running(ports, inner, limits, log, tell) if limits else nullcontext():
            drained = supervisor.keep(start, tell, greet)
    print("stopped" if drained else "stopped; some requests in flight were cut off")
    return 0 if drained else 1


def _question(source: Bundle) -> list[str]:
    """Return the words of `slipway ask` for a golden row of the bundle, or for its beginning."""
    rows = [row if isinstance(row, list) else [row] for row in bundle.load_golden(source).texts]
    spoken = [[" ".join(row)] if source.task == "tagging" else row for row in rows]
    fitting = [row for row in spoken if all(len(text) <= _QUESTION and not text.startswith("-") for text in row)]
    row = max(fitting, key=lambda row: sum(map(len, row)), default=spoken[0])
    first, *second = (textwrap.shorten(text, _QUESTION, placeholder="") or text[:_QUESTION] for text in row)
    return [first, *(word for text in second for word in ("--second", text))]


def _greet(server: Server, question: Sequence[str], page: str, limits: front.Limits | None) -> None:
    port = [] if server.ports.http == Ports.http else ["--port", server.ports.http]
    metrics = f"http://{HOST}:{server.ports.metrics}/metrics"
    print(f"Triton is ready ({server.ready_seconds:.1f} s) on {server.repository}")
    print(f"  HTTP     http://{server.http}    gRPC  {server.grpc}    metrics  {metrics}")
    if limits:
        print(f"  front    {limits.streams} requests at a time over each protocol, {limits.queue} wait; others are to come again")
    print(f"  log      {server.log}")
    print(f"  ask it   {errors.command('ask', *question, *port)}")
    if page:
        print(f"  page     {page}")
    print(f"  only     {_DEVELOPMENT}")
    print("  stop it  Ctrl-C", flush=True)


def verify(arguments: argparse.Namespace) -> int:
    endpoint.refuse_without_address(arguments)
    if arguments.address:
        return _verify_elsewhere(arguments)
    run: Path = arguments.run
    checked = passing.check(run)
    reference, facts, repository = bundle.load_reference(checked.source), checked.record, run / REPOSITORIES["embedded"]
    models = [AskedModel(TEXT_MODEL, facts[TEXT_MODEL], TEXT_MODEL)]
    models += [AskedModel(name, name.removeprefix("bert_"), name) for name in facts["models"]]
    print(f"starting Triton on {repository}", flush=True)
    with triton.running(repository) as server:
        print(f"Triton ready in {server.ready_seconds:.1f} s; {_asking(reference)}", flush=True)
        checks = [
            served_parity.check(server.address(protocol), protocol, model, reference) for protocol in PROTOCOLS for model in models
        ]
    _write(run / SERVED, checks, repository, {"ready_seconds": server.ready_seconds})
    served_parity.show(checks)
    _say_what_is_decided(run, checks, facts)
    return served_parity.exit_status(checks)


def _verify_elsewhere(arguments: argparse.Namespace) -> int:
    """Compare the model by text at each --address with the run's reference."""
    run, places = arguments.run, endpoint.elsewhere(arguments.address, arguments)
    target = arguments.target or _target_of(arguments)
    checked = passing.check(run, target)
    reference, model = bundle.load_reference(checked.source), AskedModel(TEXT_MODEL, checked.record[TEXT_MODEL], TEXT_MODEL)
    checks, servers = [], []
    for place in places:
        print(f"{place.address}: {_asking(reference)}", flush=True)
        servers.append(asdict(endpoint.describe(place)))
        checks.append(served_parity.check(place.host, place.protocol, model, reference, place.options))
    facts = {"addresses": [place.address for place in places], "servers": servers}
    _write(run / ENDPOINT, checks, run / REPOSITORIES[target], facts)
    served_parity.show(checks)
    return served_parity.exit_status(checks)


def _target_of(arguments: argparse.Namespace) -> str:
    """Return the target of the run's repository; of two, if both have the same engine.

    An engine's limits judge its answers, so one must not be held to another's. Raises UsageError.
    """
    run: Path = arguments.run
    engines = {
        target: manifest.read_json(path, errors.command("build", run, "--target", target)).get(TEXT_MODEL)
        for target, directory in REPOSITORIES.items()
        if (path := run / directory / REPOSITORY).is_file()
    }
    if len(set(engines.values())) > 1:
        again = ("verify", run, *(word for address in arguments.address for word in ("--address", address)))
        raise errors.UsageError(
            f"{run} has a repository for each target, and it is not said which one is served there",
            expected="--target, because INT8 has other limits than FP32",
            found=", ".join(f"{target}: {engine}" for target, engine in engines.items()),
            where="the options of slipway verify",
            fix=" or ".join(errors.command(*again, "--target", target) for target in engines),
        )
    return next(iter(engines), "embedded")


def _asking(reference: Reference) -> str:
    return f"asking for {len(reference.golden.texts)} golden rows and for probe rows"


def _write(path: Path, checks: list[ServedCheck], repository: Path, facts: dict[str, Any]) -> None:
    record = {
        "passed": all(check.passed for check in checks),
        "made_at": provenance.now(),
        "repository_sha256": manifest.sha256(repository / REPOSITORY),
        **facts,
        "checks": [check.to_json() for check in checks],
        **provenance.record("tritonclient", "tokenizers", "onnxruntime", "numpy"),
    }
    manifest.write_json(path, record)


def _say_what_is_decided(run: Path, checks: list[ServedCheck], record: dict[str, Any]) -> None:
    """Print the commands that serve what passed alone, where too few rows decide on the rest."""
    undecided = {check.variant for check in checks if check.verdict == judgement.UNDECIDED}
    if not undecided or any(check.verdict == judgement.WORSE for check in checks):
        return
    if decided := {check.variant for check in checks} - undecided:
        built = passing.built_with(run, record)
        engine = built.engine if built.engine in decided else ""
        alone = replace(built, engine=engine, without=tuple(sorted({*built.without, *undecided})))
        print(f"serve {', '.join(sorted(decided))} alone: {alone.command(run)} && {errors.command('verify', run)}")
    print("more test rows with a label, in the files or by --test-share of train, would decide on the others")
