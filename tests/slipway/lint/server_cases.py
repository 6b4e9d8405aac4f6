"""Small models that a server takes or refuses, written family by family for test_server_agrees.py.

A case is a model's config.pbtxt and the files beside it. Most use the backend `answering`
(answering.c), which answers every request: then it is Triton's core that takes or refuses them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from onnx import TensorProto, helper

PLAIN_INPUT = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'
PLAIN_OUTPUT = 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }\n'
HEAD = 'backend: "answering"\nmax_batch_size: 8\n'
BASE = HEAD + PLAIN_INPUT + PLAIN_OUTPUT
PYTHON = 'backend: "python"\nmax_batch_size: 8\n' + PLAIN_INPUT + PLAIN_OUTPUT
ONE_VERSION = {"1/model.bin": b"a model"}
MODEL_PY = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
Files = dict[str, bytes]  # path below the model's directory → content; "/" at the end: a directory; "-> x": a link to x


@dataclass(frozen=True)
class Case:
    """A model of the test's repository."""

    name: str
    config: str | bytes | None  # None: no config.pbtxt
    files: Files = field(default_factory=lambda: dict(ONE_VERSION))

    def write(self, repository: Path) -> None:
        for path, content in self.files.items():
            target = repository / self.name / path.removesuffix(" -> ")
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith(" -> "):
                target.symlink_to(content.decode())
            elif path.endswith("/"):
                target.mkdir(exist_ok=True)
            else:
                target.write_bytes(content)
        if self.config is not None:
            (repository / self.name).mkdir(exist_ok=True)
            text = self.config if isinstance(self.config, bytes) else self.config.encode()
            (repository / self.name / "config.pbtxt").write_bytes(text)


def block(name: str, text: str) -> str:
    return f"{name} {{ {text} }}\n"


def write_all(repository: Path) -> list[Case]:
    """Write every case into a repository, and beside the models a file that some of them name."""
    repository.mkdir()
    cases = all_cases()
    for case in cases:
        case.write(repository)
    (repository / "outside").write_bytes(b"a\nb\nc\nd\n" * 2)
    return cases


def all_cases() -> list[Case]:
    families = (
        *(tensors, batching, queues, controls, states, instances, schedulers, warmups),
        *(versions, names, labels, texts, python_models, ensembles, parameters),
    )
    return [case for family in families for case in family()]


def _cases(family: str, configs: dict[str, str]) -> Iterator[Case]:
    for name, config in configs.items():
        yield Case(f"{family}_{name}", config)


def tensors() -> Iterator[Case]:
    """Inputs and outputs: names, types, shapes, reshapes, flags."""
    fields = {
        "plain": 'name: "t" data_type: TYPE_FP32 dims: [ 4 ]',
        "no_name": "data_type: TYPE_FP32 dims: [ 4 ]",
        "no_type": 'name: "t" dims: [ 4 ]',
        "unknown_type": 'name: "t" data_type: 77 dims: [ 4 ]',
        "type_string": 'name: "t" data_type: TYPE_STRING dims: [ 1 ]',
        "type_bf16": 'name: "t" data_type: TYPE_BF16 dims: [ 4 ]',
        "no_dims": 'name: "t" data_type: TYPE_FP32',
        "dim_0": 'name: "t" data_type: TYPE_FP32 dims: [ 0 ]',
        "dim_minus_2": 'name: "t" data_type: TYPE_FP32 dims: [ -2 ]',
        "any_length": 'name: "t" data_type: TYPE_FP32 dims: [ -1 ]',
        "dims_apart": 'name: "t" data_type: TYPE_FP32 dims: 3 dims: 2',
        "reshape": 'name: "t" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 2, 2 ] }',
        "reshape_smaller": 'name: "t" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 2 ] }',
        "reshape_to_nothing": 'name: "t" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] }',
        "reshape_4_to_nothing": 'name: "t" data_type: TYPE_FP32 dims: [ 4 ] reshape { }',
        "reshape_0": 'name: "t" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 0 ] }',
        "reshape_any": 'name: "t" data_type: TYPE_FP32 dims: [ 2, -1, 3 ] reshape { shape: [ 2, -1, 1, 3 ] }',
        "reshape_any_moved": 'name: "t" data_type: TYPE_FP32 dims: [ 2, -1, 3 ] reshape { shape: [ 3, -1, 2 ] }',
        "reshape_any_to_fixed": 'name: "t" data_type: TYPE_FP32 dims: [ -1 ] reshape { shape: [ 4 ] }',
        "reshape_to_more_any": 'name: "t" data_type: TYPE_FP32 dims: [ -1 ] reshape { shape: [ -1, -1 ] }',
        "shape_tensor": 'name: "t" data_type: TYPE_INT32 dims: [ 1 ] is_shape_tensor: true',
        "linear_format": 'name: "t" data_type: TYPE_FP32 dims: [ 3, 2, 2 ] is_non_linear_format_io: true',
    }
    for name, text in fields.items():
        yield Case(f"input_{name}", f"{HEAD}input {{ {text} }}\n{PLAIN_OUTPUT}")
        yield Case(f"output_{name}", f"{HEAD}{PLAIN_INPUT}output {{ {text} }}\n")
    for kind in ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP64"):
        yield Case(f"type_{kind}", f'{HEAD}input {{ name: "t" data_type: TYPE_{kind} dims: [ 4 ] }}\n{PLAIN_OUTPUT}')
    inputs = {
        "nhwc": 'name: "t" data_type: TYPE_FP32 dims: [ 3, 2, 2 ] format: FORMAT_NHWC',
        "nchw_of_two": 'name: "t" data_type: TYPE_FP32 dims: [ 3, 2 ] format: FORMAT_NCHW',
        "unknown_format": 'name: "t" data_type: TYPE_FP32 dims: [ 3, 2 ] format: 9',
        "optional": 'name: "t" data_type: TYPE_FP32 dims: [ 4 ] optional: true',
        "ragged": 'name: "t" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true',
    }
    for name, text in inputs.items():
        yield Case(f"input_{name}", f"{HEAD}input {{ {text} }}\n{PLAIN_OUTPUT}")
    more = {
        "no_inputs": HEAD + PLAIN_OUTPUT,
        "no_outputs": HEAD + PLAIN_INPUT,
        "nothing": HEAD,
        "input_twice": BASE + PLAIN_INPUT,
        "output_twice": BASE + PLAIN_OUTPUT,
        "input_called_as_output": HEAD + PLAIN_INPUT + PLAIN_OUTPUT.replace('"y"', '"x"'),
        "scalar_without_batches": (HEAD + PLAIN_INPUT + PLAIN_OUTPUT)
        .replace("size: 8", "size: 0")
        .replace("dims: [ 4 ]", "dims: [ 1 ] reshape { }", 1),
    }
    yield from _cases("tensors", more)


