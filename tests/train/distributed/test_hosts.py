"""Ranks on two hosts: namespaces of this machine with a network, a name and an address each, joined
by a virtual cable.

The second host is reached by sshd; where there is none, by nsenter under the name of ssh, with the
same arguments. All else is what two machines do: interfaces found by horovodrun, a remote shell,
gradients over the cable.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.contract import bundle
from slipway.errors import ToolError
from tests.support.command import CHECKOUT
from tests.support.training import jobs
from tests.support.training.jobs import JOB
from train.distributed import hosts
from train.distributed.ranks import Ranks

NAMESPACE, CABLE = "slipway-test", "slipway0"  # the cable's ends need the same name: horovodrun looks for a common interface
HERE, THERE = ("slipway-here", "10.231.77.1"), ("slipway-there", "10.231.77.2")

# Run a command under another host name and list of hosts: Gloo listens on the address of its host's
# name.
AS_HOST = """#!/bin/sh
name=$1; shift
exec unshare --uts --mount sh -c 'echo "$0" >/proc/sys/kernel/hostname; mount --bind {hosts} /etc/hosts; exec "$@"' "$name" "$@"
"""
NSENTER = """#!/bin/sh
# ssh [-o option]… host [-o option]… command
while :; do case $1 in -o) shift 2;; {address}) shift;; *) break;; esac; done
exec nsenter --net=/run/netns/{namespace} {as_host} {name} sh -c "$*"
"""
SSH = """#!/bin/sh
exec /usr/bin/ssh -F none -i {keys}/user -o UserKnownHostsFile={keys}/known -o LogLevel=ERROR "$@"
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(stat.S_IRWXU)
    return path


