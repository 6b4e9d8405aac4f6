"""Serves a repository that nothing was compared for, such as tiny_repository's, as `slipway serve`.

python -m tests.support.serving.unproven RUN PORT
"""

from __future__ import annotations

import sys
from pathlib import Path

from serving import commands
from serving.front import config
from slipway import errors
from slipway.contract.records import Ports


def main() -> int:
    run, port = Path(sys.argv[1]), int(sys.argv[2])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return commands.keep_serving(run / "model_repository", run, Ports(port, port + 1, port + 2), limits=config.limits())


if __name__ == "__main__":
    errors.run(main)