def batching() -> Iterator[Case]:
    """max_batch_size, dynamic batching, batch inputs and outputs."""
    for size in (-1, 0, 1, 2147483647):
        yield Case(f"batch_size_{size}".replace("-", "minus_"), BASE.replace("size: 8", f"size: {size}"))
    for sizes in ("8", "9", "0", "-3", "4, 8", "4, 16"):
        name = sizes.replace(", ", "_").replace("-", "minus_")
        yield Case(f"preferred_{name}", f"{BASE}dynamic_batching {{ preferred_batch_size: [ {sizes} ] }}\n")
        oldest = f"sequence_batching {{ oldest {{ max_candidate_sequences: 4 preferred_batch_size: [ {sizes} ] }} }}\n"
        yield Case(f"preferred_oldest_{name}", BASE + oldest)
    unbatched = BASE.replace("size: 8", "size: 0")
    element = 'kind: BATCH_ELEMENT_COUNT data_type: TYPE_INT32 source_input: "x" target_name: "n"'
    scatter = 'kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" target_name: "y"'
    for kind in (
        *("ELEMENT_COUNT", "ACCUMULATED_ELEMENT_COUNT", "ACCUMULATED_ELEMENT_COUNT_WITH_ZERO"),
        *("MAX_ELEMENT_COUNT_AS_SHAPE", "ITEM_SHAPE", "ITEM_SHAPE_FLATTEN"),
    ):
        yield Case(f"batch_{kind}", BASE + block("batch_input", element.replace("ELEMENT_COUNT", kind)))
        yield Case(
            f"batch_{kind}_of_two", BASE + block("batch_input", element.replace("ELEMENT_COUNT", kind) + ' source_input: "x"')
        )
    yield from _cases(
        "batching",
        {
            "dynamic_without_batches": unbatched + "dynamic_batching { }\n",
            "preferred_without_batches": unbatched + "dynamic_batching { preferred_batch_size: 1 }\n",
            "delay_5_s": BASE + "dynamic_batching { max_queue_delay_microseconds: 5000000 }\n",
            "no_batcher": BASE,
            "batch_input": BASE + block("batch_input", element),
            "batch_input_of_int64": BASE + block("batch_input", element.replace("INT32", "INT64")),
            "batch_input_of_fp32": BASE + block("batch_input", element.replace("INT32", "FP32")),
            "batch_input_without_type": BASE + block("batch_input", element.replace("data_type: TYPE_INT32", "")),
            "batch_input_without_source": BASE + 'batch_input { data_type: TYPE_INT32 target_name: "n" }\n',
            "batch_input_of_two": BASE + block("batch_input", element + ' source_input: "x"'),
            "batch_input_of_nobody": BASE + block("batch_input", element.replace('"x"', '"z"')),
            "batch_input_without_target": BASE + block("batch_input", element.replace('target_name: "n"', "")),
            "batch_input_of_two_targets": BASE + block("batch_input", element + ' target_name: "m"'),
            "batch_input_unknown_kind": BASE + block("batch_input", element.replace("BATCH_ELEMENT_COUNT", "77")),
            "batch_output": BASE + block("batch_output", scatter),
            "batch_output_twice": BASE + block("batch_output", scatter + ' target_name: "y"'),
            "batch_output_in_two": BASE + block("batch_output", scatter) * 2,
            "batch_output_of_nobody": BASE + block("batch_output", scatter.replace('"y"', '"z"')),
            "batch_output_without_source": BASE + block("batch_output", scatter.replace('source_input: "x"', "")),
            "batch_output_without_target": BASE + block("batch_output", scatter.replace('target_name: "y"', "")),
            "batch_output_of_unknown_source": BASE + block("batch_output", scatter.replace('"x"', '"z"')),
            "batch_output_unknown_kind": BASE + block("batch_output", scatter.replace("BATCH_SCATTER_WITH_INPUT_SHAPE", "7")),
        },
    )


def queues() -> Iterator[Case]:
    """Priorities and queue policies of the dynamic batcher."""
    for levels in (0, 1, 2):
        for default in (0, 1, 3):
            for ordered in (False, True):
                text = f"priority_levels: {levels} default_priority_level: {default} preserve_ordering: {str(ordered).lower()}"
                name = f"priority_{levels}_{default}_{'ordered' if ordered else 'free'}"
                yield Case(name, f"{BASE}dynamic_batching {{ {text} }}\n")
    for levels, key in ((0, 0), (0, 1), (2, 0), (2, 1), (2, 2), (2, 3)):
        policy = f"priority_queue_policy {{ key: {key} value {{ max_queue_size: 4 }} }}"
        text = f"priority_levels: {levels} default_priority_level: 1 {policy}"
        yield Case(f"policy_{levels}_{key}", f"{BASE}dynamic_batching {{ {text} }}\n")
    actions = {
        "delay": "timeout_action: DELAY default_timeout_microseconds: 1000",
        "delay_without_timeout": "timeout_action: DELAY",
        "reject": "timeout_action: REJECT default_timeout_microseconds: 1000",
        "override": "timeout_action: DELAY allow_timeout_override: true",
    }
    for name, text in actions.items():
        for ordered in ("", "preserve_ordering: true"):
            suffix = f"{name}_{'ordered' if ordered else 'free'}"
            yield Case(f"default_{suffix}", f"{BASE}dynamic_batching {{ {ordered} default_queue_policy {{ {text} }} }}\n")
            levels = "priority_levels: 1 default_priority_level: 1"
            policy = f"priority_queue_policy {{ key: 1 value {{ {text} }} }}"
            yield Case(f"level_{suffix}", f"{BASE}dynamic_batching {{ {ordered} {levels} {policy} }}\n")


def controls() -> Iterator[Case]:
    """Control inputs of the sequence batcher."""
    values = {
        "int32": "int32_false_true: [ 0, 1 ]",
        "fp32": "fp32_false_true: [ 0, 1 ]",
        "bool": "bool_false_true: [ false, true ]",
        "none": "",
        "int32_one": "int32_false_true: [ 1 ]",
        "fp32_three": "fp32_false_true: [ 0, 1, 2 ]",
        "bool_one": "bool_false_true: [ true ]",
        "int32_and_fp32": "int32_false_true: [ 0, 1 ] fp32_false_true: [ 0, 1 ]",
        "int32_and_bool": "int32_false_true: [ 0, 1 ] bool_false_true: [ false, true ]",
        "int32_and_type": "int32_false_true: [ 0, 1 ] data_type: TYPE_INT64",
    }
    for kind in ("START", "END", "READY", "CORRID"):
        for name, text in values.items():
            control = f"control {{ kind: CONTROL_SEQUENCE_{kind} {text} }}"
            yield Case(f"control_{kind}_{name}", f'{BASE}sequence_batching {{ control_input {{ name: "c" {control} }} }}\n')
    for kind in ("INT32", "INT64", "UINT32", "UINT64", "STRING", "FP32", "BOOL", "INT16"):
        control = f"control {{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_{kind} }}"
        yield Case(f"corrid_{kind}", f'{BASE}sequence_batching {{ control_input {{ name: "c" {control} }} }}\n')
    start = "control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] }"
    ready = start.replace("START", "READY")
    many = {
        "no_name": f"control_input {{ {start} }}",
        "none": "",
        "without_control": 'control_input { name: "c" }',
        "same_name_twice": f'control_input {{ name: "c" {start} }} control_input {{ name: "c" {ready} }}',
        "two_in_one": f'control_input {{ name: "c" {start} {ready} }}',
        "same_kind_twice": f'control_input {{ name: "c" {start} }} control_input {{ name: "d" {start} }}',
        "same_kind_in_one": f'control_input {{ name: "c" {start} {start} }}',
        "two": f'control_input {{ name: "c" {start} }} control_input {{ name: "d" {ready} }}',
        "unknown_kind": 'control_input { name: "c" control { kind: 77 } }',
        "called_as_the_input": f'control_input {{ name: "x" {start} }}',
    }
    yield from _cases("controls", {name: f"{BASE}sequence_batching {{ {text} }}\n" for name, text in many.items()})


