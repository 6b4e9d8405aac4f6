"""Models that were not trained here, by the commands of `slipway import`: every head, known
structure and unknown.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from serving.server import triton
from slipway.client.client import Client
from slipway.contract import bundle
from slipway.contract.parity.probabilities import softmax
from slipway.contract.ragged import INPUTS
from slipway.tensorflow import tf
from tests.support.command import slipway, slipway_output
from tests.support.models import hugging_face_models, small_models


def adopt(source: Path, run: Path, **other: object) -> CompletedProcess[str]:
    files = {"saved-model": source / "model", "vocab": source / "vocab.txt", "labels": source / "labels.txt"}
    files |= {"golden": next(source.glob("rows.*"))} | other
    return slipway("import", run, *(part for name, value in files.items() for part in (f"--{name}", value)))


@pytest.fixture(scope="module", params=["pairs", "tagger", "unknown"])
def adopted(request: pytest.FixtureRequest, adopted_run: Callable[[str], Path]) -> Path:
    """A run of the model, adopted and converted."""
    return adopted_run(request.param)


def record(run: Path, variant: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "artifacts" / variant / name).read_text())
    return found


def test_every_variant_of_every_task_passes(adopted: Path) -> None:
    for variant in ("onnx_fp32", "ort_fp32", "ort_int8", "onnx_fp16"):
        assert record(adopted, variant, "parity.json")["passed"], variant


def test_the_task_is_read_from_the_rows(adopted: Path) -> None:
    tasks = {"pairs": "text_pair", "tagger": "tagging", "unknown": "single_text"}
    source = bundle.load(adopted / "bundle")
    assert source.task == tasks[adopted.name]
    assert bundle.load_golden(source).ids.types.any() == (source.task == "text_pair")


def test_what_is_a_bert_is_recognised_and_fused_and_what_is_not_says_so(adopted: Path) -> None:
    how, fused = (record(adopted, variant, "artifact.json")["how"] for variant in ("onnx_fp32", "ort_fp32"))
    expected = {
        "pairs": ("canonical encoder, 2 layers, approximate GELU", "2 FastGelu"),
        "tagger": ("canonical encoder, 2 layers, exact GELU", "2 BiasGelu"),
        "unknown": ("tf2onnx's graph as it is: not recognised", "optimized by ONNX Runtime"),
    }
    assert expected[adopted.name][0] in how
    assert expected[adopted.name][1] in fused


def test_a_taggers_answers_are_compared_word_by_word(adopted: Path) -> None:
    golden = bundle.load_golden(bundle.load(adopted / "bundle"))
    parity = record(adopted, "ort_fp32", "parity.json")
    words = sum(len(text) for text in golden.texts)
    assert (parity["texts"], parity["rows"]) == (400, words if adopted.name == "tagger" else 400)


def test_the_wrong_vocabulary_answers_no_better_than_guessing_and_is_refused(foreign_models: Path, tmp_path: Path) -> None:
    lines = (foreign_models / "unknown/vocab.txt").read_text().splitlines()
    special, words = lines[:5], lines[5:]
    random.Random(0).shuffle(words)
    (tmp_path / "vocab.txt").write_text("\n".join(special + words))
    done = adopt(foreign_models / "unknown", tmp_path / "run", vocab=tmp_path / "vocab.txt")
    assert done.returncode == 7
    assert "no better than guessing" in done.stderr
    assert "--vocab" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_that_is_forgotten_is_asked_for(foreign_models: Path, tmp_path: Path) -> None:
    done = adopt(foreign_models / "pairs", tmp_path / "run", vocab=tmp_path)
    assert done.returncode == 7
    assert "--vocab" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_vocabulary_of_another_kind_is_refused(foreign_models: Path, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("<pad>\n<s>\n</s>\n")
    done = adopt(foreign_models / "pairs", tmp_path / "run", vocab=tmp_path / "vocab.txt")
    assert done.returncode == 7
    assert "the vocabulary is not a BERT's" in done.stderr


def test_a_vocabulary_longer_than_the_embedding_table_is_refused(foreign_models: Path, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text((foreign_models / "pairs/vocab.txt").read_text() + "more\nwords\n")
    done = adopt(foreign_models / "pairs", tmp_path / "run", vocab=tmp_path / "vocab.txt")
    assert done.returncode == 7
    assert "the rows of its embedding table" in done.stderr


def test_labels_in_another_order_than_the_logits_are_refused_by_name(foreign_models: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("B\nA\nC\n")
    done = adopt(foreign_models / "pairs", tmp_path / "run", labels=tmp_path / "labels.txt")
    assert done.returncode == 7
    assert "A is answered as B" in done.stderr


def test_too_few_rows_are_refused_before_anything_runs(foreign_models: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nba fe,0\nbo fu,1\n")
    done = adopt(foreign_models / "unknown", tmp_path / "run", golden=tmp_path / "rows.csv")
    assert done.returncode == 3
    assert "299 different rows" in done.stderr


def test_rows_that_are_one_row_many_times_are_too_few(foreign_models: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "ba fe,0\nbo fu,1\nka,1\nta,2\n" * 100)
    done = adopt(foreign_models / "unknown", tmp_path / "run", golden=tmp_path / "rows.csv")
    assert done.returncode == 3
    assert "4 different ones in 400 rows" in done.stderr


def test_a_model_that_was_saved_with_its_dropout_is_refused_for_that(foreign_models: Path, tmp_path: Path) -> None:
    done = adopt(foreign_models / "random", tmp_path / "run")
    assert done.returncode == 7
    assert "dropout or another random operation" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_taggers_sentences_need_tags(foreign_models: Path, tmp_path: Path) -> None:
    done = adopt(foreign_models / "tagger", tmp_path / "run", unlabelled=tmp_path / "texts.txt")
    assert done.returncode == 2
    assert "a tagger takes no texts without labels" in done.stderr


def test_word_pieces_that_the_model_has_no_row_for_are_found_also_where_its_table_is_not_known(
    foreign_models: Path, tmp_path: Path
) -> None:
    (tmp_path / "vocab.txt").write_text((foreign_models / "unknown/vocab.txt").read_text() + "more\nwords\n")
    done = adopt(foreign_models / "unknown", tmp_path / "run", vocab=tmp_path / "vocab.txt")
    assert done.returncode == 7
    assert "cannot answer every word piece" in done.stderr
    assert "not in [0, 126)" in done.stderr


@pytest.fixture(scope="module")
def half_labelled(foreign_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the unknown model, imported with labels for 250 of its 400 rows, and with texts
    without labels: the other 150, and 50 that have one.
    """
    here = tmp_path_factory.mktemp("half")
    lines = (foreign_models / "unknown/rows.csv").read_text().splitlines()[1:]
    (here / "rows.csv").write_text("\n".join(["text,label", *lines[:250]]) + "\n")
    (here / "texts.txt").write_text("\n".join(line.partition(",")[0] for line in lines[200:]) + "\n")
    done = adopt(foreign_models / "unknown", here / "run", golden=here / "rows.csv", unlabelled=here / "texts.txt")
    assert done.returncode == 0, done.stderr
    return here / "run"


