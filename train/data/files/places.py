"""Where a corpus lies, and which of its files is which split.

A place is a file, or a directory with a file for training and, if they exist, for validation and
test, as publishers call them: train.csv, dev.tsv, snli_1.0_test.jsonl, train/0000.parquet. A
directory may also be one that `datasets` of Hugging Face wrote, or a repository of its hub, whose
files are below data/, or below the one configuration that it has. What holds no such file is
refused by what it is.
"""

from __future__ import annotations

import difflib
import re
import shlex
from pathlib import Path
from typing import NoReturn

from slipway.contract import readers
from slipway.errors import CorpusError
from train.data.files import foreign, saved

_WORDS = {  # of a file's name
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "testa"),
    "test": ("test", "testb", "testdata"),
}
_NO_ROWS = ("dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json")  # of `datasets`
_SHOWN = 10  # files, or configurations


def files(place: Path, origin: str, command: str) -> dict[str, Path]:
    """Return the file of each split that has one. Raises CorpusError."""
    if place.is_file() and readers.suffix(place) in readers.SUFFIXES:
        return {"train": place}
    again = f"{command} {shlex.join(['--corpus', str(place)])}"
    if saved.is_here(place):
        return {"train": saved.rows(place, again)}
    names = _names(place, again)
    if not _of_split(names, "train") and place.is_dir() and (place / "data").is_dir():
        return files(place / "data", origin, command)
    of_split = {split: _of_split(names, split) for split in _WORDS}
    _refuse_two_splits(place, of_split, origin, command)
    twice = [_entry(place, path).name for paths in of_split.values() if len(paths) > 1 for path in paths]
    if twice:
        _refuse(place, " beside ".join(twice), origin, _without(place, of_split, command))
    if not of_split["train"]:
        configurations = _configurations(place, command)
        if len(configurations) == 1:
            return files(configurations[0], origin, command)
        foreign.refuse(place, command)
        _refuse_without_training(place, configurations, origin, command)
    return {split: paths[0] for split, paths in of_split.items() if paths}


def _refuse(place: Path, value: str, origin: str, fix: str) -> NoReturn:
    raise CorpusError(
        f"no corpus in {place}",
        expected=f"a file that ends in {', '.join(readers.SUFFIXES)}, gzipped or not, or a directory with one such train.*",
        found=value,
        where=f"{place}, named by {origin}",
        fix=fix,
    )


def _configurations(place: Path, command: str) -> list[Path]:
    """Return the directories that have splits of their own, as the configurations of a dataset."""
    directories = [path for path in sorted(place.iterdir()) if path.is_dir() and path.name[0] != "."] if place.is_dir() else []
    return [path for path in directories if not saved.is_here(path) and "train" in _splits(path, command)]


def _refuse_without_training(place: Path, configurations: list[Path], origin: str, command: str) -> NoReturn:
    """Raise CorpusError with what lies in a place instead, and the command that takes one of it."""
    if configurations:
        names = [f"{path.name} ({', '.join(_splits(path, command))})" for path in configurations]
        value = f"{len(configurations)} configurations, each with splits of its own: {_some(names)}"
        _refuse(place, value, origin, _alone(command, configurations[0], "or another configuration"))
    if rows := _any_rows(place, command):
        largest = max(rows, key=_size)
        names = sorted(_entry(place, path).name for path in rows)
        taken = largest.parent if saved.is_here(largest.parent) else largest
        value = f"no name of a file for training: {_some(names)}"
        others = "; or another one of these" if len(names) > 1 else ""
        _refuse(place, value, origin, _alone(command, taken, f"its test rows are taken out of it{others}"))
    missing = f"the ending {place.suffix!r}" if place.exists() else "no such file or directory"
    value = "no train.*" if place.is_dir() and any(place.iterdir()) else "an empty directory" if place.is_dir() else missing
    beside = [path.name for path in place.absolute().parent.iterdir()] if place.absolute().parent.is_dir() else []
    near = difflib.get_close_matches(place.name, beside, 1)
    corpus = str(place.with_name(near[0])) if near and not place.exists() else "path/to/rows.csv"
    _refuse(place, value, origin, f"{command} {shlex.join(['--corpus', corpus])}")


