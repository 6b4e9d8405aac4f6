"""Number and place of a job's ranks: ranks.json, written by the launcher and read by each rank."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from slipway.contract import manifest
from slipway.errors import ToolError
from train.job import Job

FILE = "ranks.json"
_LOOPBACK = "127."


@dataclass(frozen=True)
class Ranks:
    """The ranks of a job, and Horovod's settings for them."""

    processes: int  # over all hosts
    hosts: str = ""  # as horovodrun reads it, "a:2,b:2"; empty: this machine
    cores_per_rank: int = 0  # a rank is pinned to so many; 0: not pinned, the cores shared evenly
    elastic: bool = False
    min_processes: int = 0  # an elastic run goes on with so many
    fusion_threshold_mb: int = 0  # 0: Horovod's own choice
    cycle_time_ms: float = 0  # 0: Horovod's own choice
    network_interfaces: str = ""  # between hosts, "eth0,eth1"; empty: those that horovodrun finds on all of them

    def write(self, directory: Path) -> None:
        manifest.write_json(directory / FILE, asdict(self))

    @staticmethod
    def read(directory: Path) -> Ranks:
        return Ranks(**json.loads((directory / FILE).read_text("utf-8")))

    @property
    def host_list(self) -> str:
        """The hosts that horovodrun is told.

        An elastic run gives up every slot of a host when one rank there fails, so on one machine
        every rank gets a host name of its own: all of 127.0.0.1, 127.0.0.01, 127.0.0.001, … are the
        loopback address (inet_aton(3)).
        """
        if self.hosts:
            return self.hosts
        if self.elastic:
            return ",".join(f"{_LOOPBACK}0.0.{'0' * slot}1:1" for slot in range(self.processes))
        return f"localhost:{self.processes}"


def place(ranks: Ranks, environment: Mapping[str, str]) -> tuple[int, int]:
    """Return this rank's slot on its machine, for its cores and GPU, and the number of ranks there.

    Both are Horovod's local rank and size, but in an elastic run on one machine, where every rank
    has local rank 0 (see `host_list`).
    """
    if environment["HOROVOD_HOSTNAME"].startswith(_LOOPBACK):
        return int(environment["HOROVOD_RANK"]), ranks.processes
    return int(environment["HOROVOD_LOCAL_RANK"]), int(environment["HOROVOD_LOCAL_SIZE"])


def take_cores(ranks: Ranks, slot: int, on_machine: int, job: Job) -> int:
    """Pin this process when `ranks` asks for it; return its number of cores.

    To be called before TensorFlow is imported, whose threads inherit the cores. Raises ToolError
    when the machine has too few.
    """
    cores = sorted(os.sched_getaffinity(0))
    if not ranks.cores_per_rank:
        return max(1, len(cores) // on_machine)
    own = cores[slot * ranks.cores_per_rank : (slot + 1) * ranks.cores_per_rank]
    if len(own) < ranks.cores_per_rank:
        raise ToolError(
            "there are too few cores to pin every rank",
            expected=f"{on_machine * ranks.cores_per_rank} cores: {on_machine} ranks, {ranks.cores_per_rank} each",
            found=f"{len(cores)}",
            where=f"rank {environment_rank()}",
            fix=f"{job.again()} --cores-per-rank {len(cores) // on_machine}",  # 0: not pinned
        )
    os.sched_setaffinity(0, own)
    return len(own)


def environment_rank() -> int:
    """Return the rank as which this process was started; an elastic run later numbers anew."""
    return int(os.environ["HOROVOD_RANK"])
