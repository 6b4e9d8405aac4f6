"""Rules on an ensemble's wiring.

Triton orders the steps by their tensors, so their order in the file is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.lint.models import CONFIG, ENSEMBLE, Finding, ModelDirectory, RuleResult, listed, names_of, type_name


@dataclass(frozen=True)
class _End:
    """One end of an ensemble tensor: an input or output of the ensemble or of one of its models."""

    owner: str
    type: str
    dims: tuple[int, ...]
    full_dims: tuple[int, ...]  # with the batch dimension
    most: int  # its max_batch_size


def check_ensemble(model: ModelDirectory, models: Mapping[str, ModelDirectory]) -> Iterator[RuleResult]:
    """Check one model, if it is an ensemble; `models` is the whole repository, by name."""
    declared = model.config.HasField("ensemble_scheduling")
    if declared != (model.config.platform == ENSEMBLE):
        missing = 'platform: "ensemble"' if declared else "ensemble_scheduling"
        yield model.error("ensemble", missing.partition(":")[0], f"{missing} in an ensemble", "none")
    if not declared:
        return
    yield from _forbidden(model)
    if not model.config.ensemble_scheduling.step:
        yield model.error("ensemble", "ensemble_scheduling.step", "at least one step", "none")
    for number, step in enumerate(model.config.ensemble_scheduling.step):
        yield from _step(model, step, f"ensemble_scheduling.step[{number}]", models)
    yield from _tensors_agree(model, models)
    yield from _produced_once(model)
    yield from _order(model)
    yield from _used(model)
    yield from _batches_fit(model, models)
    yield from _decoupled(model, models)


def find_cycles(models: Mapping[str, ModelDirectory]) -> Iterator[Finding]:
    """Report ensembles that run themselves through their steps, at the first name of each cycle."""
    steps = {name: {step.model_name for step in model.config.ensemble_scheduling.step} for name, model in models.items()}
    for name in models:
        if (path := _path_back(name, steps)) and name == min(path):
            at = "ensemble_scheduling.step"
            yield models[name].error("ensemble-cycle", at, "steps that do not lead back here", " → ".join((*path, name)))


def _path_back(start: str, steps: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Return the models on a shortest way from `start` back to it; () if there is none."""
    waiting: list[tuple[str, ...]] = [(start,)]
    seen = set()
    for path in waiting:
        for following in sorted(steps.get(path[-1], ())):
            if following == start:
                return path
            if following not in seen:
                seen.add(following)
                waiting.append((*path, following))
    return ()


def _forbidden(model: ModelDirectory) -> Iterator[Finding]:
    for field in ("instance_group", "model_warmup"):
        if getattr(model.config, field):
            yield model.error("ensemble", field, f"no {field}: an ensemble only passes tensors on", "one")
    if model.config.HasField("optimization"):
        yield model.error("ensemble", "optimization", "no optimization: an ensemble only passes tensors on", "one")


def _step(model: ModelDirectory, step: Any, at: str, models: Mapping[str, ModelDirectory]) -> Iterator[RuleResult]:
    used = models.get(step.model_name)
    if used is None:
        yield model.error("ensemble-model", f"{at}.model_name", f"one of {listed(sorted(models))}", step.model_name or "none")
        return
    if step.model_version != -1 and step.model_version not in used.served:
        expected = f"−1 for the latest version of {used.name}, or one that is served: {listed(used.served)}"
        yield model.error("ensemble-model", f"{at}.model_version", expected, f"{step.model_version}, which none stands for, too")
    if 0 < used.config.max_batch_size < model.config.max_batch_size:
        expected = f"at most {used.config.max_batch_size}, the max_batch_size of {used.name}"
        yield model.error("ensemble-batch", "max_batch_size", expected, str(model.config.max_batch_size))
    for kind, mapped in (("input", step.input_map), ("output", step.output_map)):
        yield from _mapping(model, used, kind, mapped, f"{at}.{kind}_map")


