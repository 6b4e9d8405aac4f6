"""Compile verified artifacts into a Triton model repository. No server and no GPU is needed.

For the target `embedded`, the Triton of `slipway serve`: `text_classifier` and `bert_<variant>`,
all Python models. For `ngc`, NVIDIA's container: `text_classifier` as an ensemble. What did not
pass parity is left out, and said.

    slipway build runs/demo
    slipway build runs/demo --target ngc
"""

from __future__ import annotations

import argparse

from serving.repository import compiler, embedded
from serving.repository.compiler import BuildSettings
from serving.repository.embedded import Share
from slipway.contract import artifact, bundle, manifest
from slipway.contract.records import REPOSITORIES, TEXT_MODEL
from slipway.errors import UsageError
from slipway.lint import linter


def build(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    source = bundle.load(arguments.run / "bundle")
    verdicts = artifact.verdicts(arguments.run, source.sha256)
    for name, why in verdicts.left_out.items():
        print(f"left out    {name}: {why}")
    target = arguments.run / REPOSITORIES[settings.target]
    with manifest.atomic_directory(target) as building:
        facts = compiler.write(building, source, bundle.load_golden(source), verdicts.passed, settings)
        linter.refuse_errors(building, "a fault of this project: please report it, with the command")
    print(f"repository  {target}: {TEXT_MODEL} (on {facts[TEXT_MODEL]}), " + ", ".join(facts["models"]))
    return 0


def _settings(arguments: argparse.Namespace) -> BuildSettings:
    """Return the settings with the defaults of this machine. Raises UsageError."""
    share, engine = Share(arguments.instances, arguments.threads), arguments.engine or ""
    of_both = arguments.priorities, tuple(arguments.without)
    if arguments.target == "embedded":
        return BuildSettings("embedded", engine, embedded.cores(), share.processes, share.threads_each, *of_both)
    settings = BuildSettings(arguments.target, engine, 0, 0, 0, *of_both)
    if arguments.instances or arguments.threads:
        raise UsageError(
            "--instances and --threads are of the target embedded",
            expected="neither: the container's engine takes the whole machine",
            found=f"--instances {arguments.instances}, --threads {arguments.threads}",
            where="the command line",
            fix=settings.command(arguments.run),
        )
    return settings
