"""Which file of a directory is which split; what is refused, with the command that converts it."""

from __future__ import annotations

import json
import shlex
import subprocess
import tarfile
from pathlib import Path

import pytest

from slipway.contract import readers
from slipway.errors import CorpusError
from train.data.files import places


def directory_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).write_text("")
    return tmp_path


def found(place: Path) -> dict[str, str]:
    return {split: path.name for split, path in places.files(place, "--corpus", "slipway train runs/x").items()}


def refused(place: Path) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        places.files(place, "--corpus", "slipway train runs/x")
    return caught.value


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train.csv", "validation.csv", "test.csv"),
        ("train.tsv", "dev.tsv", "test.tsv"),
        ("train.txt", "valid.txt", "test.txt"),
        ("train.jsonl", "val.json", "test.conll"),
        ("snli_1.0_train.jsonl", "snli_1.0_dev.jsonl", "snli_1.0_test.jsonl"),
        ("NER-de-train.tsv", "NER-de-dev.tsv", "NER-de-test.tsv"),
        ("en-ud-train.conllu", "en-ud-dev.conllu", "en-ud-test.conllu"),
        ("train-00000-of-00001.jsonl", "validation-00000-of-00001.jsonl", "test-00000-of-00001.jsonl"),
        ("TRAIN.CSV", "dev.csv.gz", "test.csv.gz"),
        ("eng.train", "eng.testa", "eng.testb"),
        ("train.ft.txt", "valid.ft.txt", "test.ft.txt"),
    ],
)
def test_splits_are_told_by_the_names_that_publishers_give_them(tmp_path: Path, train: str, validation: str, test: str) -> None:
    directory_of(tmp_path, train, validation, test, "README.md", "classes.txt", "training_notes.pdf")
    assert found(tmp_path) == {"train": train, "validation": validation, "test": test}


@pytest.mark.parametrize(
    ("names", "split"),
    [(("train.csv", "dev-test.csv.gz"), "test"), (("train-dev.csv",), "train")],
)
def test_a_name_with_the_words_of_two_splits_is_refused_until_it_has_one(
    tmp_path: Path, names: tuple[str, ...], split: str
) -> None:
    error = refused(directory_of(tmp_path, *names))
    assert names[-1] in error.found
    subprocess.run(error.fix.partition(" && ")[0], shell=True, check=True)
    assert found(tmp_path)[split] == f"{split}{names[-1].lstrip('abcdefghijklmnopqrstuvwxyz-_')}"


def test_a_whole_name_counts_more_than_a_word_of_another(tmp_path: Path) -> None:
    assert found(directory_of(tmp_path, "train.csv", "train_small.csv")) == {"train": "train.csv"}


@pytest.mark.parametrize("names", [("dev.tsv", "validation.tsv"), ("dev_matched.tsv", "dev_mismatched.tsv")])
def test_two_files_for_one_split_are_refused_by_name(tmp_path: Path, names: tuple[str, str]) -> None:
    error = refused(directory_of(tmp_path, "train.tsv", *names))
    assert " beside ".join(names) in error.found
    subprocess.run(error.fix.rpartition(" && ")[0], shell=True, check=True)
    assert found(tmp_path) == {"train": "train.tsv", "validation": names[0]}


def test_one_file_is_for_training(tmp_path: Path) -> None:
    assert found(directory_of(tmp_path, "my test rows.csv.gz") / "my test rows.csv.gz") == {"train": "my test rows.csv.gz"}


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.zip", "rows.tar.gz", "rows.csv.xz"])
def test_what_is_no_text_is_refused_by_what_it_is_with_a_conversion_and_the_command(tmp_path: Path, name: str) -> None:
    error = refused(directory_of(tmp_path, name) / name)
    assert name.partition(".")[2].split(".")[-1] in error.found
    conversion, _, command = error.fix.rpartition(" && ")
    assert str(tmp_path / name) in shlex.split(conversion)
    assert command.startswith("slipway train runs/x --corpus ")


