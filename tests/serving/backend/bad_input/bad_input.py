"""A request that a server should refuse, as data: how it is sent, and what comes back. Rows:
bad_requests, bad_http, bad_grpc.
"""

from __future__ import annotations

import http.client
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from serving.server.triton import Server
from slipway.contract.records import HOST, TEXT_MODEL

NO_ANSWER = "none"  # as status: it never comes
_SECONDS = 60  # for an answer; the longest take one
_STATUS = {"200": "OK", "400": "INVALID_ARGUMENT", "404": "NOT_FOUND", "500": "INTERNAL", NO_ANSWER: "DEADLINE_EXCEEDED"}
Reply = tuple[str, str]  # status, and the error's message or what was answered
Send = Callable[[Server], Reply]


@dataclass(frozen=True)
class Input:
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: tuple[Any, ...] = ()
    raw: bytes | None = None  # sent as it is, instead of the data

    @property
    def packed(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return np.array(self.data, np.int32).tobytes() if self.datatype == "INT32" else strings(*self.data)


@dataclass(frozen=True)
class Ask:
    """An inference request that both protocols can send."""

    inputs: tuple[Input, ...]
    model: str = TEXT_MODEL
    version: str = ""
    outputs: tuple[str, ...] = ()
    parameters: tuple[tuple[str, Any], ...] = ()

    @property
    def path(self) -> str:
        return f"/v2/models/{self.model}" + (f"/versions/{self.version}" if self.version else "") + "/infer"

    def body(self) -> tuple[bytes, dict[str, str]]:
        """HTTP's body and headers: JSON, with the binary extension where an input is raw."""
        inputs: list[dict[str, Any]] = []
        for tensor in self.inputs:
            inputs.append({"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype})
            as_json = tensor.raw is None
            inputs[-1] |= {"data": tensor.data} if as_json else {"parameters": {"binary_data_size": len(tensor.packed)}}
        outputs = [{"name": name} for name in self.outputs]
        head = json.dumps({"inputs": inputs, "outputs": outputs, "parameters": dict(self.parameters)})
        raw = b"".join(tensor.raw for tensor in self.inputs if tensor.raw is not None)
        binary = any(tensor.raw is not None for tensor in self.inputs)
        return head.encode() + raw, {"Inference-Header-Content-Length": str(len(head))} if binary else {}

    def message(self) -> pb.ModelInferRequest:
        request = pb.ModelInferRequest(model_name=self.model, model_version=self.version)
        for tensor in self.inputs:
            request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            request.raw_input_contents.append(tensor.packed)
        for name in self.outputs:
            request.outputs.add(name=name)
        for name, value in self.parameters:
            setattr(request.parameters[name], f"{'string' if isinstance(value, str) else 'int64'}_param", value)
        return request


@dataclass(frozen=True)
class Case:
    what: str
    protocol: str  # http, grpc
    send: Send
    status: str
    message: str  # … stands for anything


def over_http(
    path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, method: str = "POST", wait: float = _SECONDS
) -> Send:
    def send(server: Server) -> Reply:
        connection = http.client.HTTPConnection(HOST, server.ports.http, timeout=wait)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return str(answer.status), _said_over_http(answer.read())
        except TimeoutError:
            return NO_ANSWER, ""
        finally:
            connection.close()

    return send


def over_grpc(request: Any, method: str = "ModelInfer", wait: float = _SECONDS) -> Send:
    """`request` is a protobuf message, or bytes that are none."""

    def send(server: Server) -> Reply:
        unlimited = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"{HOST}:{server.ports.grpc}", unlimited) as channel:
            call = getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), method, None)
            if call is None or isinstance(request, bytes):
                call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            try:
                return "OK", _said_over_grpc(call(request, timeout=wait))
            except grpc.RpcError as error:
                return error.code().name, "" if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED else str(error.details())

    return send


def both(what: str, ask: Ask, status: str, message: str, wait: float = _SECONDS) -> list[Case]:
    """The cases of both protocols, where they answer alike; `status` is HTTP's. What is sent may be
    large, and is made then.
    """
    return [
        Case(what, "http", lambda server: over_http(ask.path, *ask.body(), wait=wait)(server), status, message),
        Case(what, "grpc", lambda server: over_grpc(ask.message(), wait=wait)(server), _STATUS[status], message),
    ]


def strings(*texts: str | bytes) -> bytes:
    """BYTES as they travel: each after its length."""
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def fits(message: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), message, re.DOTALL) is not None


def _said_over_http(body: bytes) -> str:
    """An error's message; of an answer its outputs, or the body where it is neither."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
    if "error" in answer:
        return str(answer["error"])
    outputs = {output["name"]: output["data"] for output in answer.get("outputs", [])}
    return _listed(outputs) if "outputs" in answer else json.dumps(answer)


def _said_over_grpc(response: Any) -> str:
    if not isinstance(response, pb.ModelInferResponse):
        return str(response)
    of_type = {"FP32": np.float32, "INT32": np.int32, "BOOL": bool}
    outputs = {
        output.name: _unpacked(raw) if output.datatype == "BYTES" else np.frombuffer(raw, of_type[output.datatype]).tolist()
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }
    return _listed(outputs)


def _unpacked(raw: bytes) -> list[str]:
    def texts() -> Iterator[str]:
        at = 0
        while at < len(raw):
            (size,) = struct.unpack_from("<I", raw, at)
            yield raw[at + 4 : at + 4 + size].decode()
            at += 4 + size

    return list(texts())


def _listed(outputs: Mapping[str, list[Any]]) -> str:
    """label yes, tokens 4, truncated false; where there is no label, the logits."""
    wanted = ("label", "truncated", "tokens") if "label" in outputs else ("logits",)
    shown = {name: [json.dumps(value).strip('"') for value in outputs[name]] for name in wanted if name in outputs}
    return ", ".join(" ".join([name, *values]) for name, values in shown.items())
