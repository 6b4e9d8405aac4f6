"""The process of the embedded Triton: its closed APIs, and the key that no command line shows.

Triton takes the key of a restricted API as an option, and every user of a machine can read every
command line. So the command line has a placeholder, and a small library that is loaded first
(setup/hidden_key.c) puts the key in its place, which it reads from a pipe.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from serving import control
from setup import tools
from train.errors import ToolError

_RESTRICTING = ("http-restricted-api", "grpc-restricted-protocol")
_PLACEHOLDER = "KEY-FROM-PIPE"  # as hidden_key.c has it


def start_process(options: list[str], key: str, closed: Sequence[str] = control.CLOSED) -> subprocess.Popen[bytes]:
    """Start tritonserver, its output on `stdout`; only the key opens the `closed` APIs.

    It ends in good order when the thread that started it has. Raises ToolError without Triton.
    """
    for part in (tools.TRITON_SERVER, tools.TRITON_KEY):
        if not part.exists():
            raise ToolError(
                "Triton is not there",
                expected="the server out of the nvidia-pytriton wheel, and the library that hands it its key",
                found="no such file",
                where=str(part),
                fix="make setup",
            )
    restricted = [f"--{option}={','.join(closed)}:{control.HEADER}={_PLACEHOLDER}" for option in _RESTRICTING]
    key_out, key_in = os.pipe()
    with os.fdopen(key_in, "w") as pipe:
        pipe.write(key)
    library = {"LD_PRELOAD": str(tools.TRITON_KEY), "SLIPWAY_KEY_PIPE": str(key_out)}
    try:
        return subprocess.Popen(
            [str(tools.TRITON_SERVER), *options, *restricted],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**tools.environment(tools.TRITON_LIBRARIES), **library},
            pass_fds=[key_out],
            start_new_session=True,  # Ctrl-C goes to us alone; we end the server in good order
        )
    finally:
        os.close(key_out)
