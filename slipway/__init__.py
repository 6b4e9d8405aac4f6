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
    "slipway.client.client": ("AsyncClient", "Client"),
    "slipway.client.tensors": ("Classification", "Tagging"),
    "slipway.client.transport": ("Options", "RequestRefused", "Tls", "Unavailable"),
    "slipway.errors": ("ServerError", "SlipwayError"),
    "slipway.lint.linter": ("lint",),
    "slipway.lint.models": ("Finding",),
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
    for place, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(place), name)
    raise AttributeError(f"module 'slipway' has no attribute {name!r}")
