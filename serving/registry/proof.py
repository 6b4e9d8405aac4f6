"""A run's compiled repository, and the proof that its very files gave the reference's answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from serving.registry.registry import Compiled, Origin
from serving.repository import compiler
from serving.server import passing
from slipway import errors
from slipway.contract import artifact, bundle, manifest
from slipway.contract.bundle import Bundle
from slipway.contract.records import REPOSITORIES, REPOSITORY, TEXT_MODEL
from slipway.errors import ManifestError, PublishingError


def proven(run: Path) -> Compiled:
    """Return the run's compiled repository, if it is what its artifacts that passed make.

    It is built again beside it, with the settings it was built with, and the first file that
    differs, is missing or additional is refused by name. So nothing is served that was changed
    after the comparison, whatever its manifest says. Raises ManifestError when files are missing
    or changed, ParityError when the repository is another or was compared on another machine,
    PublishingError when the run is built for NVIDIA's container alone.
    """
    source = bundle.load(run / "bundle")
    directory, containers = run / REPOSITORIES["embedded"], run / REPOSITORIES["ngc"]
    if containers.is_dir() and not directory.exists():
        raise _of_the_container(run, containers)
    record = manifest.read(directory, REPOSITORY, errors.command("build", run))
    verdicts = artifact.verdicts(run, source.sha256)
    settings = passing.built_with(run, record)
    with tempfile.TemporaryDirectory(prefix=".proof-", dir=run) as scratch:  # in the run, for its links
        facts = compiler.write(Path(scratch), source, bundle.load_golden(source), verdicts.passed, settings)
        if changed := _first_difference(Path(scratch), directory):
            name, expected, found = changed
            left_out = [f"{variant} was left out: {why}" for variant, why in verdicts.left_out.items()]
            raise passing.unproven(
                run, f"{name}, as it is built from what passed: {expected}", "; ".join([found, *left_out]), name, settings
            )
    variants = {TEXT_MODEL: facts[TEXT_MODEL], **{model: model.removeprefix("bert_") for model in facts["models"]}}
    origin = Origin(
        run=str(run.resolve()),
        bundle_sha256=source.sha256,
        repository_sha256=manifest.sha256(directory / REPOSITORY),
        artifacts={model.removeprefix("bert_"): sha256 for model, sha256 in facts["models"].items()},
        variants=variants,
        labels=list(source.labels),
    )
    return Compiled(directory, origin)


def _of_the_container(run: Path, directory: Path) -> PublishingError:
    """Return the error for a repository that no registry takes. Its ensemble asks for its models'
    newest versions, and they are switched one after the other: for a while a version's tokenizer
    would feed another's engine, and nobody would notice.
    """
    verify = errors.command("verify", run, "--target", "ngc", "--address", "URL")
    return PublishingError(
        f"{run} is built for NVIDIA's container alone, which is not published",
        expected=f"{directory.with_name(REPOSITORIES['embedded'])}, of the Triton that promote and rollback switch",
        found=f"{directory}: an ensemble, of which a version is an image",
        where=str(run),
        fix=f"{errors.command('build', run)}; or an image of that directory, and before it gets clients {verify}",
    )


def _first_difference(built: Path, compiled: Path) -> tuple[str, str, str] | None:
    """Return the first file that differs, with what was expected and found; None: there is none.

    The manifest comes last: it differs with any other file.
    """
    expected, present = manifest.files(built), manifest.files(compiled)
    for name in sorted(expected.keys() | present.keys(), key=lambda name: (name == REPOSITORY, name)):
        if name not in present or name not in expected:
            return (name, "such a file", "none") if name in expected else (name, "no such file", "one")
        if not present[name].samefile(expected[name]):
            hashes = manifest.sha256(expected[name])[:12], manifest.sha256(present[name])[:12]
            if hashes[0] != hashes[1]:
                return name, f"sha256 {hashes[0]}", f"sha256 {hashes[1]}"
    return None


def golden_source(origin: Origin, publish: str) -> Bundle:
    """Return a version's bundle. A ManifestError names `publish`, which publishes its run again."""
    directory = Path(origin.run) / "bundle"
    source = bundle.load(directory)
    if source.sha256 != origin.bundle_sha256:
        raise ManifestError(
            "the version's run has been trained again",
            expected=f"the bundle {origin.bundle_sha256[:12]}, whose golden rows it was compared on",
            found=f"the bundle {source.sha256[:12]}",
            where=str(directory),
            fix=f"{errors.command('export', origin.run)} && {errors.command('build', origin.run)} && {publish}",
        )
    return source
