"""Compare the live server's answers with the FP32 SavedModel's: the same golden rows, comparison and limits as offline.

Starts the server on free ports, asks every model over HTTP and gRPC, writes served.json. Exits 1 when a limit is not held.

    python -m serving.verify_served --run runs/demo
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export import comparison
from export.variants import VARIANTS
from serving import client, triton
from serving.records import REPOSITORY, SERVED, TEXT_MODEL
from train import bundle, errors, manifest, provenance, terminal
from train.bundle import Bundle, Golden

_BATCH = 32


def main() -> int:
    arguments = _parse()
    source = bundle.load(arguments.run / "bundle")
    golden = bundle.load_golden(source)
    repository = arguments.run / "model_repository"
    models = manifest.read(repository, REPOSITORY, f"make repository RUN={arguments.run}")
    with triton.running(repository) as server:
        print(f"Triton ready in {server.ready_seconds:.1f} s; asking for {len(golden.texts)} golden rows", flush=True)
        variant = models[TEXT_MODEL]
        checks = []
        for protocol in client.PROTOCOLS:
            address = server.http if protocol == "http" else server.grpc
            asked = _ask_texts(address, protocol, source, golden)
            checks.append(_check(f"{TEXT_MODEL} ({variant})", variant, protocol, source, golden, asked))
            for model in models["models"]:
                asked = _ask_ids(address, protocol, model, golden)
                checks.append(_check(model, model.removeprefix("bert_"), protocol, source, golden, asked))
    passed = all(check["passed"] for check in checks)
    record = {
        "passed": passed,
        "repository_sha256": manifest.sha256(repository / REPOSITORY),
        "ready_seconds": server.ready_seconds,
        "checks": checks,
        **provenance.record("tritonclient", "tokenizers", "onnxruntime", "numpy"),
    }
    manifest.write_json(arguments.run / SERVED, record)
    _show(checks)
    return 0 if passed else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    return parser.parse_args()


Asked = Callable[[], tuple[NDArray[np.float32], list[str]]]  # → logits [rows, labels], and what else was wrong


def _check(model: str, variant: str, protocol: str, source: Bundle, golden: Golden, ask: Asked) -> dict[str, Any]:
    started = time.monotonic()
    logits, wrong = ask()
    seconds = time.monotonic() - started
    measured = comparison.compare(golden.logits, logits, golden.labels, golden.ids.lengths, source.labels)
    failures = comparison.judge(measured, VARIANTS[variant].limits)
    return {
        "model": model,
        "variant": variant,
        "protocol": protocol,
        "passed": not failures and not wrong,
        "failures": failures,
        "wrong_answers": wrong,
        "texts_per_second": len(golden.texts) / seconds,
        **measured,
    }


def _ask_texts(address: str, protocol: str, source: Bundle, golden: Golden) -> Asked:
    """Every golden text; besides the logits, the label and the token count have to be the expected ones."""

    def ask() -> tuple[NDArray[np.float32], list[str]]:
        with client.connect(address, protocol) as connection:
            answers = connection.classify(golden.texts)
        logits = np.array([answer.logits for answer in answers], np.float32)
        labels = [source.labels[i] for i in logits.argmax(axis=1)]
        lengths = golden.ids.lengths.tolist()
        wrong = [
            f"row {row}: label {answer.label}, {answer.tokens} tokens; expected {label}, {length}"
            for row, (answer, label, length) in enumerate(zip(answers, labels, lengths, strict=True))
            if (answer.label, answer.tokens) != (label, length)
        ]
        return logits, wrong

    return ask


def _ask_ids(address: str, protocol: str, model: str, golden: Golden) -> Asked:
    """Every golden row's ids, in batches padded as a client would pad them."""

    def ask() -> tuple[NDArray[np.float32], list[str]]:
        parts = []
        with client.connect(address, protocol) as connection:
            for start in range(0, len(golden.ids), _BATCH):
                rows = golden.ids.take(np.arange(start, min(start + _BATCH, len(golden.ids))))
                parts.append(connection.logits(model, rows.padded()["input_word_ids"]))
        return np.concatenate(parts), []

    return ask


def _show(checks: list[dict[str, Any]]) -> None:
    columns = ("model", "over", "flips", "accuracy", "loss <", "texts/s", "verdict")
    table = terminal.table("Parity of the live server with the FP32 SavedModel", *columns, left=("model", "over", "verdict"))
    for check in checks:
        table.add_row(
            check["model"],
            check["protocol"],
            f"{check['flips']}/{check['rows']}",
            f"{check['accuracy']:.2%}",
            f"{check['accuracy_loss_bound']:.2%}",
            f"{check['texts_per_second']:.0f}",
            terminal.verdict(check["passed"]),
        )
    terminal.console().print(table)
    for check in checks:
        for failure in check["failures"]:
            print(f"{check['model']}: {failure['what']} is {failure['would_pass']:.4g}, limit {failure['limit']:.4g}")
        for wrong in check["wrong_answers"][:5]:
            print(f"{check['model']}: {wrong}")


if __name__ == "__main__":
    errors.run(main)
