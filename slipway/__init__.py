"""Slipway's package: the contract between the stages, the Triton client, the linter and the command
line.

Reads and writes: bundles, artifacts and records of a run (`contract`); a Triton server (`client`);
a repository (`lint`). `import slipway` loads none of them before they are used, and no framework.

    with slipway.Client("127.0.0.1:8000") as client:
        print(client.classify(["Oil prices fall as OPEC raises output"])[0].label)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.client.client import AsyncClient, Client
    from slipway.client.tensors import Classification, Tagging
    from slipway.client.transport import Options, RequestRefused, Tls, Unavailable
    from slipway.errors import ServerError, SlipwayError
    from slipway.lint.linter import lint
    from slipway.lint.models import Finding

_PLACES = {
    "AsyncClient": "slipway.client.client",
    "Classification": "slipway.client.tensors",
    "Client": "slipway.client.client",
    "Finding": "slipway.lint.models",
    "Options": "slipway.client.transport",
    "RequestRefused": "slipway.client.transport",
    "ServerError": "slipway.errors",
    "SlipwayError": "slipway.errors",
    "Tagging": "slipway.client.tensors",
    "Tls": "slipway.client.transport",
    "Unavailable": "slipway.client.transport",
    "lint": "slipway.lint.linter",
}
__all__ = [
    "AsyncClient",
    "Classification",
    "Client",
    "Finding",
    "Options",
    "RequestRefused",
    "ServerError",
    "SlipwayError",
    "Tagging",
    "Tls",
    "Unavailable",
    "lint",
]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'slipway' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
