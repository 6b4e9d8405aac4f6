"""Compare the live server's answers with the FP32 SavedModel's: same rows and limits as offline.

Starts the server on free ports, asks every model over HTTP and gRPC, writes served.json. Exits 1
when a limit is not held.

    slipway verify runs/demo
"""

from __future__ import annotations

import argparse

from serving import served_parity
from serving.served_parity import AskedModel
from serving.server import triton
from slipway import errors, provenance
from slipway.client import client
from slipway.contract import bundle, manifest
from slipway.contract.names import REPOSITORY, SERVED, TEXT_MODEL


def verify(arguments: argparse.Namespace) -> int:
    source = bundle.load(arguments.run / "bundle")
    golden = bundle.load_golden(source)
    repository = arguments.run / "model_repository"
    facts = manifest.read(repository, REPOSITORY, errors.command("build", arguments.run))
    models = [AskedModel(TEXT_MODEL, facts[TEXT_MODEL], TEXT_MODEL)]
    models += [AskedModel(name, name.removeprefix("bert_"), name) for name in facts["models"]]
    with triton.running(repository) as server:
        print(f"Triton ready in {server.ready_seconds:.1f} s; asking for {len(golden.texts)} golden rows", flush=True)
        checks = [
            served_parity.check(server.address(protocol), protocol, model, source, golden)
            for protocol in client.PROTOCOLS
            for model in models
        ]
    passed = all(check["passed"] for check in checks)
    record = {
        "passed": passed,
        "repository_sha256": manifest.sha256(repository / REPOSITORY),
        "ready_seconds": server.ready_seconds,
        "checks": checks,
        **provenance.record("tritonclient", "tokenizers", "onnxruntime", "numpy"),
    }
    manifest.write_json(arguments.run / SERVED, record)
    served_parity.show(checks)
    return 0 if passed else 1
