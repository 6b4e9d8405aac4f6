from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import models
from benchmarks.export import right_models
from export.graph import canonical
from export.graph.bert import Bert
from slipway.contract.bundle import NOT_ASKED
from slipway.contract.ragged import Ragged
from slipway.errors import ConversionError

RANDOM = np.random.default_rng(0)
TEXTS = Ragged.of([2, *RANDOM.integers(10, 128, length), 3] for length in RANDOM.integers(1, 20, 300))


@pytest.fixture(scope="module")
def bert() -> Bert:
    return models.make("tiny")


def test_a_mixed_text_has_a_first_and_a_last_piece_and_no_more_tokens_than_the_model_reads() -> None:
    rows = right_models.mixed(TEXTS, 50, longest=16)
    assert {(row[0], row[-1]) for row in map(rows.__getitem__, range(50))} == {(2, 3)}
    assert rows.lengths.max() == 16


def test_mixed_texts_are_the_same_each_time() -> None:
    first, second = (right_models.mixed(TEXTS, 20, longest=16) for _ in range(2))
    np.testing.assert_array_equal(first.ids, second.ids)


def test_the_features_times_a_head_are_the_graphs_logits(bert: Bert) -> None:
    known = right_models.features(bert, TEXTS)
    expected = right_models.answers(bert, TEXTS)
    np.testing.assert_allclose(known @ bert.classifier.kernel + bert.classifier.bias, expected, atol=1e-6)


def test_a_taggers_features_are_of_tokens(bert: Bert) -> None:
    assert right_models.features(replace(bert, pooler=None), TEXTS).shape == (len(TEXTS.ids), bert.hidden)


def test_a_fitted_head_answers_what_it_was_fitted_to() -> None:
    labels = RANDOM.integers(0, 4, 900)
    known = (np.eye(4)[labels] + RANDOM.normal(0, 0.1, (900, 4))).astype(np.float32)
    kernel = right_models.fit(known, labels)
    answers = (known @ kernel[:-1] + kernel[-1]).argmax(axis=1)
    assert (answers == labels).mean() > 0.99


def test_a_head_is_not_fitted_to_answers_without_a_label() -> None:
    labels = np.repeat([0, 1, NOT_ASKED], 100)
    known = np.eye(3, dtype=np.float32)[[0] * 100 + [1] * 100 + [0] * 100]
    kernel = right_models.fit(known, labels)
    assert kernel.shape == (4, 2)
    assert np.ptp((known @ kernel[:-1] + kernel[-1])[:200].argmax(axis=1)) == 1


def test_the_unbalanced_head_has_texts_of_80_15_and_5_percent(bert: Bert) -> None:
    labels = np.arange(4000) % 4
    pooled = RANDOM.normal(0, 0.1, (4000, bert.hidden)).astype(np.float32)
    pooled[np.arange(4000), labels] += 10
    kernel = np.zeros((bert.hidden + 1, 4), np.float32)
    kernel[:4] = np.eye(4)
    rows = Ragged.of([[2, 10 + number % 100, 3] for number in range(4000)])
    made = {head.name: head for head in right_models.heads(right_models.with_head(bert, kernel), rows, pooled)}
    used = made["3 labels of 80, 15 and 5 %"].labels
    assert np.bincount(used[used >= 0]) / (used >= 0).sum() == pytest.approx([0.8, 0.15, 0.05], abs=0.03)


def test_a_graph_that_is_no_classifier_is_refused(bert: Bert, tmp_path: Path) -> None:
    onnx.save(canonical.write(replace(bert, pooler=None)), tmp_path / "model.onnx")
    with pytest.raises(ConversionError, match="heads are put on a BERT classifier"):
        right_models.encoder(tmp_path / "model.onnx")
