"""Compile verified artifacts into a Triton model repository. No server and no GPU is needed.

Reads bundle/ and artifacts/. For the target `embedded`, the Triton of `slipway serve`, writes
model_repository/: `text_classifier` (text → label; tagger: words → a label each) and
`bert_<variant>` (ids → logits), all of them Python models. For `ngc`, NVIDIA's container, writes
model_repository_ngc/: `text_classifier` as an ensemble of a tokenizer, an engine of Triton's own,
and post-processing. An artifact without a passing parity verdict for exactly its hash is refused.

    slipway build runs/demo
    slipway build runs/demo --target ngc
"""

from __future__ import annotations

import argparse
from pathlib import Path

from export import artifact
from export.artifact import Artifact
from serving import embedded_models, flags, ngc_models, repository_rules
from serving.embedded_models import Share
from serving.records import REPOSITORY, TEXT_MODEL
from train import bundle, errors, manifest
from train.bundle import Bundle
from train.errors import ParityError

_DIRECTORIES = {"embedded": "model_repository", "ngc": "model_repository_ngc"}
_FASTEST_FIRST = {"embedded": embedded_models.FASTEST_FIRST, "ngc": ngc_models.FASTEST_FIRST}


def main() -> int:
    arguments = _parse()
    source = bundle.load(arguments.run / "bundle")
    passed = artifact.all_passed(arguments.run, source.sha256)
    target = arguments.run / _DIRECTORIES[arguments.target]
    with manifest.atomic_directory(target) as building:
        write = _embedded if arguments.target == "embedded" else _ngc
        chosen, models = write(building, passed, source, arguments)
        facts = {
            "bundle_sha256": source.sha256,
            "target": arguments.target,
            TEXT_MODEL: chosen.variant.name,
            "models": {f"bert_{model.variant.name}": model.sha256 for model in models},
        }
        repository_rules.refuse_errors(building, "a fault of this project: please report it, with the command")
        manifest.seal(building, REPOSITORY, facts)
    print(f"repository  {target}: {TEXT_MODEL} (on {chosen.variant.name}), " + ", ".join(facts["models"]))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    parser.add_argument("--target", choices=tuple(_DIRECTORIES), default="embedded", help="which Triton is to serve it")
    engines = sorted({*embedded_models.FASTEST_FIRST, *ngc_models.ENGINES})
    parser.add_argument("--engine", choices=engines, help="variant behind text_classifier; default: the fastest that passed")
    parser.add_argument(
        "--instances",
        type=flags.count(1024),
        default=0,
        help="processes of text_classifier; default: one a core, up to 4; `slipway tune` finds them",
    )
    parser.add_argument("--threads", type=flags.count(1024), default=0, help="of each; default: all cores, divided among them")
    parser.add_argument("--priorities", type=flags.count(1024), default=0, help="levels a request may name, 1 first; default: none")
    arguments = parser.parse_args()
    if arguments.target == "ngc" and (arguments.instances or arguments.threads):
        parser.error("--instances, --threads: of the target embedded; the container's engine takes the whole machine")
    return arguments


_Written = tuple[Artifact, list[Artifact]]  # behind text_classifier, and all


def _embedded(building: Path, passed: list[Artifact], source: Bundle, arguments: argparse.Namespace) -> _Written:
    usable = [converted for converted in passed if embedded_models.PROVIDER in converted.variant.providers]
    chosen = _choose(usable, arguments)
    for converted in usable:
        embedded_models.write_ids_model(building, converted, source)
    share = Share(arguments.instances, arguments.threads)
    embedded_models.write_text_model(building, chosen, source, share, arguments.priorities)
    return chosen, usable


def _ngc(building: Path, passed: list[Artifact], source: Bundle, arguments: argparse.Namespace) -> _Written:
    chosen = _choose([converted for converted in passed if converted.variant.name in ngc_models.ENGINES], arguments)
    ngc_models.write(building, chosen, source, arguments.priorities)
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
        fix=errors.command("export", arguments.run),
    )


if __name__ == "__main__":
    errors.run(main)
