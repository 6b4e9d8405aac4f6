"""Every rule by name: what it means, and what to do. docs/lint.md shows this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule holds, and how to hold it."""

    meaning: str
    fix: str


RULES = {
    # The repository
    "repository-empty": Rule("The directory holds no model.", "Give the directory whose sub-directories are the models."),
    "hidden-directory": Rule(
        "Triton takes hidden directories for models, too, and ends when it cannot load one.", "Move it out of the repository."
    ),
    "link": Rule("A link leads nowhere; beside config.pbtxt Triton refuses the model for it.", "Repair the link, or delete it."),
    "unreadable": Rule("A file of the model cannot be read here.", "Give yourself the right to read it."),
    # Versions
    "version-missing": Rule("A model needs a version directory, an ensemble an empty one.", "Make it: `mkdir MODEL/1`."),
    "version-empty": Rule("The version holds no model.", "Put the model into it, or delete the directory."),
    "version-name": Rule(
        "Triton ignores the directory, opens another one for it, or ends for a number beyond 64 bits.",
        "Name it by a number without zeros in front, and others by a word.",
    ),
    "version-policy": Rule("version_policy serves no version, or names one that is not there.", "Name versions that are there."),
    # config.pbtxt as a whole
    "config-missing": Rule("There is no config.pbtxt; some backends guess what it would say.", "Write one."),
    "config-parse": Rule("config.pbtxt is no protobuf text of a ModelConfig.", "Correct the line that is named."),
    "config-encoding": Rule("config.pbtxt is not UTF-8; clients that ask for it fail.", "Save it as UTF-8."),
    "metrics": Rule("model_metrics names no family of histograms, or gives it no buckets.", "Give both."),
    "placeholder": Rule("A template's `${…}` was not filled in.", "Fill it in."),
    "name": Rule(
        "A name is missing, twice, or not the one that the directory or model file has.", "Use the name that is expected."
    ),
    "name-twice": Rule(
        "Two models, inputs or outputs have one name; with two inputs of a name no request is right.", "Rename one of them."
    ),
    "backend": Rule("Triton does not know the backend, or platform and backend contradict each other.", "Set `backend` alone."),
    # Tensors
    "dtype": Rule("A data_type is missing, unknown, or not the model file's.", "Use the type that is expected."),
    "dims": Rule("dims are missing, 0, or not the model file's.", "Use the dims that are expected, without the batch."),
    "reshape": Rule("reshape changes the number of elements.", "Let both have the same product between every two −1."),
    "shape-tensor": Rule("Only TensorRT has shape tensors.", "Delete is_shape_tensor."),
    "format": Rule("Only TensorRT has other than linear formats.", "Delete is_non_linear_format_io."),
    "optional": Rule("ONNX Runtime's backend takes no optional input into a batch.", "Make it required, or max_batch_size 0."),
    "labels": Rule(
        "A file of labels is missing, outside of the model, has another number of lines, or lines that no client reads as meant.",
        "One label a line in dims' order, UTF-8, beside config.pbtxt or below.",
    ),
    # Batches
    "max-batch-size": Rule("max_batch_size is negative.", "0 for a model that does not batch."),
    "batch-dimension": Rule("The model file has a fixed first dimension.", "Export it with an open one, or max_batch_size 0."),
    "dynamic-batching": Rule("dynamic_batching has nothing to batch.", "Set max_batch_size, or delete it."),
    "preferred-batch-size": Rule("A preferred size is none that can be reached.", "Sizes from 1 to max_batch_size."),
    "queue-delay": Rule("A request may wait a second and longer for others.", "Microseconds are meant: 5000 are 5 ms."),
    "priority": Rule("default_priority_level is none of the priority_levels.", "A number from 1 to priority_levels."),
    "queue-policy": Rule(
        "priority_queue_policy has a key that is no level, or there are no levels.", "Keys from 1 to priority_levels."
    ),
    "ordering": Rule("preserve_ordering excludes priorities and requests that are put off.", "One level, and REJECT."),
    "ragged": Rule(
        "A ragged input does not do what it is for.", "A batcher, a dimension of −1, and a batch_input with the lengths."
    ),
    "batch-input": Rule("A batch_input or batch_output names no tensor, the same twice, or an unknown type.", "See expected."),
    "cache": Rule("The response cache cannot keep sequences, or answers of decoupled models.", "Delete response_cache."),
    # Sequences
    "sequence": Rule("A setting of the sequence batcher is out of its range.", "See expected."),
    "sequence-control": Rule("A control input is not described as Triton needs it.", "Two values, or for CORRID a data_type."),
    "sequence-state": Rule(
        "The first value of a state does not fit it; for some faults Triton ends.", "The state's type and dims."
    ),
    # Instances
    "instance-group": Rule("A group names GPUs that its kind has not, or an unknown kind.", "Delete gpus, or KIND_GPU."),
    "instance-count": Rule("A count is negative; Triton takes its default.", "1 or more."),
    "profile": Rule("An optimization profile is none, or does not reach from 1 to max_batch_size.", "See expected."),
    "accelerator": Rule("The backend does not know the accelerator, or no instance can use it.", "See expected, or delete it."),
    # Model files
    "model-file": Rule("The model file, or its weights, cannot be opened as they are.", "Copy it again, with all its files."),
    "python-source": Rule("model.py does not parse.", "Correct the line; lint with the server's version of Python."),
    "python-class": Rule("model.py has no TritonPythonModel.", "Define or import that class."),
    "python-environment": Rule("EXECUTION_ENV_PATH names a file in the model that is not there.", "Pack the environment there."),
    "python-parameter": Rule("A parameter has a value that the Python backend refuses.", "See expected."),
    "warmup": Rule("A sample of model_warmup is no request that the model takes.", "Give every input, its type and dims."),
    # Ensembles
    "ensemble": Rule("An ensemble lacks its platform or steps, or has what only models have.", "See expected."),
    "ensemble-model": Rule("A step's model or version is not served; without model_version it is 0.", "`model_version: -1`."),
    "ensemble-batch": Rule("A step's model takes smaller batches.", "Lower the ensemble's max_batch_size."),
    "ensemble-batching": Rule("One side batches and the other does not: only single rows get through.", "Let all batch, or none."),
    "ensemble-mapping": Rule(
        "A map's keys are not the model's inputs or outputs.", "key: the model's name; value: the ensemble's."
    ),
    "ensemble-dtype": Rule("Two ends of a tensor have different types.", "Use one type."),
    "ensemble-dims": Rule("Two ends of a tensor have different dims.", "Use the same dims and reshape."),
    "ensemble-twice": Rule("A tensor is made twice.", "Give the second another name."),
    "ensemble-source": Rule("A step reads a tensor that nobody makes.", "Correct the name in its input_map."),
    "ensemble-order": Rule("Steps wait for each other.", "Break the circle."),
    "ensemble-cycle": Rule("Ensembles run each other.", "Break the circle."),
    "ensemble-output": Rule("No step makes an output of the ensemble.", "Correct the name."),
    "ensemble-unused": Rule("Nobody reads a tensor or an input.", "Delete it from the map."),
    "ensemble-decoupled": Rule("A step joins tensors of different decoupled models.", "Let it read from one."),
}
