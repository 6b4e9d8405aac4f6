"""The engines that the embedded server can run: on this machine, and in the order of their speed.

The gate measured both: it timed the engine, and recorded what gave the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipway import errors, provenance
from slipway.contract import artifact
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle, Golden
from slipway.errors import ParityError

PROVIDER = "CPUExecutionProvider"  # of ONNX Runtime: the embedded server's
CUDA = "CUDAExecutionProvider"  # the other one: the benchmark's choice if there is a GPU
# An engine that is less exact than another is chosen where it is so many times as fast.
_WORTH_IT = 1.02
_SHARING = 8  # texts that share the fixed cost of a run, as under load


def usable(passed: Sequence[Artifact]) -> list[Artifact]:
    """Return those that can run on PROVIDER, in the given order."""
    return [converted for converted in passed if PROVIDER in converted.variant.providers]


def by_speed(passed: Sequence[Artifact], source: Bundle, golden: Golden) -> list[Artifact]:
    """Return the usable ones, the best choice first.

    That is the fastest; FP32 comes before another precision that is not _WORTH_IT.
    """
    tokens = float(golden.ids.lengths.mean())

    def seconds(converted: Artifact) -> float:
        cost = artifact.verdict(converted, source.sha256)["cost"]
        return seconds_a_text(cost, tokens) * (1 if converted.variant.precision == "fp32" else _WORTH_IT)

    return sorted(usable(passed), key=seconds)


def seconds_a_text(cost: dict[str, float], tokens: float) -> float:
    """Return the seconds for a text of so many tokens, by the `cost` that the gate measured."""
    return cost["fixed"] / _SHARING + cost["per_token"] * tokens


def proven_on(verdict: dict[str, Any]) -> dict[str, Any]:
    """Return what gave an artifact's answers in the gate: ONNX Runtime, and the CPU's class."""
    return _place(verdict["versions"], verdict["machine"])


def compared_on(converted: Artifact, source: Bundle) -> dict[str, Any]:
    """Return where an artifact's answers were compared: `proven_on`, and the provider."""
    verdict = artifact.verdict(converted, source.sha256)
    return {"provider": verdict["compared_on"], **proven_on(verdict)}


def refuse_other_machine(converted: Artifact, source: Bundle) -> None:
    """Raise ParityError if the artifact was not compared on PROVIDER, on such a machine as this.

    Other kernels round otherwise, and other versions of ONNX Runtime fuse otherwise.
    """
    proven = compared_on(converted, source)
    here = {"provider": PROVIDER, **_place(provenance.versions("onnxruntime"), provenance.machine())}
    if proven != here:
        raise ParityError(
            f"the answers of {converted.variant.name} were compared elsewhere than here, where they would be served",
            expected=_described(proven),
            found=_described(here),
            where=str(converted.directory / artifact.PARITY),
            fix=errors.command("export", converted.directory.parents[1], "--compare-only"),
        )


def _place(versions: dict[str, str], machine: dict[str, Any]) -> dict[str, Any]:
    # onnxruntime-gpu is the same library under another name
    runtimes = [version for name, version in versions.items() if name.startswith("onnxruntime")]
    return {"onnxruntime": runtimes[0] if runtimes else "", "cpu_flags": list(machine["cpu_flags"])}


def _described(place: dict[str, Any]) -> str:
    cpu = f"a CPU with {' '.join(place['cpu_flags']) or 'none of the flags'}"
    return f"{place['provider']}, onnxruntime {place['onnxruntime'] or 'none'}, on {cpu}"
