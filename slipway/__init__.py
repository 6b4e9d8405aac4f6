"""Slipway's package: the contract between the stages, the Triton client, the linter and the command line.

Reads and writes: bundles, artifacts and records of a run (`contract`); a Triton server (`client`); a repository (`lint`).
`import slipway` loads none of them before they are used, and no framework.

    with slipway.Client("127.0.0.1:8000") as client:
        print(client.classify(["Oil prices fall as OPEC raises output"])[0].label)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.client.client import AsyncClient, Classification, Client, RequestRefused, Tagging
    from slipway.errors import ServerError, SlipwayError
    from slipway.lint.linter import Finding, lint

_PLACES = {
    "Answer": "slipway.client.client",
    "AsyncClient": "slipway.client.client",
    "Client": "slipway.client.client",
    "Finding": "slipway.lint.linter",
    "ServerError": "slipway.errors",
    "SlipwayError": "slipway.errors",
    "lint": "slipway.lint.linter",
}
__all__ = ["Answer", "AsyncClient", "Client", "Finding", "ServerError", "SlipwayError", "lint"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'slipway' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
