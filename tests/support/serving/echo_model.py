"""A text_classifier without a model behind it, for tests of clients: the label is the text,
`tokens` its bytes.

Refuses an empty text as the real one does. "slow" is answered after five seconds, or given up when
its request is cancelled; "cancelled" has as `tokens` how many were.
"""

import time

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, arguments):
        self._cancelled = 0

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        texts = [text for [text] in pb.get_input_tensor_by_name(request, "text").as_numpy()]
        if b"" in texts:
            return pb.InferenceResponse(error=pb.TritonError(f"text {texts.index(b'')} is empty", pb.TritonError.INVALID_ARG))
        if b"slow" in texts:
            self._wait(request)
        tokens = [self._cancelled if text == b"cancelled" else len(text) for text in texts]
        outputs = {
            "label": np.array(texts, object)[:, None],
            "probability": np.full((len(texts), 1), 0.5, np.float32),
            "logits": np.array([[len(text), -1] for text in texts], np.float32),
            "truncated": np.zeros((len(texts), 1), bool),
            "tokens": np.array(tokens, np.int32)[:, None],
        }
        return pb.InferenceResponse([pb.Tensor(name, values) for name, values in outputs.items()])

    def _wait(self, request):
        for _ in range(500):
            if request.is_cancelled():
                self._cancelled += 1
                return
            time.sleep(0.01)