def _mapping(model: ModelDirectory, used: ModelDirectory, kind: str, mapped: Any, at: str) -> Iterator[RuleResult]:
    """Check one of a step's maps, name in the model `used` → tensor of the ensemble."""
    tensors = getattr(used.config, kind)
    if not tensors:
        yield model.unchecked(at, f"{used.name}/{CONFIG} leaves its {kind}s to the backend")
        return
    names = names_of(tensors)
    if unknown := mapped.keys() - names:
        yield model.error("ensemble-mapping", at, f"{kind}s of {used.name}: {listed(names)}", listed(unknown))
    needed = names_of(tensor for tensor in tensors if not tensor.optional) if kind == "input" else set()
    if missing := needed - mapped.keys():
        yield model.error("ensemble-mapping", at, f"every input of {used.name}, also {listed(missing)}", listed(sorted(mapped)))
    if not mapped:
        yield model.error("ensemble-mapping", at, f"at least one {kind} of {used.name}: {listed(names)}", "none")


def _tensors_agree(model: ModelDirectory, models: Mapping[str, ModelDirectory]) -> Iterator[Finding]:
    first: dict[str, _End] = {}
    for tensor, end, at in _ends(model, models):
        other = first.setdefault(tensor, end)
        if end.type != other.type:
            expected = f"TYPE_{other.type}, as {other.owner} has"
            yield model.error("ensemble-dtype", at, expected, f"TYPE_{end.type} of {end.owner}")
        if not (_compatible(end.dims, other.dims) or _compatible(end.full_dims, other.full_dims)):
            expected = f"dims {list(other.full_dims)} with the batch dimension, as {other.owner} has"
            yield model.error("ensemble-dims", at, expected, f"{list(end.full_dims)} of {end.owner}")


def _ends(model: ModelDirectory, models: Mapping[str, ModelDirectory]) -> Iterator[tuple[str, _End, str]]:
    """Yield (ensemble tensor, one end of it, field) for every end that is known.

    The ensemble's own inputs and outputs come first, then its steps.
    """
    for kind in ("input", "output"):
        for tensor in getattr(model.config, kind):
            dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
            yield tensor.name, _end(model, tensor, dims), f"{kind}[{tensor.name}]"
    for number, step in enumerate(model.config.ensemble_scheduling.step):
        if (used := models.get(step.model_name)) is None:
            continue
        for kind, mapped in (("input", step.input_map), ("output", step.output_map)):
            at = f"ensemble_scheduling.step[{number}].{kind}_map"
            for tensor in getattr(used.config, kind):
                if tensor.name in mapped:
                    yield mapped[tensor.name], _end(used, tensor, tensor.dims), f"{at}[{tensor.name}]"


def _end(owner: ModelDirectory, tensor: Any, dims: Any) -> _End:
    batch = (-1,) if owner.config.max_batch_size > 0 else ()
    return _End(
        f"{owner.name}.{tensor.name}", type_name(tensor.data_type), tuple(dims), (*batch, *dims), owner.config.max_batch_size
    )


