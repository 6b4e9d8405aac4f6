"""What can be wrong in an ensemble's wiring. Triton orders the steps by their tensors, so their order in the file is free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.findings import Finding, Found
from serving.repository_models import CONFIG, ENSEMBLE, Model, listed, type_name


@dataclass(frozen=True)
class _End:
    """One end of an ensemble tensor: an input or output of the ensemble or of one of its models."""

    owner: str
    type: str
    dims: tuple[int, ...]
    full_dims: tuple[int, ...]  # with the batch dimension


def check(model: Model, models: Mapping[str, Model]) -> Iterator[Found]:
    """`models`: the whole repository, by name."""
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


def cycles(models: Mapping[str, Model]) -> Iterator[Finding]:
    """Ensembles that, through their steps, run themselves: reported at the first name of each cycle."""
    steps = {name: {step.model_name for step in one.config.ensemble_scheduling.step} for name, one in models.items()}
    for name in models:
        if (path := _path_back(name, steps)) and name == min(path):
            at = "ensemble_scheduling.step"
            yield models[name].error("ensemble-cycle", at, "steps that do not lead back here", " → ".join((*path, name)))


def _path_back(start: str, steps: Mapping[str, set[str]]) -> tuple[str, ...]:
    """The models on a shortest way from `start` back to it; () where there is none."""
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


def _forbidden(model: Model) -> Iterator[Finding]:
    for field in ("instance_group", "model_warmup"):
        if getattr(model.config, field):
            yield model.error("ensemble", field, f"no {field}: an ensemble only passes tensors on", "one")
    if model.config.HasField("optimization"):
        yield model.error("ensemble", "optimization", "no optimization: an ensemble only passes tensors on", "one")


def _step(model: Model, step: Any, at: str, models: Mapping[str, Model]) -> Iterator[Found]:
    used = models.get(step.model_name)
    if used is None:
        yield model.error("ensemble-model", f"{at}.model_name", f"one of {listed(sorted(models))}", step.model_name or "none")
        return
    if step.model_version > 0 and str(step.model_version) not in {path.name for path in used.versions}:
        expected = f"a version of {used.name}, or −1: {listed([path.name for path in used.versions])}"
        yield model.error("ensemble-model", f"{at}.model_version", expected, str(step.model_version))
    if 0 < used.config.max_batch_size < model.config.max_batch_size:
        expected = f"at most {used.config.max_batch_size}, the max_batch_size of {used.name}"
        yield model.error("ensemble-batch", "max_batch_size", expected, str(model.config.max_batch_size))
    for kind, mapped in (("input", step.input_map), ("output", step.output_map)):
        yield from _mapping(model, used, kind, mapped, f"{at}.{kind}_map")


def _mapping(model: Model, used: Model, kind: str, mapped: Any, at: str) -> Iterator[Found]:
    """`mapped`: name in the model → ensemble tensor."""
    tensors = getattr(used.config, kind)
    if not tensors:
        yield model.unchecked(at, f"{used.name}/{CONFIG} leaves its {kind}s to the backend")
        return
    names = {one.name for one in tensors}
    if unknown := sorted(mapped.keys() - names):
        yield model.error("ensemble-mapping", at, f"{kind}s of {used.name}: {listed(sorted(names))}", listed(unknown))
    needed = {one.name for one in tensors if not one.optional} if kind == "input" else set()
    if missing := sorted(needed - mapped.keys()):
        yield model.error("ensemble-mapping", at, f"every input of {used.name}, also {listed(missing)}", listed(sorted(mapped)))
    if not mapped:
        yield model.error("ensemble-mapping", at, f"at least one {kind} of {used.name}: {listed(sorted(names))}", "none")


def _tensors_agree(model: Model, models: Mapping[str, Model]) -> Iterator[Finding]:
    first: dict[str, _End] = {}
    for tensor, end, at in _ends(model, models):
        other = first.setdefault(tensor, end)
        if end.type != other.type:
            expected = f"TYPE_{other.type}, as {other.owner} has"
            yield model.error("ensemble-dtype", at, expected, f"TYPE_{end.type} of {end.owner}")
        if not (_compatible(end.dims, other.dims) or _compatible(end.full_dims, other.full_dims)):
            expected = f"dims {list(other.full_dims)} with the batch dimension, as {other.owner} has"
            yield model.error("ensemble-dims", at, expected, f"{list(end.full_dims)} of {end.owner}")


def _ends(model: Model, models: Mapping[str, Model]) -> Iterator[tuple[str, _End, str]]:
    """(ensemble tensor, one end of it, field) of every end that is known: the ensemble's own first, then step by step."""
    for kind in ("input", "output"):
        for one in getattr(model.config, kind):
            dims = one.reshape.shape if one.HasField("reshape") else one.dims
            yield one.name, _end(model, one, dims), f"{kind}[{one.name}]"
    for number, step in enumerate(model.config.ensemble_scheduling.step):
        if (used := models.get(step.model_name)) is None:
            continue
        for kind, mapped in (("input", step.input_map), ("output", step.output_map)):
            for one in getattr(used.config, kind):
                if one.name in mapped:
                    yield mapped[one.name], _end(used, one, one.dims), f"ensemble_scheduling.step[{number}].{kind}_map[{one.name}]"


