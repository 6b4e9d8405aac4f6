"""Rules on the dynamic batcher: sizes, priorities, queues, ragged inputs, the cache beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from slipway.lint.models import Finding, ModelDirectory, listed, names_of, type_name

CONCATENATES = ("onnxruntime", "pytorch", "tensorflow", "tensorrt")  # a ragged input reaches the model as one long row
LONG_DELAY = 1_000_000  # µs


def check_batching(model: ModelDirectory) -> Iterator[Finding]:
    config = model.config
    if config.max_batch_size < 0:
        yield model.error("max-batch-size", "max_batch_size", "0, or the largest batch", str(config.max_batch_size))
    if config.HasField("dynamic_batching"):
        yield from _dynamic(model)
        yield from _priorities(model, config.dynamic_batching)
        yield from _ordered(model, config.dynamic_batching)
    yield from _ragged(model)
    yield from _batch_inputs(model)
    if config.response_cache.enable and config.HasField("sequence_batching"):
        yield model.error("cache", "response_cache.enable", "false beside sequence_batching", "true")
    if config.response_cache.enable and config.model_transaction_policy.decoupled:
        yield model.error("cache", "response_cache.enable", "false, as the model is decoupled", "true")


def _dynamic(model: ModelDirectory) -> Iterator[Finding]:
    batcher, most = model.config.dynamic_batching, model.config.max_batch_size
    if most == 0:
        expected = "a max_batch_size of at least 1 beside dynamic_batching, which has nothing to batch otherwise"
        yield model.warning("dynamic-batching", "dynamic_batching", expected, "max_batch_size 0")
    yield from check_preferred(model, "dynamic_batching", batcher.preferred_batch_size)
    if batcher.max_queue_delay_microseconds >= LONG_DELAY:
        expected = f"less than {LONG_DELAY} µs: a request that fills no batch waits that long"
        at = "dynamic_batching.max_queue_delay_microseconds"
        yield model.warning("queue-delay", at, expected, str(batcher.max_queue_delay_microseconds))


def check_preferred(model: ModelDirectory, at: str, sizes: Any) -> Iterator[Finding]:
    """Check preferred_batch_size of either batcher."""
    wrong = [size for size in sizes if not 1 <= size <= model.config.max_batch_size]
    if wrong:
        expected = f"sizes from 1 to max_batch_size, {model.config.max_batch_size}"
        yield model.error("preferred-batch-size", f"{at}.preferred_batch_size", expected, listed(wrong))


def _priorities(model: ModelDirectory, batcher: Any) -> Iterator[Finding]:
    levels, default = batcher.priority_levels, batcher.default_priority_level
    if levels and not 1 <= default <= levels:
        expected = f"1 to {levels}, the number of priority_levels"
        yield model.error("priority", "dynamic_batching.default_priority_level", expected, str(default))
    keys = sorted(batcher.priority_queue_policy)
    at = "dynamic_batching.priority_queue_policy"
    if levels and (wrong := [key for key in keys if not 1 <= key <= levels]):
        yield model.error("queue-policy", at, f"keys from 1 to {levels}, the number of priority_levels", listed(wrong))
    elif keys and not levels:
        yield model.warning("queue-policy", at, "priority_levels, without which Triton reads none of these policies", "none")


def _ordered(model: ModelDirectory, batcher: Any) -> Iterator[Finding]:
    """Check preserve_ordering, which excludes priorities and requests that are put off."""
    if not batcher.preserve_ordering:
        return
    if batcher.priority_levels > 1:
        expected = "at most 1 beside preserve_ordering"
        yield model.error("ordering", "dynamic_batching.priority_levels", expected, str(batcher.priority_levels))
    policies = {"default_queue_policy": batcher.default_queue_policy}
    policies |= {f"priority_queue_policy[{key}]": policy for key, policy in sorted(batcher.priority_queue_policy.items())}
    for name, policy in policies.items():
        if policy.default_timeout_microseconds and policy.timeout_action == pb.ModelQueuePolicy.DELAY:
            yield model.error("ordering", f"dynamic_batching.{name}.timeout_action", "REJECT beside preserve_ordering", "DELAY")


def _ragged(model: ModelDirectory) -> Iterator[Finding]:
    config = model.config
    batches = config.HasField("dynamic_batching") or config.HasField("sequence_batching")
    described = {name for entry in (*config.batch_input, *config.batch_output) for name in entry.source_input}
    ragged = [tensor for tensor in config.input if tensor.allow_ragged_batch]
    for tensor in ragged:
        at = f"input[{tensor.name}].allow_ragged_batch"
        if config.max_batch_size == 0 or not batches:
            expected = "max_batch_size of at least 1 and dynamic_batching, without which requests never share a batch"
            batcher = "a batcher" if batches else "no batcher"
            yield model.warning("ragged", at, expected, f"max_batch_size {config.max_batch_size}, {batcher}")
        if -1 not in tensor.dims:
            expected = "a dimension of −1, without which no two requests differ in shape"
            yield model.warning("ragged", at, expected, f"dims {list(tensor.dims)}")
        # One description may do for several inputs: ids and segment ids have the same length.
        if model.backend in CONCATENATES and not described & names_of(ragged):
            expected = f"a batch_input with source_input {tensor.name}: {model.backend} joins the requests into one row"
            yield model.warning("ragged", at, expected, "nothing tells the model where one request ends and the next begins")


def _batch_inputs(model: ModelDirectory) -> Iterator[Finding]:
    """Check batch inputs and outputs as Triton's ValidateBatchIO does."""
    for number, entry in enumerate(model.config.batch_input):
        at = f"batch_input[{number}]"
        yield from _batch_entry(model, at, entry, pb.BatchInput.Kind.values())
        if not entry.target_name:
            report = model.error if model.backend in CONCATENATES else model.warning
            yield report("batch-input", f"{at}.target_name", "the model's input that is filled", "none")
        if (dtype := type_name(entry.data_type)) not in ("INT32", "FP32"):
            yield model.error("batch-input", f"{at}.data_type", "TYPE_INT32 or TYPE_FP32", f"TYPE_{dtype}")
    outputs = names_of(model.config.output)
    for number, entry in enumerate(model.config.batch_output):
        at = f"batch_output[{number}]"
        yield from _batch_entry(model, at, entry, pb.BatchOutput.Kind.values())
        twice = sorted(name for name, times in Counter(entry.target_name).items() if times > 1)
        if unknown := set(entry.target_name) - outputs:
            yield model.error("batch-input", f"{at}.target_name", f"outputs: {listed(outputs)}", listed(unknown))
        elif twice:
            yield model.error("batch-input", f"{at}.target_name", "each output once", f"{listed(twice)} twice")
        elif not entry.target_name:
            yield model.warning("batch-input", f"{at}.target_name", f"outputs: {listed(outputs)}", "none")


def _batch_entry(model: ModelDirectory, at: str, entry: Any, kinds: list[int]) -> Iterator[Finding]:
    inputs = names_of(model.config.input)
    if entry.kind not in kinds:
        yield model.error("batch-input", f"{at}.kind", "a kind that Triton knows", str(entry.kind))
    if len(entry.source_input) != 1 or not set(entry.source_input) <= inputs:
        yield model.error("batch-input", f"{at}.source_input", f"one of the inputs: {listed(inputs)}", listed(entry.source_input))
