"""Triton's classification of logits names the labels of the version that answers, also after a
switch to a version with others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from google.protobuf import json_format
from numpy.typing import NDArray

from serving.registry import versions
from serving.server import control, triton
from serving.server.triton import Server
from slipway.client.transport import PROTOCOLS
from slipway.contract import manifest
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from tests.support.serving import word_runs

pytestmark = pytest.mark.slow  # it starts a server
OF_VERSION = {1: word_runs.LABELS, 2: ("Börse: Kurse", '"Sport"\\', "世界")}
TEXTS = [" ".join(word_runs.WORDS[:4]), " ".join(word_runs.WORDS[1:12:3])]
_APIS = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@pytest.fixture(scope="module")
def server(word_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two versions of text_classifier, whose labels are OF_VERSION; the first is active."""
    directory = tmp_path_factory.mktemp("label_names")
    model = directory / "model_repository" / TEXT_MODEL
    for number, labels in OF_VERSION.items():
        compiled = directory / str(number)
        shutil.copytree(word_run / "model_repository" / TEXT_MODEL, compiled)
        settings = json.loads((compiled / "1" / "settings.json").read_text())
        manifest.write_json(compiled / "1" / "settings.json", {**settings, "labels": labels})
        (compiled / "1" / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
        versions.add(compiled, model, number)
    versions.activate(model, 1)
    manifest.seal(model.parent, REPOSITORY, {})
    with triton.running(model.parent) as running:
        yield running


def asked(server: Server, protocol: str, most: int) -> tuple[list[list[str]], NDArray[np.float32]]:
    """Return the `most` best labels of each of TEXTS as Triton ranks them, and the logits."""
    api = _APIS[protocol]
    text = api.InferInput("text", [len(TEXTS), 1], "BYTES")
    text.set_data_from_numpy(np.array([[text] for text in TEXTS], object))
    with api.InferenceServerClient(server.address(protocol)) as client:
        ranked = client.infer(TEXT_MODEL, [text], outputs=[api.InferRequestedOutput("logits", class_count=most)])
        plain = client.infer(TEXT_MODEL, [text], outputs=[api.InferRequestedOutput("logits")])
        return [[entry.decode() for entry in row] for row in ranked.as_numpy("logits")], plain.as_numpy("logits")


def check(server: Server, protocol: str, number: int, most: int) -> None:
    """Compare both with each other, and with the labels of a version."""
    ranked, logits = asked(server, protocol, most)
    for row, values in zip(ranked, logits, strict=True):
        best = [int(index) for index in np.argsort(-values)[:most]]
        assert [entry.split(":", 2)[1:] for entry in row] == [[str(index), OF_VERSION[number][index]] for index in best]
        assert [float(entry.split(":")[0]) for entry in row] == pytest.approx(values[best].tolist(), abs=1e-5)


def switch(server: Server, number: int) -> None:
    """Serve a version as the registry does: its config goes with the request."""
    config = versions.config(server.repository / TEXT_MODEL, number)
    as_json = json_format.MessageToJson(config, preserving_proto_field_name=True)
    control.load(server.grpc, server.key, TEXT_MODEL, within=10, config=as_json)


@pytest.mark.parametrize("most", [2, 3])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_best_labels_are_named_in_the_order_of_the_logits(server: Server, protocol: str, most: int) -> None:
    check(server, protocol, 1, most)


def test_after_a_switch_the_names_are_the_other_versions_and_after_one_back_the_firsts(server: Server) -> None:
    for number in (2, 1):
        switch(server, number)
        for protocol in PROTOCOLS:
            check(server, protocol, number, most=3)