def _end(owner: Model, tensor: Any, dims: Any) -> _End:
    batch = (-1,) if owner.config.max_batch_size > 0 else ()
    return _End(f"{owner.name}.{tensor.name}", type_name(tensor.data_type), tuple(dims), (*batch, *dims))


def _compatible(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    return len(left) == len(right) and all(a == b or -1 in (a, b) for a, b in zip(left, right, strict=True))


def _produced_once(model: Model) -> Iterator[Finding]:
    made = [tensor for step in model.config.ensemble_scheduling.step for tensor in step.output_map.values()]
    made += [one.name for one in model.config.input]
    for tensor, times in Counter(made).items():
        if times > 1:
            expected = "every tensor from one output of one step, or from the request"
            yield model.error("ensemble-twice", "ensemble_scheduling.step", expected, f"{tensor} from {times}")


def _order(model: Model) -> Iterator[Finding]:
    """Steps that can never run, because a tensor is made by nobody, or in the end by themselves."""
    there = {one.name for one in model.config.input}
    waiting = dict(enumerate(model.config.ensemble_scheduling.step))
    while ready := [number for number, step in waiting.items() if set(step.input_map.values()) <= there]:
        for number in ready:
            there |= set(waiting.pop(number).output_map.values())
    made_later = {tensor for step in waiting.values() for tensor in step.output_map.values()}
    for number, step in waiting.items():
        lacking = set(step.input_map.values()) - there
        at = f"ensemble_scheduling.step[{number}].input_map"
        if never := sorted(lacking - made_later):
            yield model.error("ensemble-source", at, "tensors of the request or of another step", f"{listed(never)}: from nowhere")
        else:
            expected = f"tensors of the request or of a step that can run before {step.model_name}"
            yield model.error("ensemble-order", at, expected, f"{listed(sorted(lacking))}: from steps that wait for each other")


def _used(model: Model) -> Iterator[Finding]:
    steps = model.config.ensemble_scheduling.step
    made = {tensor for step in steps for tensor in step.output_map.values()}
    read = {tensor for step in steps for tensor in step.input_map.values()}
    outputs = {one.name for one in model.config.output}
    if missing := sorted(outputs - made):
        yield model.error("ensemble-output", "output", f"outputs that a step makes: {listed(sorted(made))}", listed(missing))
    if unread := sorted({one.name for one in model.config.input} - read):
        yield model.error("ensemble-unused", "input", "inputs that a step reads", listed(unread))
    if unread := sorted(made - read - outputs):
        at = "ensemble_scheduling.step"
        yield model.error("ensemble-unused", at, "tensors that a step or the answer needs", listed(unread))