def states() -> Iterator[Case]:
    """Implicit states and their first values."""
    state = 'input_name: "in" output_name: "out" data_type: TYPE_FP32 dims: [ 2, -1 ]'
    first = {
        "none": "",
        "zeros": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2, 3 ] zero_data: true }',
        "without_data": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2, 3 ] }',
        "without_name": "initial_state { data_type: TYPE_FP32 dims: [ 2, 3 ] zero_data: true }",
        "of_another_type": 'initial_state { name: "i" data_type: TYPE_INT32 dims: [ 2, 3 ] zero_data: true }',
        "of_fewer_dims": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2 ] zero_data: true }',
        "of_any_length": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2, -1 ] zero_data: true }',
        "of_another_size": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 3, 3 ] zero_data: true }',
        "from_a_file": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2, 3 ] data_file: "zeros" }',
        "from_a_file_after_a_slash": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2, 3 ] data_file: "/zeros" }',
        "from_a_short_file": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2, 3 ] data_file: "short" }',
        "from_no_file": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2, 3 ] data_file: "missing" }',
        "from_outside": 'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2, 3 ] data_file: "../../zeros" }',
    }
    files = {**ONE_VERSION, "initial_state/zeros": bytes(24), "initial_state/short": bytes(23)}
    for name, text in first.items():
        yield Case(f"state_{name}", f"{BASE}sequence_batching {{ state {{ {state} {text} }} }}\n", files)
    zeros = first["zeros"]
    more = {
        "first_twice": f"state {{ {state} {zeros} {zeros} }}",
        "input_twice": f"state {{ {state} {zeros} }} state {{ {state} {zeros} }}",
        "input_twice_without_first": f"state {{ {state} }} state {{ {state} }}",
        "without_dims": 'state { input_name: "in" output_name: "out" data_type: TYPE_FP32 }',
        "without_type": 'state { input_name: "in" output_name: "out" dims: 1 }',
        "without_names": "state { data_type: TYPE_FP32 dims: 1 }",
    }
    yield from _cases("states", {name: f"{BASE}sequence_batching {{ {text} }}\n" for name, text in more.items()})


def instances() -> Iterator[Case]:
    """Instance groups, on a machine without a GPU."""
    groups = {
        "cpu": "kind: KIND_CPU",
        "cpu_two": "kind: KIND_CPU count: 2",
        "auto": "count: 1",
        "model": "kind: KIND_MODEL",
        "count_0": "kind: KIND_CPU count: 0",
        "count_minus_2": "kind: KIND_CPU count: -2",
        "cpu_with_gpu": "kind: KIND_CPU gpus: [ 0 ]",
        "model_with_gpu": "kind: KIND_MODEL gpus: [ 0 ]",
        "auto_with_gpu": "gpus: [ 0 ]",
        "gpu": "kind: KIND_GPU",
        "gpu_7": "kind: KIND_GPU gpus: [ 7 ]",
        "gpu_minus_1": "kind: KIND_GPU gpus: [ -1 ]",
        "auto_with_minus_1": "gpus: [ -1 ]",
        "profile": 'kind: KIND_CPU profile: "0"',
        "passive": "kind: KIND_CPU passive: true",
        "named": 'name: "first" kind: KIND_CPU',
        "unknown_kind": "kind: 77",
        "unknown_host_policy": 'kind: KIND_CPU host_policy: "nobody"',
        "secondary": "kind: KIND_CPU secondary_devices { kind: KIND_NVDLA device_id: 0 }",
        "rate_limiter": 'kind: KIND_CPU rate_limiter { resources { name: "r" count: 4 } priority: 2 }',
        "rate_limiter_without_name": "kind: KIND_CPU rate_limiter { resources { count: 4 } }",
    }
    yield from _cases("instance", {name: f"{BASE}instance_group [ {{ {text} }} ]\n" for name, text in groups.items()})
    yield Case("instance_two_groups", BASE + "instance_group [ { kind: KIND_CPU }, { kind: KIND_CPU } ]\n")
    yield Case("instance_two_of_a_name", BASE + 'instance_group [ { name: "a" kind: KIND_CPU }, { name: "a" kind: KIND_CPU } ]\n')
    plan = BASE.replace('backend: "answering"', 'backend: "tensorrt"')
    for profile in ("0", "-1", "one", "1x", ""):
        name = {"-1": "minus_1", "": "empty"}.get(profile, profile)
        yield Case(
            f"profile_{name}", f'{plan}instance_group [ {{ kind: KIND_CPU profile: "{profile}" }} ]\n', {"1/model.plan": b"p"}
        )
    yield Case(
        "shape_tensor_of_a_plan",
        plan.replace("dims: [ 4 ] }", "dims: [ 4 ] is_shape_tensor: true }", 1),
        {"1/model.plan": b"p"},
    )


def schedulers() -> Iterator[Case]:
    """Settings that belong together or exclude each other."""
    start = 'control_input { name: "c" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }'
    sequences = f"sequence_batching {{ {start} }}\n"
    yield from _cases(
        "scheduler",
        {
            "cache": BASE + "response_cache { enable: true }\n",
            "cache_and_sequences": BASE + sequences + "response_cache { enable: true }\n",
            "cache_off_and_sequences": BASE + sequences + "response_cache { enable: false }\n",
            "cache_and_decoupled": BASE + "response_cache { enable: true }\nmodel_transaction_policy { decoupled: true }\n",
            "cache_and_batching": BASE + "response_cache { enable: true }\ndynamic_batching { }\n",
            "decoupled": BASE + "model_transaction_policy { decoupled: true }\n",
            "decoupled_and_batching": BASE + "model_transaction_policy { decoupled: true }\ndynamic_batching { }\n",
            "decoupled_sequences": BASE + sequences + "model_transaction_policy { decoupled: true }\n",
            "two_schedulers": BASE + sequences + "dynamic_batching { }\n",
            "oldest": BASE + f"sequence_batching {{ {start} oldest {{ max_candidate_sequences: 4 }} }}\n",
            "oldest_of_0": BASE + f"sequence_batching {{ {start} oldest {{ }} }}\n",
            "oldest_of_minus_1": BASE + f"sequence_batching {{ {start} oldest {{ max_candidate_sequences: -1 }} }}\n",
            "oldest_and_direct": BASE + "sequence_batching { direct { } oldest { max_candidate_sequences: 4 } }\n",
            "iterative": BASE + "sequence_batching { iterative_sequence: true }\n",
            "sequences_without_batches": BASE.replace("size: 8", "size: 0") + sequences,
            "idle": BASE + "sequence_batching { max_sequence_idle_microseconds: 5000000 }\n",
        },
    )
    for share in ("-0.1", "0", "0.5", "1", "1.5", "2.0"):
        name = share.replace("-", "minus_").replace(".", "_")
        yield Case(f"slots_{name}", f"{BASE}sequence_batching {{ direct {{ minimum_slot_utilization: {share} }} }}\n")