def _compatible(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    return len(left) == len(right) and all(a == b or -1 in (a, b) for a, b in zip(left, right, strict=True))


def _produced_once(model: ModelDirectory) -> Iterator[Finding]:
    sources = [tensor for step in model.config.ensemble_scheduling.step for tensor in step.output_map.values()]
    sources += [tensor.name for tensor in model.config.input]
    for tensor, times in Counter(sources).items():
        if times > 1:
            expected = "every tensor from one output of one step, or from the request"
            yield model.error("ensemble-twice", "ensemble_scheduling.step", expected, f"{tensor} from {times}")


def _order(model: ModelDirectory) -> Iterator[Finding]:
    """Report steps that can never run: nobody makes their tensor, or only they themselves do."""
    ready_tensors = names_of(model.config.input)
    waiting = dict(enumerate(model.config.ensemble_scheduling.step))
    while ready := [number for number, step in waiting.items() if set(step.input_map.values()) <= ready_tensors]:
        for number in ready:
            ready_tensors |= set(waiting.pop(number).output_map.values())
    later_tensors = {tensor for step in waiting.values() for tensor in step.output_map.values()}
    for number, step in waiting.items():
        lacking = set(step.input_map.values()) - ready_tensors
        at = f"ensemble_scheduling.step[{number}].input_map"
        if never := lacking - later_tensors:
            yield model.error("ensemble-source", at, "tensors of the request or of another step", f"{listed(never)}: from nowhere")
        else:
            expected = f"tensors of the request or of a step that can run before {step.model_name}"
            yield model.error("ensemble-order", at, expected, f"{listed(lacking)}: from steps that wait for each other")


def _used(model: ModelDirectory) -> Iterator[Finding]:
    steps = model.config.ensemble_scheduling.step
    written = {tensor for step in steps for tensor in step.output_map.values()}
    read = {tensor for step in steps for tensor in step.input_map.values()}
    inputs, outputs = names_of(model.config.input), names_of(model.config.output)
    if missing := outputs - written - inputs:
        yield model.error("ensemble-output", "output", f"outputs that a step makes: {listed(written)}", listed(missing))
    if unread := inputs - read:
        yield model.error("ensemble-unused", "input", "inputs that a step reads", listed(unread))
    if unread := written - read - outputs:
        at = "ensemble_scheduling.step"
        yield model.error("ensemble-unused", at, "tensors that a step or the answer needs", listed(unread))


def _batches_fit(model: ModelDirectory, models: Mapping[str, ModelDirectory]) -> Iterator[Finding]:
    """Warn where one side batches and the other does not, and Triton can only join single rows.

    It compares dims without the batch first. Where these agree, a tensor crosses as one row, and a
    larger batch is refused; an ensemble that does not batch gets all its texts into one row.
    """
    ends: dict[str, list[_End]] = {}
    for tensor, end, _ in _ends(model, models):
        ends.setdefault(tensor, []).append(end)
    single: list[str] = []
    whole: list[str] = []
    for first, *others in ends.values():
        for other in others:
            if (first.most > 0) == (other.most > 0):
                continue
            (single if _compatible(first.dims, other.dims) else whole).append(f"{first.owner} and {other.owner}")
    if model.config.max_batch_size > 1 and single:
        expected = "max_batch_size of at most 1, or models that batch: one row at a time gets through"
        yield model.warning(
            "ensemble-batching", "max_batch_size", expected, f"{model.config.max_batch_size}, and of {single[0]} one batches"
        )
    elif model.config.max_batch_size == 0 and single and whole:
        expected = "all tensors with the batch in their dims, or none: what is one row here is several rows there"
        yield model.warning(
            "ensemble-batching", "max_batch_size", expected, f"one row between {single[0]}, several between {whole[0]}"
        )


def _decoupled(model: ModelDirectory, models: Mapping[str, ModelDirectory]) -> Iterator[Finding]:
    """Check that a step's tensors come from the same decoupled model, as Triton's core does."""
    labels: dict[str, int] = dict.fromkeys(names_of(model.config.input), 0)
    waiting, count = list(model.config.ensemble_scheduling.step), 0
    while ready := [step for step in waiting if set(step.input_map.values()) <= labels.keys()]:
        for step in ready:
            waiting.remove(step)
            sources = {labels[tensor] for tensor in step.input_map.values()}
            if len(sources) > 1:
                expected = "inputs that come from one decoupled model, or from none"
                yield model.error("ensemble-decoupled", "ensemble_scheduling.step", expected, f"both in {step.model_name}")
            label = max(sources, default=0)
            if (used := models.get(step.model_name)) and _is_decoupled(used, models):
                label = count = count + 1
            labels |= dict.fromkeys(step.output_map.values(), label)
    if len({labels[output.name] for output in model.config.output if output.name in labels}) > 1:
        expected = "outputs that come from one decoupled model, or from none"
        yield model.error("ensemble-decoupled", "output", expected, listed(sorted(names_of(model.config.output))))
    if count and model.config.response_cache.enable:
        yield model.error("cache", "response_cache.enable", "false, as a step's model is decoupled", "true")


def _is_decoupled(model: ModelDirectory, models: Mapping[str, ModelDirectory], seen: tuple[str, ...] = ()) -> bool:
    """Return whether a model answers a request more or less than once; an ensemble by its steps."""
    steps = {step.model_name for step in model.config.ensemble_scheduling.step} - {*seen, model.name}
    inner = (models[name] for name in steps if name in models)
    return model.config.model_transaction_policy.decoupled or any(
        _is_decoupled(step, models, (*seen, model.name)) for step in inner
    )