@pytest.mark.parametrize(
    ("content", "ending"), [("ham\tGo now\n", ".txt"), ('{"text": "a"}\n', ".jsonl"), ("text,label\na,b\n", ".csv")]
)
def test_a_text_without_an_ending_is_copied_under_the_one_of_its_form(tmp_path: Path, content: str, ending: str) -> None:
    (tmp_path / "SMS Spam").write_text(content)
    conversion, _, command = refused(tmp_path / "SMS Spam").fix.rpartition(" && ")
    subprocess.run(conversion, shell=True, check=True)
    assert shlex.split(command)[-1] == str(tmp_path / f"SMS Spam{ending}")
    assert found(tmp_path / f"SMS Spam{ending}") == {"train": f"SMS Spam{ending}"}


def saved(directory: Path, *names: str, **state: object) -> Path:
    """A dataset as `datasets` saves it: what says which files its rows are in, and these."""
    directory.mkdir(parents=True)
    (directory / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names], **state}))
    for name in names:
        (directory / name).write_bytes(b"")
    return directory


def test_a_saved_dataset_is_for_training_and_its_cache_is_not(tmp_path: Path) -> None:
    rows = saved(tmp_path / "rows", "data-00000-of-00002.arrow", "data-00001-of-00002.arrow")
    (rows / "cache-1a2b.arrow").write_bytes(b"")
    assert found(rows) == {"train": "data-00000-of-00002.arrow"}


def test_the_splits_of_a_saved_dataset_are_its_directories(tmp_path: Path) -> None:
    for split in ("train", "validation", "test", "unsupervised"):
        saved(tmp_path / split, "data-00000-of-00001.arrow")
    read = places.files(tmp_path, "--corpus", "slipway train runs/x")
    assert {split: path.parent.name for split, path in read.items()} == {
        "train": "train",
        "validation": "validation",
        "test": "test",
    }


def test_a_saved_dataset_whose_files_are_not_all_found_is_refused(tmp_path: Path) -> None:
    error = refused(saved(tmp_path / "rows", "part1.arrow", "part2.arrow"))
    assert error.found == "part1.arrow of part1.arrow, part2.arrow"


def test_a_missing_file_of_a_saved_dataset_is_named_with_the_place_for_it(tmp_path: Path) -> None:
    (saved(tmp_path / "my rows", "a-00000-of-00002.arrow", "a-00001-of-00002.arrow") / "a-00001-of-00002.arrow").unlink()
    error = refused(tmp_path / "my rows")
    assert error.found == "a-00001-of-00002.arrow of 2 files not there"
    assert error.fix == f"copy it to '{tmp_path}/my rows', then run: slipway train runs/x --corpus '{tmp_path}/my rows'"


@pytest.mark.parametrize(
    ("state", "value"), [({"_indices_files": [{"filename": "i.arrow"}]}, "another file"), ({"_data_files": []}, "IndexError")]
)
def test_a_saved_dataset_that_does_not_name_its_rows_is_refused(tmp_path: Path, state: dict[str, object], value: str) -> None:
    error = refused(saved(tmp_path / "rows", "data-00000-of-00001.arrow", **state))
    assert value in error.found
    assert str(tmp_path / "rows") in error.fix


def test_of_two_saved_splits_of_one_kind_the_second_is_moved_as_it_lies(tmp_path: Path) -> None:
    for split in ("train", "dev", "validation"):
        saved(tmp_path / split, "data-00000-of-00001.arrow")
    error = refused(tmp_path)
    assert error.found == "dev beside validation"
    subprocess.run(error.fix.rpartition(" && ")[0], shell=True, check=True)
    assert set(found(tmp_path)) == {"train", "validation"}


def test_a_saved_split_with_the_words_of_two_is_renamed_as_a_directory(tmp_path: Path) -> None:
    saved(tmp_path / "train_dev", "data-00000-of-00001.arrow")
    subprocess.run(refused(tmp_path).fix.partition(" && ")[0], shell=True, check=True)
    assert [path.parent.name for path in places.files(tmp_path, "--corpus", "slipway train runs/x").values()] == ["train"]


def test_another_programs_state_is_no_dataset(tmp_path: Path) -> None:
    directory_of(tmp_path, "train.csv")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "state.json").write_text('{"step": 3}')
    assert found(tmp_path) == {"train": "train.csv"}


