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
from serving.client import Options
from serving.records import REPOSITORY, SERVED, TEXT_MODEL
from train import bundle, errors, manifest, provenance, terminal
from train.bundle import Bundle, Golden
from train.ragged import unpadded

_BATCH = 32
_UNHURRIED = Options(deadline=3600)  # all golden rows are one call


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
        ask_texts = _ask_words if source.task == "tagging" else _ask_texts
        for protocol in client.PROTOCOLS:
            address = server.address(protocol)
            asked = ask_texts(address, protocol, source, golden)
            checks.append(_check(f"{TEXT_MODEL} ({variant})", variant, protocol, source, golden, asked))
            for model in models["models"]:
                asked = _ask_ids(address, protocol, model, source, golden)
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


# → logits of the answers that have a label, [rows, labels] or of a tagger [words, labels], and what else was wrong
Asked = Callable[[], tuple[NDArray[np.float32], list[str]]]


def _check(model: str, variant: str, protocol: str, source: Bundle, golden: Golden, ask: Asked) -> dict[str, Any]:
    started = time.monotonic()
    logits, wrong = ask()
    seconds = time.monotonic() - started
    asked = golden.asked
    measured = comparison.compare(golden.logits[asked], logits, golden.labels[asked], golden.lengths[asked], source.labels)
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
        with client.connect(address, protocol, _UNHURRIED) as connection:
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


def _ask_words(address: str, protocol: str, source: Bundle, golden: Golden) -> Asked:
    """Every golden sentence; besides the logits, the number of words tagged, the labels and the token count."""

    def ask() -> tuple[NDArray[np.float32], list[str]]:
        with client.connect(address, protocol, _UNHURRIED) as connection:
            answers = connection.tag(golden.texts)
        expected = np.bincount(golden.text_of[golden.asked], minlength=len(golden.texts)).tolist()
        logits, wrong = [], []
        for row, (answer, words, length) in enumerate(zip(answers, expected, golden.ids.lengths.tolist(), strict=True)):
            tagged = np.array([label != "" for label in answer.labels])
            found = answer.logits[tagged]
            labels = [source.labels[i] for i in found.argmax(axis=1)]
            if (len(found), answer.tokens) != (words, length) or labels != [label for label in answer.labels if label]:
                wrong.append(
                    f"row {row}: {len(found)} words, {answer.tokens} tokens, {answer.labels}; expected {words}, {length}, {labels}"
                )
            logits.append(found if len(found) == words else np.full((words, len(source.labels)), np.nan, np.float32))
        return np.concatenate(logits), wrong

    return ask


def _ask_ids(address: str, protocol: str, model: str, source: Bundle, golden: Golden) -> Asked:
    """Every golden row's ids, in batches padded as a client would pad them."""

    def ask() -> tuple[NDArray[np.float32], list[str]]:
        parts = []
        with client.connect(address, protocol) as connection:
            for start in range(0, len(golden.ids), _BATCH):
                feed = golden.ids.take(np.arange(start, min(start + _BATCH, len(golden.ids)))).padded()
                types = feed["input_type_ids"] if source.task == "text_pair" else None
                parts.append(unpadded(connection.logits(model, feed["input_word_ids"], types), feed))
        return np.concatenate(parts)[golden.asked], []

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
