from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from slipway.errors import ToolError, UsageError
from tests.support.command import CHECKOUT
from tests.support.training.jobs import JOB
from train import options, settings
from train.distributed import launcher, ranks
from train.distributed.ranks import Ranks


def test_an_elastic_run_on_one_machine_has_a_host_name_for_every_rank_and_all_of_them_are_this_machine() -> None:
    names = [host.split(":")[0] for host in Ranks(processes=5, elastic=True, min_processes=1).host_list.split(",")]
    assert len(set(names)) == 5
    assert {socket.gethostbyname(name) for name in names} == {"127.0.0.1"}


def test_what_horovodrun_is_told() -> None:
    given = Ranks(processes=3, hosts="a:1,b:2", elastic=True, min_processes=2, fusion_threshold_mb=32, cycle_time_ms=3.5)
    told = launcher.horovodrun_command(Path("job"), given, "train.engine.worker")
    assert told[told.index("-np") + 1] == "3"
    assert told[told.index("-H") + 1] == "a:1,b:2"
    assert told[told.index("--min-np") + 1] == "2"
    assert told[told.index("--fusion-threshold-mb") + 1] == "32"
    assert told[told.index("--cycle-time-ms") + 1] == "3.5"
    assert "--network-interfaces" not in told
    assert told[-4:] == [sys.executable, "-m", "train.engine.worker", "job"]


def test_interfaces_are_named_between_hosts_and_not_on_one_where_only_the_loopback_will_do() -> None:
    between = Ranks(processes=2, hosts="a:1,b:1", network_interfaces="ib0")
    told = launcher.horovodrun_command(Path("job"), between, "train.engine.worker")
    assert told[told.index("--network-interfaces") + 1] == "ib0"
    alone = Ranks(processes=2, network_interfaces="ib0")
    assert "ib0" not in launcher.horovodrun_command(Path("job"), alone, "train.engine.worker")


@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_a_command_that_mpirun_or_srun_started_several_times_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    assert settings.ranks_of(parse()).processes == 2
    monkeypatch.setenv(variable, "4")
    with pytest.raises(UsageError, match=f"{variable}=4"):
        settings.ranks_of(parse())


def test_horovods_own_choices_are_left_to_it() -> None:
    told = launcher.horovodrun_command(Path("job"), Ranks(processes=2), "train.engine.worker")
    assert not {"--fusion-threshold-mb", "--cycle-time-ms", "--min-np"} & set(told)


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add(parser)
    return parser.parse_args(["runs/x", *words])


def test_the_ranks_of_a_host_list_are_added_up() -> None:
    assert settings.ranks_of(parse("--hosts", "a:2,b:3")).processes == 5


@pytest.mark.parametrize("hosts", ["a", "a:", "a:0", "a:x", "a:2,b"])
def test_a_host_list_that_cannot_be_read_is_refused_and_shown(hosts: str) -> None:
    with pytest.raises(ToolError, match="the hosts cannot be read") as refused:
        settings.ranks_of(parse("--hosts", hosts))
    assert refused.value.found == hosts


def test_a_rank_has_the_slot_that_horovod_gave_it_on_its_machine() -> None:
    environment = {"HOROVOD_HOSTNAME": "b", "HOROVOD_RANK": "3", "HOROVOD_LOCAL_RANK": "1", "HOROVOD_LOCAL_SIZE": "2"}
    assert ranks.place(Ranks(processes=4, hosts="a:2,b:2"), environment) == (1, 2)


def test_ranks_of_an_elastic_run_on_one_machine_share_no_slot() -> None:
    started = Ranks(processes=3, elastic=True, min_processes=1)
    names = [host.split(":")[0] for host in started.host_list.split(",")]
    environments = [
        {"HOROVOD_HOSTNAME": name, "HOROVOD_RANK": str(rank), "HOROVOD_LOCAL_RANK": "0", "HOROVOD_LOCAL_SIZE": "1"}
        for rank, name in enumerate(names)
    ]
    assert [ranks.place(started, environment) for environment in environments] == [(0, 3), (1, 3), (2, 3)]


def test_a_pinned_rank_and_its_threads_have_its_cores_and_no_other() -> None:
    program = (
        "import os; from tests.support.training.jobs import JOB; from train.distributed.ranks import Ranks, take_cores\n"
        "first = min(os.sched_getaffinity(0))\n"
        "print(take_cores(Ranks(1, cores_per_rank=1), 0, 1, JOB), os.sched_getaffinity(0) == {first})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True"]


def test_more_cores_than_there_are_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOROVOD_RANK", "1")
    there = len(os.sched_getaffinity(0))
    with pytest.raises(ToolError) as refused:
        ranks.take_cores(Ranks(2, cores_per_rank=there), 1, 2, JOB)
    assert refused.value.expected.startswith(f"{2 * there} cores")
    assert refused.value.found == str(there)


HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("hosts", "fix"),
    [("", "--processes 1"), (f"a:2,{HERE}:2", f"--hosts a:2,{HERE}:1"), ("a:2,b:2", f"{HERE}:1 as its entry of --hosts")],
)
def test_more_ranks_than_gpus_is_refused_with_both_numbers(hosts: str, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from train.engine import rank as training

    monkeypatch.setattr(training.tf.config, "list_physical_devices", lambda kind: ["one"])
    monkeypatch.setattr(training.tf.config, "threading", MagicMock())
    with pytest.raises(ToolError, match="more ranks than GPUs") as refused:
        training._take_device(slot=1, threads=1, job=JOB, ranks=Ranks(processes=2, hosts=hosts))
    assert fix in refused.value.fix
    assert (refused.value.expected[-9:], refused.value.found) == ("2 or more", "1")