@pytest.fixture(scope="module")
def as_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A program that runs a command as a host of that name; the second host's network is there."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nsenter", "unshare"))):
        pytest.skip("two hosts on one machine need root, ip, nsenter and unshare")
    directory = tmp_path_factory.mktemp("hosts")
    (directory / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in (HERE, THERE)))
    program = script(directory / "as_host", AS_HOST.format(hosts=directory / "hosts"))
    try:
        ip("netns", "add", NAMESPACE)
        subprocess.run([program, HERE[0], "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no namespaces here: {error.stderr.decode().strip()}")
    try:
        ip("link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", NAMESPACE)
        ip("address", "add", f"{HERE[1]}/30", "dev", CABLE)
        ip("link", "set", CABLE, "up")
        ip("-n", NAMESPACE, "address", "add", f"{THERE[1]}/30", "dev", CABLE)
        ip("-n", NAMESPACE, "link", "set", CABLE, "up")
        ip("-n", NAMESPACE, "link", "set", "lo", "up")
        yield program
    finally:
        ip("netns", "delete", NAMESPACE)  # and with it the cable


@pytest.fixture
def remote_shell(as_host: Path, tmp_path: Path) -> Iterator[Path]:
    """A directory whose `ssh` reaches the second host."""
    ssh = tmp_path / "bin" / "ssh"
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if not sshd:
        script(ssh, NSENTER.format(namespace=NAMESPACE, as_host=as_host, name=THERE[0], address=THERE[1]))
        yield ssh.parent
        return
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key], check=True)
    script(ssh, SSH.format(keys=tmp_path))
    Path("/run/sshd").mkdir(exist_ok=True)
    options = [
        f"HostKey={tmp_path}/host",
        f"AuthorizedKeysFile={tmp_path}/user.pub",
        "StrictModes=no",
        "PermitRootLogin=yes",
        "UsePAM=no",
    ]
    serve = [sshd, "-D", "-f", "/dev/null", *(f"-o{option}" for option in options)]
    server = subprocess.Popen(["nsenter", f"--net=/run/netns/{NAMESPACE}", as_host, THERE[0], *serve], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        yield ssh.parent
    finally:
        server.terminate()
        server.wait()


def test_a_rank_on_each_of_two_hosts_trains_one_model(
    remote_shell: Path, as_host: Path, generated: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    corpus = jobs.small_corpus(generated, tmp_path / "corpus")
    train = [
        sys.executable,
        "-m",
        "slipway.cli",
        "train",
        out.parent,
        "--corpus",
        corpus,
        "--encoder",
        tiny_encoder,
        "--max-seq-len",
        "48",
    ]
    process = subprocess.Popen(
        [as_host, HERE[0], *train, "--hosts", f"{HERE[1]}:1,{THERE[1]}:1"],
        cwd=CHECKOUT,
        env={**os.environ, "PATH": f"{remote_shell}:{os.environ['PATH']}", "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    scratch = jobs.scratch(out, process)
    took_steps = jobs.wait_for_step(scratch, 1, lambda: process.poll() is None)
    hosts = [json.loads((scratch / f"rank.{rank}.json").read_text())["host"] for rank in (0, 1)] if took_steps else []
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert hosts == [HERE[0], THERE[0]]
    assert bundle.load(out).facts["metrics"]["world_size"] == 2


OTHER = Ranks(processes=2, hosts="localhost:1,192.0.2.1:1")  # an address that is nobody's (RFC 5737)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's directory."""
    JOB.write(tmp_path)
    OTHER.write(tmp_path)
    return tmp_path


def answers(body: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an `ssh` on PATH that does `body`, with the remote command as $*."""
    take = "while [ $1 = -o ]; do shift 2; done; shift"
    ssh = script(directory / "bin" / "ssh", f"#!/bin/sh\n{take}\n{body}\n")
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)


def test_a_host_that_answers_as_this_one_does_is_let_through(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    answers('echo "Welcome to other"; exec sh -c "$*"', job, monkeypatch)
    hosts.check(job, OTHER, JOB)


@pytest.mark.parametrize(
    ("body", "found", "fix"),
    [
        ("echo 'Permission denied (publickey).' >&2; exit 255", "Permission denied", "ssh-copy-id 192.0.2.1"),
        ("echo 'sh: python: not found' >&2; exit 127", "sh: python: not found", "ssh 192.0.2.1 'cd .* && make setup'"),
        ('echo "{}"', "not there", "ssh 192.0.2.1 'cd .* && make setup'"),
    ],
    ids=["no key", "no set-up", "another set-up"],
)
def test_a_host_that_cannot_take_part_is_named_with_what_it_said_and_the_remedy(
    body: str, found: str, fix: str, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(body, job, monkeypatch)
    with pytest.raises(ToolError) as refused:
        hosts.check(job, OTHER, JOB)
    assert refused.value.where == "192.0.2.1"
    assert found in refused.value.found
    assert re.search(fix, refused.value.fix)


def test_a_directory_that_the_other_host_does_not_have_wants_a_shared_file_system(job: Path, tmp_path: Path) -> None:
    here = hosts.facts(job)
    (tmp_path / "job.json").unlink()
    there = dict(zip(here, hosts.facts(job).values(), strict=True))
    with pytest.raises(ToolError, match="the run's directory") as refused:
        hosts.refuse_difference("other", here, there, JOB)
    assert "file system that all hosts share" in refused.value.fix


def test_other_code_on_the_other_host_wants_the_same_commit(job: Path) -> None:
    here = hosts.facts(job)
    there = {what: f"{value}0" if value.startswith("sha256") else value for what, value in here.items()}
    with pytest.raises(ToolError, match="the same commit on other"):
        hosts.refuse_difference("other", here, there, JOB)


@pytest.mark.parametrize(("said", "there"), [('hello\n{"a": "b"}\nbye', {"a": "b"}), ("", None), ("[]\n", None)])
def test_an_answer_is_found_among_what_a_shell_says_or_refused(said: str, there: dict[str, str] | None) -> None:
    answer = subprocess.CompletedProcess([], 0, said, "")
    if there is not None:
        assert hosts._read("b", answer, JOB) == there
        return
    with pytest.raises(ToolError, match="host b does not answer"):
        hosts._read("b", answer, JOB)


def test_a_host_with_nccl_wants_it_here_too(job: Path) -> None:
    here = hosts.facts(job)
    there = {what: value.replace("operations none", "operations NCCL") for what, value in here.items()}
    with pytest.raises(ToolError) as refused:
        hosts.refuse_difference("other", here, there, JOB)
    assert refused.value.fix.startswith("here: HOROVOD_GPU_OPERATIONS=NCCL make setup")


def test_an_interface_that_a_host_does_not_have_is_refused_with_those_it_has(job: Path) -> None:
    alone = Ranks(processes=1, hosts="localhost:1", network_interfaces="nowhere0")
    alone.write(job)
    with pytest.raises(ToolError, match="network interface nowhere0") as refused:
        hosts.check(job, alone, JOB)
    assert "lo" in refused.value.found
