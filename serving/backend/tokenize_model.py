"""Triton Python model: text in, ids out, for an engine of Triton's own.

Copied as model.py; its directory holds all it needs but numpy and tokenizers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import inputs
import numpy as np
import outputs
import tokenizers
from outputs import Outputs, Refusal, ServedModel
from tokenizer import Tokens


class TritonPythonModel(ServedModel):
    """Inputs of text_model.py → the engine's inputs, truncated, tokens; tagger: first_pieces too.

    A request's rows are padded with 0 to its longest, or to the next of the settings' `widths` if
    there are any: an engine without ragged batches can put requests of equal width together.
    `engine_inputs` says which of ids, mask and types are made.
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        super().initialize(arguments)
        self._task = self.settings["task"]
        self._tokenize = inputs.tokenizer(self.settings)
        proven, here = self.settings["proven_on"]["tokenizers"], tokenizers.__version__
        if proven and here != proven:  # what counts are the ids
            self._log("warning", f"tokenizers {here}, not {proven}: taken, because the start-up texts have the bundle's ids", [])

    def answers(self, requests: list[Any]) -> list[Outputs | Refusal]:
        return outputs.of_each(self._answer, requests)

    def _answer(self, request: Any) -> Outputs | Refusal:
        """Return the outputs, [texts, …] each."""
        texts = inputs.texts(request, self._task)
        if isinstance(texts, Refusal):
            return texts
        rows = self._tokenize(texts)
        if refusal := inputs.unread(rows, self._task):
            return refusal
        answer = self._engine_inputs(rows)
        answer["truncated"] = np.array([[row.truncated] for row in rows])
        answer["tokens"] = np.array([[len(row.ids)] for row in rows], np.int32)
        if self._task == "tagging":
            sentences = zip(rows, texts, strict=True)
            answer["first_pieces"] = np.stack([outputs.first_pieces(row.words, len(words)) for row, words in sentences])
        return answer

    def _engine_inputs(self, rows: list[Tokens]) -> Outputs:
        """Return ids, mask and types, int32 [texts, width], those of them that the engine takes."""
        longest = max(len(row.ids) for row in rows)
        width = next((width for width in self.settings["widths"] if width >= longest), longest)
        ids, mask, types = np.zeros((3, len(rows), width), np.int32)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)], types[i, : len(row.ids)], mask[i, : len(row.ids)] = row.ids, row.types, 1
        arrays = {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types}
        return {name: arrays[name] for name in self.settings["engine_inputs"]}
