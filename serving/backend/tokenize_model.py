"""Triton Python model: text in, ids out, for an engine of Triton's own. Copied as model.py; its directory holds all it needs but
numpy and tokenizers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE))

import inputs
import labels
import numpy as np
import texts
import triton_python_backend_utils as pb
from inputs import Refused
from journal import Journal
from tokenizer import Tokenizer, Tokens


class TritonPythonModel:
    """What text_model.py takes → what the engine takes, truncated, tokens, and of a tagger `first_pieces` (labels.py).

    A request's rows are padded with 0 to its longest, or to the next of the engine's `widths`, where it has some: requests of
    equal width are what an engine without ragged batches can batch. Which of ids, mask and types are made, settings.json says.
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        settings = json.loads((_HERE / "settings.json").read_text("utf-8"))
        self._task, self._inputs, self._widths = settings["task"], settings["engine_inputs"], settings["widths"]
        self._tokenize = Tokenizer(
            _HERE / "vocab.txt",
            lower_case=settings["lower_case"],
            max_seq_len=settings["max_seq_len"],
            expected_sha256=settings["vocabulary_sha256"],
        )
        self._journal = Journal(arguments["model_name"], arguments["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Tokenize a batch of requests. A bad text fails its own request and no other."""
        return self._journal.answers(requests, self._responses)

    def _responses(self, requests: list[Any], names: list[str]) -> list[Any]:
        responses = []
        for request, name in zip(requests, names, strict=True):
            found = inputs.read(request, self._of_request)
            if isinstance(found, Refused):
                responses.append(self._journal.refusal(name, str(found)))
            else:
                responses.append(pb.InferenceResponse([pb.Tensor(tensor, values) for tensor, values in found.items()]))
        return responses

    def _of_request(self, request: Any) -> dict[str, np.ndarray]:
        """Output name → values [texts, …]. Raises Refused."""
        given, tagging = texts.read(request, self._task), self._task == "tagging"
        rows = self._tokenize.of_words(given) if tagging else self._tokenize(given)
        texts.check_read(rows, self._task)
        made = self._arrays(rows)
        found = {name: made[name] for name in self._inputs}
        found["truncated"] = np.array([[row.truncated] for row in rows])
        found["tokens"] = np.array([[len(row.ids)] for row in rows], np.int32)
        if tagging:
            pairs = zip(rows, given, strict=True)
            found["first_pieces"] = np.stack([labels.first_pieces(row.words, len(words)) for row, words in pairs])
        return found

    def _arrays(self, rows: list[Tokens]) -> dict[str, np.ndarray]:
        """Ids, mask and types, int32 [texts, width]."""
        longest = max(len(row.ids) for row in rows)
        width = next((one for one in self._widths if one >= longest), longest)
        shape = (len(rows), width)
        ids, mask, types = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for at, row in enumerate(rows):
            ids[at, : len(row.ids)], types[at, : len(row.ids)], mask[at, : len(row.ids)] = row.ids, row.types, 1
        return {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types}