def test_texts_without_labels_are_golden_rows_that_are_not_asked(half_labelled: Path) -> None:
    source = bundle.load(half_labelled / "bundle")
    golden = bundle.load_golden(source)
    assert (golden.asked.sum(), len(golden.ids)) == (250, 400)
    assert source.facts["metrics"]["test_rows"] == 250
    assert (source.facts["unlabelled"]["rows"], source.facts["unlabelled"]["left_out"]) == (150, 50)


def test_the_command_that_makes_a_bundle_again_names_its_texts_without_labels(half_labelled: Path) -> None:
    again = bundle.made_by(half_labelled, half_labelled / "bundle" / bundle.MANIFEST)
    assert f"--unlabelled {half_labelled.parent / 'texts.txt'}" in again


def test_the_reference_answers_every_word_piece_at_hand_over(half_labelled: Path) -> None:
    source = bundle.load(half_labelled / "bundle")
    probes = bundle.load_probes(source)
    pieces = source.vocabulary.read_text("utf-8").splitlines()
    assert {*range(1, len(pieces))} <= {*probes.ids.ids.tolist()}
    assert probes.logits.shape == (len(probes.ids), 3)
    assert np.isfinite(probes.logits).all()


def test_labels_that_do_not_fit_the_logits_are_refused(foreign_models: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("A\nB\nC\nD\n")
    done = adopt(foreign_models / "pairs", tmp_path / "run", labels=tmp_path / "labels.txt")
    assert done.returncode == 7
    assert "4 labels" in done.stderr


def test_a_model_with_a_file_that_no_saved_model_has_is_refused(foreign_models: Path, tmp_path: Path) -> None:
    shutil.copytree(foreign_models / "pairs", tmp_path / "pairs")
    (tmp_path / "pairs/model/setup.py").write_text("print('hello')")
    done = adopt(tmp_path / "pairs", tmp_path / "run")
    assert done.returncode == 7
    assert "model/setup.py" in done.stderr


def test_a_fine_tuned_hugging_face_directory_is_imported_without_pytorch(tmp_path: Path) -> None:
    """Its labels are its own answers, in NumPy."""
    tensors = hugging_face_models.weights("bert", tagger=False)
    settings = hugging_face_models.config("bert", "BertForSequenceClassification")
    path = hugging_face_models.write(tmp_path / "my model", settings, tensors)
    words = [f"w{number}" for number in range(hugging_face_models.PIECES - 4)]
    (path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]) + "\n")
    ids = np.array([[2, *row, 3] for row in np.random.default_rng(0).integers(4, hugging_face_models.PIECES, (400, 6))])
    feed = dict(zip(INPUTS, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
    labels = hugging_face_models.logits("bert", tensors, feed, tagger=False).argmax(axis=1)
    rows = [f"{' '.join(words[i - 4] for i in row[1:-1])},{'abc'[label]}" for row, label in zip(ids, labels, strict=True)]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    slipway_output("import", tmp_path / "run", "--saved-model", path, "--golden", tmp_path / "rows.csv")
    source = bundle.load(tmp_path / "run/bundle")
    assert (source.labels, source.facts["metrics"]["test_accuracy"]) == (["a", "b", "c"], 1.0)


WORDS = [f"w{number}" for number in range(small_models.PIECES - 4)]


def _bring(source: Path, finish: Any, columns: int) -> None:
    """A model of words that ends in `finish`, as a Hugging Face tree, and its labelled rows."""
    small_models.save(source / "saved_model/1", finish, labels=columns)
    (source / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]) + "\n")
    (source / "config.json").write_text(json.dumps({"id2label": dict(enumerate("abc"[: max(columns, 2)]))}))
    rows = np.random.default_rng(3).integers(4, small_models.PIECES, (400, 6))
    texts = [" ".join(WORDS[piece - 4] for piece in row) for row in rows]
    own = _own(texts, columns)
    (source / "rows.jsonl").write_text(
        "".join(json.dumps({"text": text, "label": "abc"[row.argmax()]}) + "\n" for text, row in zip(texts, own, strict=True))
    )