def warmups() -> Iterator[Case]:
    """Samples for the first requests."""
    base = BASE.replace("dims: [ 4 ]", "dims: [ -1 ]", 1) + 'input { name: "s" data_type: TYPE_STRING dims: [ 2 ] }\n'
    right = 'inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3 ] zero_data: true } }'
    strings = 'inputs { key: "s" value { data_type: TYPE_STRING dims: [ 2 ] random_data: true } }'
    control = 'inputs { key: "c" value { data_type: TYPE_INT32 dims: 1 zero_data: true } }'
    outside = 'inputs { key: "s" value { data_type: TYPE_STRING dims: 2 input_data_file: "%s" } }'

    def from_file(name: str) -> str:
        return right.replace("zero_data: true", f'input_data_file: "{name}"')

    samples = {
        "right": f"batch_size: 1 {right} {strings}",
        "no_name": f"batch_size: 1 {right} {strings}",
        "batch_0": f"batch_size: 0 {right} {strings}",
        "batch_0_and_wrong": "batch_size: 0",
        "batch_8": f"batch_size: 8 {right} {strings}",
        "batch_9": f"batch_size: 9 {right} {strings}",
        "count_3": f"batch_size: 1 count: 3 {right} {strings}",
        "nothing": "batch_size: 1",
        "one_input": f"batch_size: 1 {right}",
        "unknown_input": f"batch_size: 1 {right} {strings} " + right.replace('"x"', '"z"'),
        "other_type": f"batch_size: 1 {right.replace('FP32', 'INT32')} {strings}",
        "other_rank": f"batch_size: 1 {right.replace('[ 3 ]', '[ 3, 1 ]')} {strings}",
        "other_size": f"batch_size: 1 {right} {strings.replace('[ 2 ]', '[ 3 ]')}",
        "any_length": f"batch_size: 1 {right.replace('[ 3 ]', '[ -1 ]')} {strings}",
        "minus_2": f"batch_size: 1 {right.replace('[ 3 ]', '[ -2 ]')} {strings}",
        "length_0": f"batch_size: 1 {right.replace('[ 3 ]', '[ 0 ]')} {strings}",
        "no_dims": f"batch_size: 1 {right.replace('dims: [ 3 ]', '')} {strings}",
        "no_data": f"batch_size: 1 {right.replace('zero_data: true', '')} {strings}",
        "zero_data_false": f"batch_size: 1 {right.replace('true', 'false')} {strings}",
        "no_type": f"batch_size: 1 {right.replace('data_type: TYPE_FP32', '')} {strings}",
        "file": f"batch_size: 1 {from_file('floats')} {strings}",
        "long_file": f"batch_size: 1 {from_file('long')} {strings}",
        "short_file": f"batch_size: 1 {from_file('short')} {strings}",
        "no_file": f"batch_size: 1 {from_file('missing')} {strings}",
        "file_in_a_directory": f"batch_size: 1 {from_file('deep/floats')} {strings}",
        "directory": f"batch_size: 1 {from_file('deep')} {strings}",
        "file_after_a_slash": f"batch_size: 1 {from_file('/floats')} {strings}",
        "file_beside": f"batch_size: 1 {from_file('../floats')} {strings}",
        "file_outside": f"batch_size: 1 {from_file('../../outside')} {strings}",
        "strings": f"batch_size: 1 {right} {outside % 'strings'}",
        "strings_too_few": f"batch_size: 1 {right} {outside % 'one_string'}",
        "strings_cut_short": f"batch_size: 1 {right} {outside % 'cut_strings'}",
        "strings_missing": f"batch_size: 1 {right} {outside % 'missing'}",
        "input_twice": f"batch_size: 1 {right} {right} {strings}",
        "control_given": f"batch_size: 1 {right} {strings} {control}",
    }
    string = struct.pack("<I", 2) + b"ab"
    files = {
        **ONE_VERSION,
        "warmup/floats": bytes(12),
        "warmup/long": bytes(13),
        "warmup/short": bytes(11),
        "warmup/deep/floats": bytes(12),
        "floats": bytes(12),
        "warmup/strings": string * 2,
        "warmup/one_string": string,
        "warmup/cut_strings": (string * 2)[:-1],
    }
    for name, text in samples.items():
        label = "" if name == "no_name" else 'name: "w" '
        yield Case(f"warmup_{name}", f"{base}model_warmup [ {{ {label}{text} }} ]\n", files)
    unbatched = base.replace("size: 8", "size: 0")
    yield Case("warmup_without_batches", f'{unbatched}model_warmup {{ name: "w" {samples["right"]} }}\n', files)
    yield Case("warmup_two_without_batches", f'{unbatched}model_warmup {{ name: "w" {samples["batch_8"]} }}\n', files)
    optional = base.replace("dims: [ 2 ] }", "dims: [ 2 ] optional: true }")
    yield Case("warmup_optional_left_out", f'{optional}model_warmup {{ name: "w" {samples["one_input"]} }}\n', files)
    start = (
        'sequence_batching { control_input { name: "c" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }\n'
    )
    for name in ("right", "control_given"):
        yield Case(f"warmup_sequence_{name}", f'{base}{start}model_warmup {{ name: "w" {samples[name]} }}\n', files)
    corrid = 'sequence_batching { control_input { name: "c" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } } }\n'
    yield Case("warmup_sequence_of_strings", f'{base}{corrid}model_warmup {{ name: "w" {samples["right"]} }}\n', files)


def versions() -> Iterator[Case]:
    """Version directories and which of them are served."""
    model = b"a model"
    directories: dict[str, Files] = {
        "none": {},
        "0": {"0/model.bin": model},
        "01": {"01/model.bin": model},
        "1_and_01": {"1/model.bin": model, "01/model.bin": model},
        "v1": {"v1/model.bin": model},
        "1_and_v2": {"1/model.bin": model, "v2/model.bin": model},
        "1_and_notes": {"1/model.bin": model, "notes/text": model},
        "1_0": {"1.0/model.bin": model},
        "1_and_2_0": {"1/model.bin": model, "2.0/model.bin": model},
        "1_and_2_old": {"1/model.bin": model, "2_old/model.bin": model},
        "1_and_1_old": {"1/model.bin": model, "1_old/model.bin": model},
        "minus_1": {"-1/model.bin": model},
        "1_and_minus_1": {"1/model.bin": model, "-1/model.bin": model},
        "plus_1": {"+1/model.bin": model},
        "1_and_2": {"1/model.bin": model, "2/model.bin": model},
        "largest": {f"{2**63 - 1}/model.bin": model},
        "date": {"20261202085414/model.bin": model},
        "a_file_called_1": {"1": model},
        "1_and_a_file_called_2": {"1/model.bin": model, "2": model},
        "linked": {"1 -> ": b"store", "store/model.bin": model},
        "link_to_nowhere": {"1 -> ": b"nowhere"},
        "1_and_link_to_nowhere": {"1/model.bin": model, "2 -> ": b"nowhere"},
        "warmup_alone": {"warmup/x": model},
        "space_1": {" 1/model.bin": model},
        "1_and_hidden": {"1/model.bin": model, ".2/model.bin": model},
        "empty": {"1/": b""},
        "1_and_empty_0": {"1/model.bin": model, "0/": b""},
        "2_and_link_below": {"2/model.bin": model, "2/gone -> ": b"nowhere"},
    }
    for name, files in directories.items():
        yield Case(f"version_{name}", BASE, files)
    policies = {
        "latest_0": "latest { num_versions: 0 }",
        "latest_default": "latest { }",
        "latest_1": "latest { num_versions: 1 }",
        "latest_3": "latest { num_versions: 3 }",
        "all": "all { }",
        "empty": "",
        "specific": "specific { versions: [ 1 ] }",
        "specific_two": "specific { versions: [ 1, 2 ] }",
        "specific_missing": "specific { versions: [ 7 ] }",
        "specific_partly": "specific { versions: [ 1, 7 ] }",
        "specific_none": "specific { }",
        "specific_minus_1": "specific { versions: [ -1 ] }",
        "specific_0": "specific { versions: [ 0 ] }",
        "specific_twice": "specific { versions: [ 1, 1 ] }",
        "two_policies": "all { } latest { num_versions: 1 }",
    }
    two = {"1/model.bin": model, "2/model.bin": model}
    for name, text in policies.items():
        yield Case(f"policy_{name}", f"{BASE}version_policy {{ {text} }}\n", two)


