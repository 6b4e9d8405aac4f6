"""Whether the other hosts of a run can take part in it: reached by ssh, with the same set-up.

Asked before horovodrun starts, whose messages name neither the path nor the version that differs.
A host answers with its facts as JSON:

    python -m train.distributed.hosts DIRECTORY      # of the job
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import shlex
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from slipway import tools
from slipway.errors import ToolError
from train.distributed.ranks import FILE as RANKS
from train.distributed.ranks import Ranks
from train.job import FILE, Job

# As horovodrun calls it, but never asking: BatchMode.
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=10")
_NOT_REACHED = 255  # exit status of ssh itself; any other is the command's
_SET_UP, _INTERFACE = "its set-up", "the network interface"  # facts whose remedies are their own
_PATIENCE = 60  # seconds for a host to answer
_THERE, _ABSENT = "there", "not there"


def check(directory: Path, ranks: Ranks, job: Job) -> None:
    """Compare all hosts of a job with this one. Raises ToolError at the first fault."""
    from horovod.runner.util import network  # horovodrun's own opinion of which hosts are others

    names = [host.strip().split(":")[0] for host in ranks.hosts.split(",")]
    others = network.filter_local_addresses(names)
    with ThreadPoolExecutor(max_workers=32) as pool:
        answers = list(pool.map(lambda host: _ask(host, directory), others))
    here = facts(directory)
    wanted = {what: _THERE if what.startswith(_INTERFACE) else value for what, value in here.items()}
    refuse_difference(socket.gethostname(), wanted, here, job)
    for host, answer in zip(others, answers, strict=True):
        refuse_difference(host, wanted, _read(host, answer, job), job)


def facts(directory: Path) -> dict[str, str]:
    """Return what has to be the same on all hosts, as name → value."""
    digest = hashlib.sha256()
    for path in sorted(path for part in ("slipway", "train") for path in (tools.CHECKOUT / part).rglob("*.py")):
        digest.update(path.read_bytes())
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "horovod")]
    operations = tools.HOROVOD_OPERATIONS.read_text("utf-8") if tools.HOROVOD_OPERATIONS.is_file() else ""
    job = directory / FILE
    encoder = json.loads(job.read_text("utf-8"))["encoder"] if job.is_file() else ""
    interfaces = json.loads((directory / RANKS).read_text("utf-8"))["network_interfaces"] if job.is_file() else ""
    present = psutil.net_if_addrs()
    return {
        _SET_UP: ", ".join([*packages, f"GPU operations {operations or 'none'}"]),
        "the code of slipway/ and train/": f"sha256 {digest.hexdigest()[:12]}",
        f"the run's directory {directory}": _THERE if job.is_file() else _ABSENT,
        f"the encoder {encoder}": _THERE if "://" in encoder or Path(encoder).exists() else _ABSENT,
        **{
            f"{_INTERFACE} {name}": _THERE if name in present else f"only {', '.join(sorted(present))}"
            for name in filter(None, interfaces.split(","))
        },
    }


def refuse_difference(host: str, wanted: dict[str, str], there: dict[str, str], job: Job) -> None:
    """Raise ToolError if a fact of `host` is not the one that is wanted of all."""
    for what, value in wanted.items():
        if there.get(what) == value:
            continue
        remedy = "put it on a file system that all hosts share, at the same path"
        if what == _SET_UP:
            nccl, there_has = ("operations NCCL" in said for said in (value, there.get(what, "")))
            setup = f"{'HOROVOD_GPU_OPERATIONS=NCCL ' if nccl or there_has else ''}make setup"
            remedy = f"here: {setup}" if there_has and not nccl else _on(host, setup)
        elif what.startswith(_INTERFACE):
            remedy = "name one that all hosts have, with --network-interfaces"
        elif value != _THERE:
            remedy = f"check out the same commit on {host}, in {tools.CHECKOUT}"
        raise ToolError(
            f"host {host} is not as all have to be",
            expected=f"{what}: {value}",
            found=there.get(what, _ABSENT),
            where=host,
            fix=f"{remedy}; then: {job.again()}",
        )


def _switch() -> str:
    """Return what set-up is called with for the GPU operations of this host."""
    operations = tools.HOROVOD_OPERATIONS.read_text("utf-8") if tools.HOROVOD_OPERATIONS.is_file() else ""
    return f"HOROVOD_GPU_OPERATIONS={operations} " if operations else ""


def _on(host: str, command: str) -> str:
    return shlex.join(["ssh", host, f"cd {shlex.quote(str(tools.CHECKOUT))} && {command}"])


def _ask(host: str, directory: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.join([sys.executable, "-m", "train.distributed.hosts", str(directory)])
    command = [*_SSH, host, f"cd {shlex.quote(str(Path.cwd()))} && {words}"]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, _NOT_REACHED, "", "no program ssh here: apt-get install openssh-client")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, _NOT_REACHED, "", f"no answer within {_PATIENCE} s")


def _read(host: str, answer: subprocess.CompletedProcess[str], job: Job) -> dict[str, str]:
    """Return the facts of a host's answer. Raises ToolError when it is none."""
    said = (answer.stderr.strip().splitlines() or [f"exit status {answer.returncode}"])[-1]
    if answer.returncode == _NOT_REACHED:
        raise ToolError(
            f"host {host} cannot be reached",
            expected=f"`ssh {host} true` without a password",
            found=said,
            where=host,
            fix=f"make this work first: ssh {host} true (ssh-copy-id {host} takes your key there); then: {job.again()}",
        )
    if answer.returncode != 0:
        raise ToolError(
            f"host {host} cannot start a rank",
            expected=f"the directory {Path.cwd()}, and the same checkout with its set-up: {sys.executable}",
            found=said,
            where=host,
            fix=f"the same checkout at the same path there, then {_on(host, f'{_switch()}make setup')}; then: {job.again()}",
        )
    for line in reversed(answer.stdout.splitlines()):  # shells greet and say goodbye
        with contextlib.suppress(ValueError):
            if isinstance(there := json.loads(line), dict):
                return there
    raise ToolError(
        f"host {host} does not answer",
        expected="what is installed there, as JSON",
        found=answer.stdout.strip()[-200:] or "nothing, and exit status 0",
        where=host,
        fix=f"look what its shell does: ssh {host} true; then: {job.again()}",
    )


if __name__ == "__main__":
    print(json.dumps(facts(Path(sys.argv[1]))))
