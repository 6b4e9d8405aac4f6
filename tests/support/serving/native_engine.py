"""What Triton's ONNX Runtime backend does with ragged inputs, as a Python model, for the embedded
Triton that lacks that backend.

As the backend's own source has it: the rows of all requests are joined into one, BATCH_ITEM_SHAPE
gives the length of each row, and of the answer each request gets as many rows as it sent. How many
requests came in one batch is told on stderr.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, arguments):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")), options)
        self._inputs = [one["name"] for one in json.loads(arguments["model_config"])["input"]]

    def execute(self, requests):
        given = {name: [pb.get_input_tensor_by_name(one, name).as_numpy() for one in requests] for name in self._inputs}
        shapes = [values.shape for values in given[self._inputs[0]]]
        os.write(sys.stderr.fileno(), f"\nrows of one batch: {shapes}\n".encode())
        feed = {name: np.concatenate([one.reshape(-1) for one in values]) for name, values in given.items()}
        feed["row_lengths"] = np.concatenate([np.full((rows, 1), length, np.int32) for rows, length in shapes])
        logits = self._session.run(None, feed)[0]
        ends = np.cumsum([rows for rows, _ in shapes])
        return [pb.InferenceResponse([pb.Tensor("logits", part)]) for part in np.split(logits, ends[:-1])]