def names() -> Iterator[Case]:
    """Names, backends and platforms."""
    rest = "max_batch_size: 8\n" + PLAIN_INPUT + PLAIN_OUTPUT
    heads = {
        "right": ('name: "%s"\nbackend: "answering"\n', {}),
        "other": ('name: "somebody_else"\nbackend: "answering"\n', {}),
        "case": ('name: "NAME_case"\nbackend: "answering"\n', {}),
        "no_backend": ("", {}),
        "unknown_backend": ('backend: "nobody"\n', {}),
        "unknown_platform": ('platform: "caffe2_netdef"\n', {}),
        "backend_and_unknown_platform": ('backend: "answering"\nplatform: "mine"\n', {}),
        "onnx_backend": ('backend: "onnxruntime"\n', {}),
        "onnx_platform": ('platform: "onnxruntime_onnx"\n', {}),
        "onnx_both": ('backend: "onnxruntime"\nplatform: "onnxruntime_onnx"\n', {}),
        "onnx_with_other_platform": ('backend: "onnxruntime"\nplatform: "tensorrt_plan"\n', {}),
        "onnx_with_unknown_platform": ('backend: "onnxruntime"\nplatform: "onnx"\n', {}),
        "answering_with_onnx_platform": ('backend: "answering"\nplatform: "onnxruntime_onnx"\n', {}),
        "tensorrt_with_unknown_platform": ('backend: "tensorrt"\nplatform: "trt"\n', {}),
        "pytorch_platform": ('platform: "pytorch_libtorch"\n', {}),
        "pytorch_backend": ('backend: "pytorch"\n', {}),
        "pytorch_with_unknown_platform": ('backend: "pytorch"\nplatform: "torch"\n', {}),
        "tensorflow_savedmodel": ('platform: "tensorflow_savedmodel"\n', {}),
        "tensorflow_graphdef": ('platform: "tensorflow_graphdef"\n', {}),
        "tensorflow_without_platform": ('backend: "tensorflow"\n', {}),
        "tensorflow_with_unknown_platform": ('backend: "tensorflow"\nplatform: "tf"\n', {}),
        "ensemble_with_backend": ('backend: "answering"\nplatform: "ensemble"\n', {}),
        "file_named_so": ("", {"default_model_filename": "model.onnx"}),
    }
    for name, (head, more) in heads.items():
        full = f"name_{name}"
        extra = "".join(f'{key}: "{value}"\n' for key, value in more.items())
        yield Case(full, (head.replace("%s", full)) + rest + extra, _model_files(head + extra))
    yield Case("model.answering", rest)
    yield Case("name_by_file", rest, _model_files("onnx"))
    yield Case("name_of_another_file", rest + 'default_model_filename: "other.onnx"\n', _model_files("onnx"))
    yield Case("name_no_config", None)
    yield Case("model.pt", None, {"1/model.pt": b"x"})


def _model_files(head: str) -> Files:
    """A model file that the backend in `head` would open."""
    if "onnx" in head:
        return {"1/model.onnx": onnx_model()}
    for word, name in (("pytorch", "model.pt"), ("tensorrt", "model.plan"), ("graphdef", "model.graphdef")):
        if word in head:
            return {f"1/{name}": b"a model"}
    if "savedmodel" in head:
        return {"1/model.savedmodel/saved_model.pb": b"\x08\x01\x12\x00"}
    return dict(ONE_VERSION)


