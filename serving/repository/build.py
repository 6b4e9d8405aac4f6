"""Compile verified artifacts into a Triton model repository. No server and no GPU is needed.

For the target `embedded`, the Triton of `slipway serve`: `text_classifier` and `bert_<variant>`,
all Python models. For `ngc`, NVIDIA's container: `text_classifier` as an ensemble. An artifact
without a passing parity verdict for exactly its hash is refused.

    slipway build runs/demo
    slipway build runs/demo --target ngc
"""

from __future__ import annotations

import argparse
from pathlib import Path

from serving.repository import embedded, ngc
from serving.repository.embedded import Share
from slipway import errors
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.errors import ParityError, UsageError
from slipway.lint import linter

_DIRECTORIES = {"embedded": "model_repository", "ngc": "model_repository_ngc"}
_FASTEST_FIRST = {"embedded": embedded.FASTEST_FIRST, "ngc": ngc.FASTEST_FIRST}


def build(arguments: argparse.Namespace) -> int:
    if arguments.target == "ngc" and (arguments.instances or arguments.threads):
        engine = ("--engine", arguments.engine) if arguments.engine else ()
        raise UsageError(
            "--instances and --threads are of the target embedded",
            expected="neither: the container's engine takes the whole machine",
            found=f"--instances {arguments.instances}, --threads {arguments.threads}",
            where="the command line",
            fix=errors.command("build", arguments.run, "--target", "ngc", *engine),
        )
    source = bundle.load(arguments.run / "bundle")
    passed = artifact.all_passed(arguments.run, source.sha256)
    target = arguments.run / _DIRECTORIES[arguments.target]
    with manifest.atomic_directory(target) as building:
        write = _embedded if arguments.target == "embedded" else _ngc
        chosen, models = write(building, passed, source, bundle.load_golden(source), arguments)
        facts = {
            "bundle_sha256": source.sha256,
            "target": arguments.target,
            TEXT_MODEL: chosen.variant.name,
            "models": {f"bert_{model.variant.name}": model.sha256 for model in models},
        }
        linter.refuse_errors(building, "a fault of this project: please report it, with the command")
        manifest.seal(building, REPOSITORY, facts)
    print(f"repository  {target}: {TEXT_MODEL} (on {chosen.variant.name}), " + ", ".join(facts["models"]))
    return 0


_Written = tuple[Artifact, list[Artifact]]  # behind text_classifier, and all


def _embedded(building: Path, passed: list[Artifact], source: Bundle, golden: Golden, arguments: argparse.Namespace) -> _Written:
    usable = [converted for converted in passed if embedded.PROVIDER in converted.variant.providers]
    chosen = _choose(usable, arguments)
    for converted in usable:
        embedded.write_ids_model(building, converted, source, golden)
    share = Share(arguments.instances, arguments.threads)
    embedded.write_text_model(building, chosen, source, golden, share, arguments.priorities)
    return chosen, usable


def _ngc(building: Path, passed: list[Artifact], source: Bundle, golden: Golden, arguments: argparse.Namespace) -> _Written:
    chosen = _choose([converted for converted in passed if converted.variant.name in ngc.ENGINES], arguments)
    ngc.write(building, chosen, source, golden, arguments.priorities)
    return chosen, [chosen]


def _choose(passed: list[Artifact], arguments: argparse.Namespace) -> Artifact:
    by_name = {converted.variant.name: converted for converted in passed}
    wanted = (arguments.engine,) if arguments.engine else _FASTEST_FIRST[arguments.target]
    for name in wanted:
        if name in by_name:
            return by_name[name]
    raise ParityError(
        f"no engine for {TEXT_MODEL} on the target {arguments.target}",
        expected=" or ".join(wanted),
        found=f"passing artifacts that it can serve: {', '.join(by_name) or 'none'}",
        where=str(arguments.run / "artifacts"),
        fix=f"{errors.command('export', arguments.run)}, or another --engine or --target",
    )