def test_of_a_table_in_several_files_the_first_stands_for_all(tmp_path: Path) -> None:
    names = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"]
    (tmp_path / "README.md").write_text("")
    (tmp_path / "data").mkdir()
    directory_of(tmp_path / "data", *names)
    assert found(tmp_path) == {"train": names[0], "test": names[2]}


def parquet(directory: Path, *names: str) -> Path:
    """Files of a dataset as the hub has them; empty, since only their names are read."""
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"")
    return directory


@pytest.mark.parametrize(
    "names",
    [
        ("train/0000.parquet", "train/0001.parquet", "test/0000.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet"),
        ("data/sst2/train-00000-of-00001.parquet", "data/sst2/test-00000-of-00001.parquet"),
        ("train/rows.csv", "test/rows.csv"),
    ],
)
def test_the_one_configuration_of_a_dataset_is_read_by_its_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    read = places.files(parquet(tmp_path, *names, "dataset_infos.json"), "--corpus", "slipway train runs/x")
    assert [path.relative_to(tmp_path).as_posix() for path in read.values()] == [names[0], names[-1]]


def command_of(error: CorpusError) -> dict[str, str]:
    """The splits that the command of an error's fix reads."""
    words = shlex.split(error.fix.splitlines()[0])
    return found(Path(words[words.index("--corpus") + 1]))


def test_several_configurations_are_refused_with_their_splits_until_one_is_named(tmp_path: Path) -> None:
    error = refused(parquet(tmp_path, "cola/train/0000.parquet", "sst2/train/0000.parquet", "sst2/test/0000.parquet"))
    assert error.found == "2 configurations, each with splits of its own: cola (train), sst2 (train, test)"
    assert command_of(error) == {"train": "0000.parquet"}


@pytest.mark.parametrize("splits", [("all",), ("fold_0", "fold_1")])
def test_a_saved_dataset_without_a_split_for_training_is_refused_with_those_it_has(tmp_path: Path, splits: tuple[str, ...]) -> None:
    for split in splits:
        saved(tmp_path / split, "data-00000-of-00001.arrow")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["all"]}')
    error = refused(tmp_path)
    assert error.found == f"no name of a file for training: {', '.join(splits)}"
    assert command_of(error) == {"train": "data-00000-of-00001.arrow"}


def test_the_largest_table_is_proposed_where_no_name_says_which(tmp_path: Path) -> None:
    (parquet(tmp_path, "labels.csv", "my rows.csv") / "my rows.csv").write_text("text,label\n")
    assert command_of(refused(tmp_path)) == {"train": "my rows.csv"}


def test_the_conversion_of_an_archive_makes_a_corpus_whatever_its_path(tmp_path: Path) -> None:
    odd = tmp_path / "my $HOME's [x] {y}"
    odd.mkdir()
    with tarfile.open(odd / "a b.tgz", "w:gz") as archive:
        archive.add(directory_of(tmp_path, "train.csv") / "train.csv", "train.csv")
    conversion, _, command = refused(odd / "a b.tgz").fix.rpartition(" && ")
    subprocess.run(conversion, shell=True, check=True)
    assert found(Path(shlex.split(command)[-1])) == {"train": "train.csv"}


def test_a_directory_of_texts_for_each_class_is_converted_with_the_classes_as_labels(tmp_path: Path) -> None:
    for name in ("train/neg", "train/pos", "train/unsup", "test/neg", "test/pos"):
        (tmp_path / "my texts" / name).mkdir(parents=True)
        (tmp_path / "my texts" / name / "0_1.txt").write_text(f"a text of {name}\nin two lines", "utf-8")
    error = refused(tmp_path / "my texts")
    assert "neg, pos" in error.found
    conversion, _, command = error.fix.rpartition(" && ")
    subprocess.run(conversion, shell=True, check=True)
    files = places.files(Path(shlex.split(command)[-1]), "--corpus", "")
    assert len(list(readers.read(files["train"]))) == 2
    rows = list(readers.read(files["test"]))
    assert [(row.text, row.label) for row in rows if isinstance(row, readers.Row)] == [
        ("a text of test/neg\nin two lines", "neg"),
        ("a text of test/pos\nin two lines", "pos"),
    ]