def _alone(command: str, taken: Path, note: str) -> str:
    return f"{command} {shlex.join(['--corpus', str(taken)])}\n            {note}"


def _splits(place: Path, command: str) -> list[str]:
    names = _names(place, command)
    return [split for split in _WORDS if _of_split(names, split)]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _any_rows(place: Path, command: str) -> list[Path]:
    """Return the first file of each table in a place, whatever it is called, or below it."""
    rows = _tables(place)
    for path in sorted(place.iterdir()) if place.is_dir() else []:
        if saved.is_here(path):
            rows.append(saved.rows(path, command))
        elif path.is_dir() and len(_tables(path)) == 1:
            rows += _tables(path)
    return rows


def _size(path: Path) -> int:
    return sum(part.stat().st_size for part in readers.parts(path))


def _refuse_two_splits(place: Path, of_split: dict[str, list[Path]], origin: str, command: str) -> None:
    """Raise CorpusError for a file whose name has the words of two splits, with one of them."""
    for path in of_split["train"] + of_split["validation"]:
        splits = [split for split, paths in of_split.items() if path in paths]
        if len(splits) > 1:
            split = splits[0] if of_split["train"] == [path] else "test"
            entry = _entry(place, path)
            ending = path.name[path.name.lower().rindex(readers.suffix(path)) :] if entry == path else ""
            renamed = entry.with_name(f"{split}{ending}")
            raise CorpusError(
                f"{entry.name} may be the file of {' or of '.join(splits)}",
                expected="a file's name with the word of one split",
                found=entry.name,
                where=f"{place}, named by {origin}",
                fix=f"mv -n {shlex.join([str(entry), str(renamed)])} && {command} --corpus {shlex.quote(str(place))}"
                f"\n            if it is the {split} split",
            )


def _without(place: Path, of_split: dict[str, list[Path]], command: str) -> str:
    """Return the command that moves all files of a split but the first one, and goes on."""
    aside = place / "other"
    others = [str(part) for paths in of_split.values() for path in paths[1:] for part in _parts(place, path)]
    moved = f"mkdir -p {shlex.quote(str(aside))} && mv {shlex.join([*others, str(aside)])}"
    return f"{moved} && {command} --corpus {shlex.quote(str(place))}"


def _names(place: Path, command: str) -> dict[Path, str]:
    """Return the files of a directory that hold rows, with the small name that tells the split.

    A file alone in a directory is told by the name of that, where it is one of a split.
    """
    names = {path: path.name.lower() for path in _tables(place)}
    for path in sorted(place.iterdir()) if place.is_dir() else []:
        if saved.is_here(path):
            names[saved.rows(path, command)] = path.name.lower()
        elif path.is_dir() and any(map(_words(path.name.lower()).intersection, _WORDS.values())):
            names |= {rows: path.name.lower() for rows in _tables(path)[:1] if len(_tables(path)) == 1}
    return names


def _tables(directory: Path) -> list[Path]:
    """Return the files in a directory that may hold rows; of a table in several files the first."""
    paths = [path for path in sorted(directory.iterdir()) if path.is_file()] if directory.is_dir() else []
    paths = [path for path in paths if path.name not in _NO_ROWS]
    return [path for path in paths if readers.suffix(path) in readers.SUFFIXES and readers.parts(path)[0] == path]


def _words(name: str) -> set[str]:
    return set(re.split("[^a-z]+", name))


def _of_split(names: dict[Path, str], split: str) -> list[Path]:
    """Return the files that a split's name is the name of, or else a word in it."""
    stems = {path: name.removesuffix(".gz").removesuffix(readers.suffix(path)) for path, name in names.items()}
    whole = [path for path, stem in stems.items() if stem in _WORDS[split]]
    return whole or [path for path, name in names.items() if _words(name).intersection(_WORDS[split])]


def _entry(place: Path, path: Path) -> Path:
    """Return what lies in a place of a split: its file, or the directory that this is in."""
    return place / path.relative_to(place).parts[0]


def _parts(place: Path, path: Path) -> list[Path]:
    """Return what has to be moved with a split's file."""
    entry = _entry(place, path)
    return [entry] if entry != path else readers.parts(path)