def onnx_model() -> bytes:
    """x → y, FP32 [batch, 4]."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "tiny", tensors[:1], tensors[1:])
    return bytes(helper.make_model(graph).SerializeToString())


def labels() -> Iterator[Case]:
    """Files of labels."""
    base = BASE.replace(
        'name: "y" data_type: TYPE_FP32 dims: [ 4 ]', 'name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "%s"'
    )
    files: dict[str, tuple[str, Files]] = {
        "right": ("labels.txt", {"labels.txt": b"a\nb\nc\nd\n"}),
        "fewer": ("labels.txt", {"labels.txt": b"a\nb\n"}),
        "more": ("labels.txt", {"labels.txt": b"a\nb\nc\nd\ne\n"}),
        "no_lines": ("labels.txt", {"labels.txt": b""}),
        "missing": ("labels.txt", {}),
        "deep": ("texts/labels.txt", {"texts/labels.txt": b"a\nb\nc\nd\n"}),
        "in_the_version": ("1/labels.txt", {"1/labels.txt": b"a\nb\nc\nd\n"}),
        "a_directory": ("texts", {"texts/labels.txt": b"a\n"}),
        "outside": ("../outside", {}),
        "link_to_nowhere": ("labels.txt", {"labels.txt -> ": b"nowhere"}),
        "linked": ("labels.txt", {"labels.txt -> ": b"names.txt", "names.txt": b"a\nb\nc\nd\n"}),
        "crlf": ("labels.txt", {"labels.txt": b"a\r\nb\r\nc\r\nd\r\n"}),
        "latin_1": ("labels.txt", {"labels.txt": b"a\nb\nc\n\xe4\n"}),
        "blank_line": ("labels.txt", {"labels.txt": b"a\n\nc\nd\n"}),
        "blank_at_the_end": ("labels.txt", {"labels.txt": b"a\nb\nc\nd\n\n\n"}),
        "blank_alone": ("labels.txt", {"labels.txt": b"\n"}),
        "no_newline": ("labels.txt", {"labels.txt": b"a\nb\nc\nd"}),
        "carriage_returns": ("labels.txt", {"labels.txt": b"a\rb\rc\rd\r"}),
        "byte_order_mark": ("labels.txt", {"labels.txt": b"\xef\xbb\xbfa\nb\nc\nd\n"}),
        "utf_16": ("labels.txt", {"labels.txt": "a\nb\nc\nd\n".encode("utf-16")}),
        "zero_byte": ("labels.txt", {"labels.txt": b"a\nb\0\nc\nd\n"}),
        "colons": ("labels.txt", {"labels.txt": b"a:1\n:\nc::\n:d\n"}),
        "same_names": ("labels.txt", {"labels.txt": b"a\na\na\na\n"}),
        "slash_in_front": ("/labels.txt", {"labels.txt": b"a\nb\nc\nd\n"}),
        "slash_behind": ("labels.txt/", {"labels.txt": b"a\nb\nc\nd\n"}),
        "of_the_machine": ("/etc/hostname", {}),
        "dot_in_front": ("./labels.txt", {"labels.txt": b"a\nb\nc\nd\n"}),
        "up_and_down": ("1/../labels.txt", {"labels.txt": b"a\nb\nc\nd\n"}),
        "up_from_nowhere": ("2/../labels.txt", {"labels.txt": b"a\nb\nc\nd\n"}),
        "by_the_models_name": ("../labels_by_the_models_name/labels.txt", {"labels.txt": b"a\nb\nc\nd\n"}),
        "of_the_config": ("config.pbtxt", {}),
        "of_the_model_file": ("1/model.bin", {}),
        "hidden": (".labels", {".labels": b"a\nb\nc\nd\n"}),
        "spaces": ("the labels.txt", {"the labels.txt": b"a\nb\nc\nd\n"}),
        "umlauts": ("\u00e4.txt", {"\u00e4.txt": b"a\nb\nc\nd\n"}),
        "blank": (" ", {}),
        "the_model": (".", {}),
        "empty_directory": ("texts", {"texts/": b""}),
        "linked_directory": ("texts/a", {"texts -> ": b"names", "names/a": b"a\nb\nc\nd\n"}),
        "linked_outside": ("labels.txt", {"labels.txt -> ": b"../outside"}),
    }
    for name, (file, more) in files.items():
        yield Case(f"labels_{name}", base.replace("%s", file), {**ONE_VERSION, **more})
    right = {**ONE_VERSION, "labels.txt": b"a\nb\nc\nd\n"}
    with_labels = base.replace("%s", "labels.txt")
    for kind in ("STRING", "BOOL", "UINT8", "INT64", "FP16", "BF16", "FP64"):
        yield Case(f"labels_of_{kind}", with_labels.replace(' "y" data_type: TYPE_FP32', f' "y" data_type: TYPE_{kind}'), right)
    outputs = {
        "of_any_length": with_labels.replace("dims: [ 4 ] label", "dims: [ -1 ] label"),
        "of_two_dims": with_labels.replace("dims: [ 4 ] label", "dims: [ 2, 2 ] label"),
        "without_batches": with_labels.replace("size: 8", "size: 0"),
        "of_two_outputs": with_labels + with_labels.splitlines()[-1].replace('"y"', '"z"'),
        "of_one_output_twice": with_labels + with_labels.splitlines()[-1],
        "of_one_of_two_of_a_name": with_labels + PLAIN_OUTPUT,
    }
    for name, config in outputs.items():
        yield Case(f"labels_{name}", config, right)


def texts() -> Iterator[Case]:
    """How config.pbtxt is written."""
    yield from _cases(
        "text",
        {
            "comment": "# a comment\n" + BASE,
            "crlf": BASE.replace("\n", "\r\n"),
            "single_quotes": BASE.replace('"', "'"),
            "comma_at_the_end": BASE.replace("[ 4 ]", "[ 4, ]"),
            "list_without_brackets": BASE.replace("[ 4 ]", "4, 4"),
            "input_in_a_list": BASE.replace("input { ", "input [ { ", 1).replace("}\n", "} ]\n", 1),
            "comma_between": BASE.replace('"x" data', '"x", data'),
            "semicolon": BASE.replace("size: 8", "size: 8;"),
            "unknown_field": BASE + "max_batch: 3\n",
            "unknown_enum": BASE.replace("TYPE_FP32", "TYPE_FLOAT"),
            "enum_without_prefix": BASE.replace("TYPE_FP32", "FP32", 1),
            "enum_in_quotes": BASE.replace("TYPE_FP32", '"TYPE_FP32"', 1),
            "enum_by_number": BASE.replace("TYPE_FP32", "11", 1),
            "number_in_quotes": BASE.replace("size: 8", 'size: "8"'),
            "too_large": BASE.replace("size: 8", "size: 2147483648"),
            "fraction": BASE.replace("size: 8", "size: 8.0"),
            "hexadecimal": BASE.replace("size: 8", "size: 0x8"),
            "octal": BASE.replace("size: 8", "size: 010"),
            "field_twice": BASE + "max_batch_size: 4\n",
            "message_twice": BASE + "dynamic_batching { }\ndynamic_batching { }\n",
            "not_closed": BASE + "dynamic_batching {\n",
            "closed_twice": BASE + "}\n",
            "angle_brackets": BASE + "dynamic_batching < >\n",
            "colon_before_a_message": BASE + "dynamic_batching: { }\n",
            "json": '{ "backend": "answering", "max_batch_size": 8 }',
            "true_in_capitals": BASE + "model_transaction_policy { decoupled: True }\n",
            "true_as_1": BASE + "model_transaction_policy { decoupled: 1 }\n",
            "yes": BASE + "model_transaction_policy { decoupled: yes }\n",
            "negative_of_unsigned": BASE + "dynamic_batching { max_queue_delay_microseconds: -1 }\n",
            "fraction_of_unsigned": BASE + "dynamic_batching { max_queue_delay_microseconds: 1e3 }\n",
            "placeholder_of_a_number": BASE.replace("size: 8", "size: ${max_batch_size}"),
            "placeholder_of_a_name": BASE + "instance_group [ { count: ${count} kind: KIND_CPU } ]\n",
            "string_in_parts": BASE.replace('"answering"', '"answer" "ing"'),
            "string_not_closed": BASE.replace('"answering"', '"answering'),
            "map_key_twice": BASE + 'parameters { key: "a" value { string_value: "1" } }\n' * 2,
            "short_enum_list": BASE + "instance_group [ { kind: KIND_CPU } ],\n",
        },
    )
    yield Case("text_empty", "")
    yield Case("text_bom", b"\xef\xbb\xbf" + BASE.encode())
    yield Case("text_utf16", BASE.encode("utf-16"))
    yield Case("text_latin_1", ("# gr\xfc\xdfe\n" + BASE).encode("latin-1"))
    yield Case("text_latin_1_value", BASE.encode() + b'metric_tags { key: "a" value: "\xfc" }\n')
    yield Case("text_utf8_value", BASE + 'metric_tags { key: "a" value: "ü" }\n')


def python_models() -> Iterator[Case]:
    """Models of the Python backend. Their processes make them slow: few of them."""
    sources: dict[str, Files] = {
        "right": {"1/model.py": MODEL_PY},
        "no_file": {"1/other.py": MODEL_PY},
        "empty": {"1/model.py": b""},
        "does_not_parse": {"1/model.py": MODEL_PY + b"    def finalize(self:\n"},
        "no_class": {"1/model.py": b"class Model:\n    def execute(self, requests):\n        return []\n"},
        "no_execute": {"1/model.py": b"class TritonPythonModel:\n    pass\n"},
        "imported": {"1/model.py": b"from shared import TritonPythonModel\n", "1/shared.py": MODEL_PY},
        "assigned": {"1/model.py": MODEL_PY.replace(b"TritonPythonModel", b"Model") + b"TritonPythonModel = Model\n"},
        "inherited": {
            "1/model.py": MODEL_PY.replace(b"TritonPythonModel", b"Model") + b"class TritonPythonModel(Model):\n    pass\n"
        },
        "tabs_and_spaces": {"1/model.py": b"class TritonPythonModel:\n\tdef execute(self, requests):\n        return []\n"},
        "latin_1": {"1/model.py": b"# gr\xfc\xdfe\n" + MODEL_PY},
        "latin_1_declared": {"1/model.py": b"# coding: latin-1\n# gr\xfc\xdfe\n" + MODEL_PY},
        "in_a_function": {"1/model.py": b"def make():\n    class TritonPythonModel:\n        pass\n"},
        "star_import": {"1/model.py": b"from shared import *\n", "1/shared.py": MODEL_PY},
    }
    for name, files in sources.items():
        yield Case(f"python_{name}", PYTHON, files)
    environment = 'parameters { key: "EXECUTION_ENV_PATH" value { string_value: "%s" } }\n'
    yield Case("python_environment_missing", PYTHON + environment % "/nowhere/env.tar.gz", {"1/model.py": MODEL_PY})
    inside = environment % "$$TRITON_MODEL_DIRECTORY/env.tar.gz"
    yield Case("python_environment_not_inside", PYTHON + inside, {"1/model.py": MODEL_PY})
    force = 'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "%s" } }\n'
    yield Case("python_force_no", PYTHON + force % "no", {"1/model.py": MODEL_PY})
    yield Case("python_force_true", PYTHON + force % "true", {"1/model.py": MODEL_PY})
    yield Case("python_other_file", PYTHON + 'default_model_filename: "serve.py"\n', {"1/serve.py": MODEL_PY})
    yield Case("python_by_its_file", PYTHON.replace('backend: "python"\n', ""), {"1/model.py": MODEL_PY})


def ensembles() -> Iterator[Case]:
    """Ensembles of the models `first`, `second`, … below, which are right by themselves."""
    yield Case("part", BASE)
    yield Case("part_of_two", BASE + 'input { name: "z" data_type: TYPE_FP32 dims: [ 4 ] }\n')
    yield Case("part_optional", BASE + 'input { name: "z" data_type: TYPE_FP32 dims: [ 4 ] optional: true }\n')
    yield Case("part_two_outputs", BASE + 'output { name: "w" data_type: TYPE_FP32 dims: [ 4 ] }\n')
    yield Case("part_of_4", BASE.replace("size: 8", "size: 4"))
    yield Case("part_unbatched", BASE.replace("size: 8", "size: 0"))
    yield Case("part_unbatched_rows", BASE.replace("size: 8", "size: 0").replace("[ 4 ]", "[ -1, 4 ]"))
    yield Case("part_any", BASE.replace("[ 4 ]", "[ -1 ]"))
    yield Case("part_strings", BASE.replace("FP32", "STRING"))
    yield Case("part_scalar", BASE.replace("dims: [ 4 ]", "dims: [ 1 ] reshape { }", 1))
    yield Case("part_decoupled", BASE + "model_transaction_policy { decoupled: true }\n")
    yield Case("part_broken", BASE.replace("dims: [ 4 ]", "dims: [ 0 ]"))

    def ensemble(*steps: str, inputs: str = PLAIN_INPUT, outputs: str = PLAIN_OUTPUT, more: str = "", size: int = 8) -> str:
        listed = "".join(f"step {{ {step} }} " for step in steps)
        return f'platform: "ensemble"\nmax_batch_size: {size}\n{inputs}{outputs}{more}ensemble_scheduling {{ {listed}}}\n'

    def step(model: str, inputs: dict[str, str] | None = None, outputs: dict[str, str] | None = None, version: int = -1) -> str:
        maps = "".join(f'input_map {{ key: "{key}" value: "{value}" }} ' for key, value in (inputs or {}).items())
        maps += "".join(f'output_map {{ key: "{key}" value: "{value}" }} ' for key, value in (outputs or {}).items())
        return f'model_name: "{model}" model_version: {version} {maps}'

    one = step("part", {"x": "x"}, {"y": "y"})
    two_outputs = PLAIN_OUTPUT + PLAIN_OUTPUT.replace('"y"', '"z"')
    first, second = step("part", {"x": "x"}, {"y": "h"}), step("part", {"x": "h"}, {"y": "y"})
    texts = {
        "one": ensemble(one),
        "chain": ensemble(first, second),
        "chain_reversed": ensemble(second, first),
        "no_steps": ensemble(),
        "without_scheduling": 'platform: "ensemble"\nmax_batch_size: 8\n' + PLAIN_INPUT + PLAIN_OUTPUT,
        "without_platform": ensemble(one).replace('platform: "ensemble"\n', ""),
        "with_backend": ensemble(one).replace('platform: "ensemble"', 'backend: "answering"'),
        "no_inputs": ensemble(one, inputs=""),
        "no_outputs": ensemble(one, outputs=""),
        "unknown_model": ensemble(step("nobody", {"x": "x"}, {"y": "y"})),
        "no_model": ensemble(step("", {"x": "x"}, {"y": "y"})),
        "itself": ensemble(step("ensemble_itself", {"x": "x"}, {"y": "y"})),
        "broken_model": ensemble(step("part_broken", {"x": "x"}, {"y": "y"})),
        "version_1": ensemble(step("part", {"x": "x"}, {"y": "y"}, 1)),
        "version_7": ensemble(step("part", {"x": "x"}, {"y": "y"}, 7)),
        "version_0": ensemble(step("part", {"x": "x"}, {"y": "y"}, 0)),
        "no_input_map": ensemble(step("part", {}, {"y": "y"})),
        "no_output_map": ensemble(step("part", {"x": "x"}, {})),
        "unknown_input": ensemble(step("part", {"x": "x", "q": "x"}, {"y": "y"})),
        "unknown_output": ensemble(step("part", {"x": "x"}, {"q": "y"})),
        "input_forgotten": ensemble(step("part_of_two", {"x": "x"}, {"y": "y"})),
        "optional_left_out": ensemble(step("part_optional", {"x": "x"}, {"y": "y"})),
        "output_left_out": ensemble(step("part_two_outputs", {"x": "x"}, {"y": "y"})),
        "output_unread": ensemble(step("part_two_outputs", {"x": "x"}, {"y": "y", "w": "w"})),
        "same_tensor_twice": ensemble(step("part_of_two", {"x": "x", "z": "x"}, {"y": "y"})),
        "two_outputs_one_tensor": ensemble(step("part_two_outputs", {"x": "x"}, {"y": "y", "w": "y"})),
        "made_twice": ensemble(one, one),
        "input_made_by_a_step": ensemble(step("part", {"x": "x"}, {"y": "x"}), one),
        "input_unused": ensemble(one, inputs=PLAIN_INPUT + 'input { name: "k" data_type: TYPE_FP32 dims: [ 4 ] }\n'),
        "output_of_nobody": ensemble(one, outputs=PLAIN_OUTPUT + 'output { name: "k" data_type: TYPE_FP32 dims: [ 4 ] }\n'),
        "output_called_score": ensemble(one, outputs=PLAIN_OUTPUT.replace('"y"', '"score"')),
        "output_is_the_input": ensemble(one, outputs=PLAIN_OUTPUT + 'output { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'),
        "source_missing": ensemble(step("part_of_two", {"x": "x", "z": "k"}, {"y": "y"})),
        "circle": ensemble(one, step("part", {"x": "a"}, {"y": "b"}), step("part", {"x": "b"}, {"y": "a"})),
        "smaller_batch": ensemble(step("part_of_4", {"x": "x"}, {"y": "y"})),
        "smaller_batch_than_the_model": ensemble(one, size=2),
        "unbatched_model": ensemble(step("part_unbatched", {"x": "x"}, {"y": "y"})),
        "unbatched_model_of_rows": ensemble(step("part_unbatched_rows", {"x": "x"}, {"y": "y"})),
        "unbatched_ensemble": ensemble(one, size=0),
        "unbatched_ensemble_of_rows": ensemble(
            one, size=0, inputs=PLAIN_INPUT.replace("[ 4", "[ -1, 4"), outputs=PLAIN_OUTPUT.replace("[ 4", "[ -1, 4")
        ),
        "unbatched_ensemble_one_side": ensemble(one, size=0, outputs=PLAIN_OUTPUT.replace("[ 4", "[ -1, 4")),
        "all_unbatched": ensemble(step("part_unbatched", {"x": "x"}, {"y": "y"}), size=0),
        "any_and_fixed": ensemble(step("part_any", {"x": "x"}, {"y": "y"})),
        "unbatched_any": ensemble(
            step("part_any", {"x": "x"}, {"y": "y"}),
            size=0,
            inputs=PLAIN_INPUT.replace("4", "-1"),
            outputs=PLAIN_OUTPUT.replace("[ 4", "[ -1, 4"),
        ),
        "other_type": ensemble(step("part_strings", {"x": "x"}, {"y": "y"})),
        "other_size": ensemble(one, inputs=PLAIN_INPUT.replace("4", "5")),
        "other_rank": ensemble(one, outputs=PLAIN_OUTPUT.replace("4", "4, 1")),
        "other_size_between": ensemble(
            step("part_strings", {"x": "x"}, {"y": "h"}), second, inputs=PLAIN_INPUT.replace("FP32", "STRING")
        ),
        "reshape_of_the_model": ensemble(step("part_scalar", {"x": "x"}, {"y": "y"}), inputs=PLAIN_INPUT.replace("4", "1")),
        "reshape_of_the_ensemble": ensemble(
            step("part_scalar", {"x": "x"}, {"y": "y"}), inputs=PLAIN_INPUT.replace("[ 4 ]", "[ 1 ] reshape { }")
        ),
        "instance_group": ensemble(one, more="instance_group { kind: KIND_CPU }\n"),
        "optimization": ensemble(one, more="optimization { priority: PRIORITY_MAX }\n"),
        "warmup": ensemble(one, more='model_warmup { name: "w" batch_size: 1 }\n'),
        "dynamic_batching": ensemble(one, more="dynamic_batching { }\n"),
        "cache": ensemble(one, more="response_cache { enable: true }\n"),
        "labels_missing": ensemble(one, outputs=PLAIN_OUTPUT.replace("dims", 'label_filename: "labels.txt" dims')),
        "bad_tensor": ensemble(one, inputs=PLAIN_INPUT.replace("4", "0")),
        "no_type": ensemble(one, inputs=PLAIN_INPUT.replace("data_type: TYPE_FP32", "")),
        "decoupled": ensemble(step("part_decoupled", {"x": "x"}, {"y": "y"})),
        "decoupled_joined": ensemble(
            step("part_decoupled", {"x": "x"}, {"y": "a"}),
            step("part_decoupled", {"x": "x"}, {"y": "b"}),
            step("part_of_two", {"x": "a", "z": "b"}, {"y": "y"}),
        ),
        "decoupled_beside_plain": ensemble(
            step("part_decoupled", {"x": "x"}, {"y": "a"}), step("part_of_two", {"x": "a", "z": "x"}, {"y": "y"})
        ),
        "decoupled_and_cache": ensemble(step("part_decoupled", {"x": "x"}, {"y": "y"}), more="response_cache { enable: true }\n"),
        "decoupled_two_outputs": ensemble(
            step("part_decoupled", {"x": "x"}, {"y": "y"}), step("part_decoupled", {"x": "x"}, {"y": "z"}), outputs=two_outputs
        ),
        "decoupled_output_beside_plain": ensemble(
            step("part_decoupled", {"x": "x"}, {"y": "y"}), step("part", {"x": "x"}, {"y": "z"}), outputs=two_outputs
        ),
        "decoupled_chain": ensemble(step("part_decoupled", {"x": "x"}, {"y": "h"}), step("part_decoupled", {"x": "h"}, {"y": "y"})),
        "decoupled_then_two": ensemble(
            step("part_decoupled", {"x": "x"}, {"y": "h"}),
            step("part", {"x": "h"}, {"y": "y"}),
            step("part", {"x": "h"}, {"y": "z"}),
            outputs=two_outputs,
        ),
        "decoupled_ensemble_inside": ensemble(
            step("ensemble_decoupled", {"x": "x"}, {"y": "a"}), step("part_of_two", {"x": "a", "z": "x"}, {"y": "y"})
        ),
        "optional_input": ensemble(one, inputs=PLAIN_INPUT.replace("dims", "optional: true dims")),
        "optional_input_of_an_optional": ensemble(
            step("part_optional", {"x": "x", "z": "z"}, {"y": "y"}),
            inputs=PLAIN_INPUT + 'input { name: "z" data_type: TYPE_FP32 dims: [ 4 ] optional: true }\n',
        ),
        "of_an_ensemble": ensemble(step("ensemble_one", {"x": "x"}, {"y": "y"})),
        "model_in_a_namespace": ensemble(one.replace("model_name", 'model_namespace: "elsewhere" model_name')),
    }
    for name, text in texts.items():
        yield Case(f"ensemble_{name}", text, {"1/": b""})
    yield Case("ensemble_no_version", ensemble(one), {})
    yield Case("ensemble_kept_by_git", ensemble(one), {"1/.gitkeep": b""})


def parameters() -> Iterator[Case]:
    """Everything else of a config.pbtxt."""
    value = 'parameters { key: "%s" value { string_value: "%s" } }\n'
    yield from _cases(
        "other",
        {
            "parameter": BASE + value % ("threads", "2"),
            "placeholder": BASE + value % ("tokenizer_dir", "${tokenizer_dir}"),
            "metric_tags": BASE + 'metric_tags { key: "team" value: "search" }\n',
            "metrics": BASE
            + 'model_metrics { metric_control { metric_identifier { family: "nv_inference_first_response_histogram_ms" } '
            "histogram_options { buckets: [ 1, 2 ] } } }\n",
            "metrics_empty": BASE + "model_metrics { metric_control { } }\n",
            "metrics_without_family": BASE + "model_metrics { metric_control { histogram_options { buckets: 1 } } }\n",
            "metrics_without_buckets": BASE + 'model_metrics { metric_control { metric_identifier { family: "f" } } }\n',
            "metrics_of_no_buckets": BASE
            + 'model_metrics { metric_control { metric_identifier { family: "f" } histogram_options { } } }\n',
            "repository_agent": BASE + 'model_repository_agents { agents { name: "nobody" } }\n',
            "runtime": BASE + 'runtime: "libtriton_nobody.so"\n',
            "priority": BASE + "optimization { priority: PRIORITY_MIN }\n",
            "cuda_graphs": BASE + "optimization { cuda { graphs: true } }\n",
            "pinned_memory": BASE + "optimization { input_pinned_memory { enable: false } }\n",
            "graph_level": BASE + "optimization { graph { level: 1 } }\n",
            "accelerator": BASE + 'optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }\n',
            "cc_file_names": BASE + 'cc_model_filenames { key: "8.0" value: "model.bin" }\n',
            "op_library": BASE + 'model_operations { op_library_filename: "missing.so" }\n',
        },
    )
