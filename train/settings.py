"""The arguments of a command as its corpus, its texts without labels, its job and its ranks."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from slipway import errors, tools
from slipway.contract import labelling
from slipway.contract.parity import judgement
from slipway.contract.variants import VARIANTS
from slipway.errors import ToolError, UsageError
from train import options
from train.data import corpus, splitting
from train.data.reading import Columns
from train.distributed.ranks import Ranks
from train.job import Job
from train.model import hugging_face_encoder

# Golden rows that halves of texts make up for, of those that a right model usually takes: few of
# the labels are known, and what is served flips one row more or less each time.
_MORE_THAN_USUAL = 1.5
_CHECKOUT = Path(__file__).parents[1]
# Variable with the number of processes → who sets it
_STARTED_BY = {"OMPI_COMM_WORLD_SIZE": "mpirun", "PMI_SIZE": "mpirun", "SLURM_STEP_NUM_TASKS": "srun"}


def corpus_of(arguments: argparse.Namespace) -> corpus.Corpus:
    """Return the corpus of these arguments, checked, split and sampled. Raises CorpusError."""
    place = corpus.find(arguments.corpus, _CHECKOUT, command_of(arguments, ""))
    return corpus.load(
        place,
        Columns(
            text=tuple(arguments.text),
            label=arguments.label,
            labels=tuple(arguments.labels),
            encoding=arguments.encoding,
            missing=tuple(arguments.missing_label),
            merge=arguments.merge_labels,
        ),
        test_share=arguments.test_share,
        validation_share=arguments.validation_share,
        train_rows=arguments.train_rows,
        seed=arguments.seed,
        max_bad_rows=arguments.max_bad_rows,
        leaks=arguments.leaks,
        command=command_of(arguments, str(place)),
    )


def with_unlabelled(arguments: argparse.Namespace, data: corpus.Corpus) -> corpus.Corpus:
    """Return the corpus with the texts of --unlabelled, but those that it has.

    Without the option, a classifier's corpus of few test rows gets parts of its training texts, so
    that the gate can decide; not where --golden-rows says how many rows are wanted. Raises
    UsageError for a tagger, whose sentences need tags, and CorpusError by file and line.
    """
    if not arguments.unlabelled:
        return data if arguments.golden_rows or data.task == "tagging" else _with_parts(data, arguments.seed)
    if data.task == "tagging":
        without = argparse.Namespace(**{**vars(arguments), "unlabelled": ""})
        raise UsageError(
            "a tagger takes no texts without labels",
            expected="--unlabelled with single texts or pairs: a sentence is compared at its tagged words",
            found=f"--unlabelled {arguments.unlabelled}, and a corpus of words and tags",
            where=data.where,
            fix=command_of(without, data.where),
        )
    labelled = [example.text for split in (data.train, data.validation, data.test) for example in split]
    texts = labelling.unlabelled(
        Path(arguments.unlabelled),
        data.task,
        labelled,
        arguments.text,
        arguments.label,
        encoding=arguments.encoding,
        command=command_of(arguments, data.where),
    )
    return dataclasses.replace(data, unlabelled=texts)


def _with_parts(data: corpus.Corpus, seed: int) -> corpus.Corpus:
    usual = max(judgement.usual_rows(variant.limits) for variant in VARIANTS.values())
    missing = round(_MORE_THAN_USUAL * usual) - len(data.test)
    if missing <= 0:
        return data
    held_out = [example.text for example in (*data.validation, *data.test)]
    texts = splitting.parts_of_texts([example.text for example in data.train], missing, seed, held_out)
    where = f"training texts, cut in two or put together anew, since {len(data.test)} test rows are few for the gate"
    return dataclasses.replace(data, unlabelled=labelling.Unlabelled(texts, 0, where)) if texts else data


def options_of(
    arguments: argparse.Namespace, where: str, declare: Callable[[argparse.ArgumentParser], None] = options.add
) -> list[str]:
    """Return the options that repeat a run on the corpus at `where`: what is no default."""
    parser = argparse.ArgumentParser(add_help=False)
    declare(parser)
    words = ["--corpus", where] if where else []
    for action in parser._actions:
        value = getattr(arguments, action.dest, action.default)  # of analysis, fewer are declared
        if action.option_strings and action.dest != "corpus" and value != action.default:
            values = [] if value is True else value if isinstance(value, list) else [value]
            words += [action.option_strings[0], *map(str, values)]
    return words


def command_of(arguments: argparse.Namespace, where: str) -> str:
    """Return the command with these arguments, on the corpus at `where`."""
    words = arguments.command.split()
    declare = options.add if words == ["train"] else getattr(options, f"{words[-1]}_options")  # without --resume
    force = ["--force"] if getattr(arguments, "force", False) else []
    return errors.command(*words, arguments.run, *options_of(arguments, where, declare), *force)


def job_of(arguments: argparse.Namespace, data: corpus.Corpus, *, checkpoints: str, evaluate: bool) -> Job:
    """Return the job of these arguments; `checkpoints` is a directory, empty for none.

    An encoder of Hugging Face is made into a TF Hub module beside the run's bundle first.
    """
    again = command_of(arguments, data.where)
    encoder = arguments.encoder
    if encoder == options.ENCODER and not Path(encoder).exists():
        encoder = str(tools.ENCODER)  # from another working directory
    if hugging_face_encoder.is_one(encoder):
        encoder = hugging_face_encoder.module(encoder, arguments.run / "encoder", again)
    given = {field.name: getattr(arguments, field.name, None) for field in dataclasses.fields(Job)}
    return Job(
        **{
            **given,
            "task": data.task,
            "labels": len(data.labels),
            "sparse_as_dense": arguments.sparse_as_dense == "on",
            "checkpoints": checkpoints,
            "resume": getattr(arguments, "resume", False),
            "evaluate": evaluate,
            "encoder": encoder,
            "command": again,
        }
    )


def ranks_of(arguments: argparse.Namespace) -> Ranks:
    """Return the ranks of these arguments. Raises ToolError, UsageError."""
    _refuse_several_launches(arguments)
    processes = _slots(arguments) if arguments.hosts else arguments.processes
    if arguments.elastic and not 1 <= arguments.min_np < processes:
        raise ToolError(
            "an elastic run needs ranks to lose",
            expected=f"1 ≤ --min-np < {processes}, the ranks it begins with",
            found=f"--min-np {arguments.min_np}",
            where="--elastic",
            fix=f"{command_of(arguments, arguments.corpus)} --min-np 1 --processes {max(2, processes)}, or no --elastic",
        )
    return Ranks(
        processes=processes,
        hosts=arguments.hosts,
        cores_per_rank=arguments.cores_per_rank,
        elastic=arguments.elastic,
        min_processes=arguments.min_np,
        fusion_threshold_mb=arguments.fusion_threshold_mb,
        cycle_time_ms=arguments.cycle_time_ms,
        network_interfaces=arguments.network_interfaces,
    )


def _refuse_several_launches(arguments: argparse.Namespace) -> None:
    """Raise UsageError where mpirun or srun started this program several times."""
    for variable, program in _STARTED_BY.items():
        if (copies := os.environ.get(variable, "1")) != "1":
            raise UsageError(
                f"{program} started this command {copies} times",
                expected="one command, which starts the ranks of all hosts itself",
                found=f"{variable}={copies}",
                where="the environment",
                fix=f"{command_of(arguments, arguments.corpus)}, without {program} before it; hosts are named by --hosts a:2,b:2",
            )


def _slots(arguments: argparse.Namespace) -> int:
    """Return how many ranks a list like "a:2,b:2" holds. Raises ToolError."""
    try:
        counts = [int(host.strip().split(":")[1]) for host in arguments.hosts.split(",")]
    except (ValueError, IndexError):
        counts = [0]
    if min(counts) < 1:
        raise ToolError(
            "the hosts cannot be read",
            expected="host:ranks, separated by commas, as horovodrun takes them: a:2,b:2",
            found=arguments.hosts,
            where="--hosts",
            fix=f"{command_of(arguments, arguments.corpus)} --hosts first:2,second:2",
        )
    return sum(counts)
