"""The compiler: artifacts that passed, and settings, → a sealed model repository.

It is deterministic: publishing builds a repository again, to see that it is what was compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from serving.repository import embedded, engines, ngc
from serving.repository.embedded import Share
from slipway import errors
from slipway.contract import manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.errors import ParityError


@dataclass(frozen=True)
class BuildSettings:
    """What a repository is built with: with the same artifacts it gives the same bytes."""

    target: str
    engine: str  # the variant wanted behind text_classifier; "": the best
    cores: int  # threads of each bert_<variant>
    instances: int  # processes of text_classifier
    threads: int  # of each
    priorities: int
    without: tuple[str, ...] = ()  # variants that passed and are left out all the same

    def command(self, run: Path) -> str:
        """Return the `slipway` command that builds so."""
        words: list[object] = ["build", run]
        for name, value in asdict(self).items():
            ours = name != "cores" and (name not in ("instances", "threads") or self.target == "embedded")
            values = value if isinstance(value, tuple) else [value] if value and ours else []
            words += [word for each in values for word in (f"--{name}", each)]
        return errors.command(*words)


def write(building: Path, source: Bundle, golden: Golden, passed: Sequence[Artifact], settings: BuildSettings) -> dict[str, Any]:
    """Write the models and the manifest into the empty `building`; return the manifest's facts.

    Raises ParityError when no artifact will do, or they were compared on another machine, and
    ConversionError as ngc.write.
    """
    passed = [converted for converted in passed if converted.variant.name not in settings.without]
    write_models = _embedded if settings.target == "embedded" else _ngc
    chosen, models = write_models(building, passed, source, golden, settings)
    facts = {
        "bundle_sha256": source.sha256,
        TEXT_MODEL: chosen.variant.name,
        "models": {f"bert_{model.variant.name}": model.sha256 for model in models},
        "compared_on": {f"bert_{model.variant.name}": engines.compared_on(model, source) for model in models},
        "built_with": asdict(settings),
    }
    manifest.seal(building, REPOSITORY, facts)
    return facts


_Written = tuple[Artifact, list[Artifact]]  # behind text_classifier, and all


def _embedded(building: Path, passed: Sequence[Artifact], source: Bundle, golden: Golden, settings: BuildSettings) -> _Written:
    usable = engines.usable(passed)
    chosen = _choose(usable, engines.by_speed(usable, source, golden), settings, source)
    for converted in usable:
        embedded.write_ids_model(building, converted, source, golden, settings.cores)
    share = Share(settings.instances, settings.threads)
    embedded.write_text_model(building, chosen, source, golden, share, settings.priorities)
    return chosen, usable


def _ngc(building: Path, passed: Sequence[Artifact], source: Bundle, golden: Golden, settings: BuildSettings) -> _Written:
    usable = {converted.variant.name: converted for converted in passed if converted.variant.name in ngc.ENGINES}
    by_speed = [usable[name] for name in ngc.FASTEST_FIRST if name in usable]
    chosen = _choose(list(usable.values()), by_speed, settings, source)
    ngc.write(building, chosen, source, golden, settings.priorities)
    return chosen, [chosen]


def _choose(usable: list[Artifact], by_speed: list[Artifact], settings: BuildSettings, source: Bundle) -> Artifact:
    """Return the engine that is wanted, or else the first of `by_speed`. Raises ParityError."""
    offered = [converted for converted in usable if converted.variant.name == settings.engine] if settings.engine else by_speed
    if offered:
        return offered[0]
    run, names = source.directory.parent, [converted.variant.name for converted in usable]
    best = f"one that runs on {engines.PROVIDER}" if settings.target == "embedded" else " or ".join(ngc.FASTEST_FIRST)
    left_out = f"; --without left out {', '.join(settings.without)}" if settings.without else ""
    here = f"take one all the same: {replace(settings, engine=names[0]).command(run)}" if names else "another --target"
    raise ParityError(
        f"no engine for {TEXT_MODEL} on the target {settings.target}",
        expected=settings.engine or best,
        found=f"passing artifacts that it can serve: {', '.join(names) or 'none'}{left_out}",
        where=str(run / "artifacts"),
        fix=replace(settings, without=()).command(run) if left_out else f"{errors.command('export', run)}, or {here}",
    )