def _own(texts: list[str], columns: int) -> np.ndarray:
    """The model's own probabilities of texts of equally many words."""
    ids = np.array([[2, *(WORDS.index(word) + 4 for word in text.split()), 3] for text in texts], np.int32)
    logits = small_models.logits(
        {"input_word_ids": ids, "input_mask": np.ones_like(ids), "input_type_ids": np.zeros_like(ids)}, columns
    )
    return softmax((logits if columns > 1 else np.concatenate([0 * logits, logits], axis=1)).astype(np.float64))


@pytest.mark.parametrize(("end", "columns"), [("softmax", 3), ("sigmoid", 1)])
def test_a_served_probability_is_the_models_own(tmp_path: Path, end: str, columns: int) -> None:
    _bring(tmp_path / "my model", getattr(tf.nn, end), columns)
    run = tmp_path / "run"
    slipway_output("import", run, "--saved-model", tmp_path / "my model", "--golden", tmp_path / "my model/rows.jsonl")
    slipway("export", run, "--variant", "onnx_fp32")
    slipway_output("build", run)
    texts = [" ".join(WORDS[place : place + 5]) for place in range(20)]
    with triton.running(run / "model_repository") as server, Client(f"grpc://{server.grpc}") as connection:
        answers = connection.classify(texts)
    own = _own(texts, columns)
    np.testing.assert_allclose([answer.probability for answer in answers], own.max(axis=1), atol=1e-5)
    assert [answer.label for answer in answers] == ["abc"[best] for best in own.argmax(axis=1)]
