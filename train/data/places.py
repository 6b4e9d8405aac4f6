"""Where a corpus lies, and which of its files is which split.

A place is a file, or a directory with a file for training and, if they exist, for validation and
test, as publishers call them: train.csv, dev.tsv, snli_1.0_test.jsonl. What holds no such file is
refused by what it is.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from slipway.contract import readers
from slipway.errors import CorpusError

_WORDS = {  # of a file's name
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "testa"),
    "test": ("test", "testb", "testdata"),
}
_CONVERT = "python3 -m venv convert && convert/bin/pip install --quiet {} && {}convert/bin/python -c {} {}"
_WRITTEN = ".to_json(path.rsplit('.', 1)[0] + '.jsonl', orient='records', lines=True, force_ascii=False)"
_TABLES = ((".parquet", "read_parquet", "pyarrow"), (".xlsx", "read_excel", "openpyxl"))
_SAVED = (
    "import datasets, sys; saved = datasets.load_from_disk(sys.argv[1]);"
    " splits = saved if isinstance(saved, dict) else {'train': saved};"
    " [rows.to_json(sys.argv[2] + '/' + name + '.jsonl', force_ascii=False) for name, rows in splits.items()]"
)
_PACKED = {
    ".zip": "unzip {} -d {}",
    ".tar": "mkdir -p {1} && tar -xf {0} -C {1}",
    ".tar.gz": "mkdir -p {1} && tar -xf {0} -C {1}",
    ".tgz": "mkdir -p {1} && tar -xf {0} -C {1}",
    ".bz2": "bunzip2 --keep {}",
    ".xz": "unxz --keep {}",
}
_OF_ONE_FILE = (".bz2", ".xz")


def files(place: Path, origin: str, command: str) -> dict[str, Path]:
    """Return the file of each split that has one. Raises CorpusError."""
    if place.is_file() and readers.suffix(place) in readers.SUFFIXES:
        return {"train": place}
    of_split = {split: _files_of(place, split) for split in _WORDS}
    _refuse_two_splits(place, of_split, origin, command)
    twice = [path.name for paths in of_split.values() if len(paths) > 1 for path in paths]
    if twice or not of_split["train"]:
        _refuse_foreign(place, command)
        missing = f"the ending {place.suffix!r}" if place.exists() else "no such file or directory"
        raise CorpusError(
            f"no corpus in {place}",
            expected=f"a file that ends in {', '.join(readers.SUFFIXES)}, gzipped or not, or a directory with one such train.*",
            found=" beside ".join(twice) or ("no train.*" if place.is_dir() else missing),
            where=f"{place}, named by {origin}",
            fix=_without(place, of_split, command) if twice else f"{command} --corpus path/to/ag_news",
        )
    return {split: paths[0] for split, paths in of_split.items() if paths}


def _refuse_two_splits(place: Path, of_split: dict[str, list[Path]], origin: str, command: str) -> None:
    """Raise CorpusError for a file whose name has the words of two splits, with one of them."""
    for path in of_split["train"] + of_split["validation"]:
        splits = [split for split, paths in of_split.items() if path in paths]
        if len(splits) > 1:
            split = splits[0] if of_split["train"] == [path] else "test"
            ending = path.name[path.name.lower().rindex(readers.suffix(path)) :]
            renamed = path.with_name(f"{split}{ending}")
            raise CorpusError(
                f"{path.name} may be the file of {' or of '.join(splits)}",
                expected="a file's name with the word of one split",
                found=path.name,
                where=f"{place}, named by {origin}",
                fix=f"mv -n {shlex.join([str(path), str(renamed)])} && {command} --corpus {shlex.quote(str(place))}"
                f"\n            if it is the {split} split",
            )


def _without(place: Path, of_split: dict[str, list[Path]], command: str) -> str:
    """Return the command that moves all files of a split but the first one, and goes on."""
    aside = place / "other"
    others = [str(path) for paths in of_split.values() for path in paths[1:]]
    moved = f"mkdir -p {shlex.quote(str(aside))} && mv {shlex.join([*others, str(aside)])}"
    return f"{moved} && {command} --corpus {shlex.quote(str(place))}"


def _files_of(place: Path, split: str) -> list[Path]:
    """Return the files of a directory that a split's name is the name of, or else a word in it."""
    if not place.is_dir():
        return []
    paths = [path for path in sorted(place.iterdir()) if path.is_file() and readers.suffix(path) in readers.SUFFIXES]
    stems = {path: path.name[: path.name.lower().rindex(readers.suffix(path))].lower() for path in paths}
    whole = [path for path in paths if stems[path] in _WORDS[split]]
    return whole or [path for path in paths if set(_WORDS[split]) & set(re.split("[^a-z]+", path.name.lower()))]


def _refuse_foreign(place: Path, command: str) -> None:
    """Raise CorpusError for what is no text file but a corpus, with the commands that read it."""
    if not place.exists():
        return
    for what, conversion, where, options in _foreign(place):
        raise CorpusError(
            f"{place.name} is {what}, which is not read here",
            expected=f"files that end in {', '.join(readers.SUFFIXES)}, gzipped or not",
            found=what,
            where=str(place),
            fix=f"{conversion} && {command} {shlex.join(['--corpus', str(where), *options])}",
        )


def _foreign(place: Path) -> Iterator[tuple[str, str, Path, list[str]]]:
    """Yield what a place is, the command that converts it, where that writes, and more options."""
    beside = place.with_name(f"{place.name}-rows")
    quoted, target = shlex.quote(str(place)), shlex.quote(str(beside))
    if place.is_dir() and ((place / "dataset_dict.json").is_file() or (place / "state.json").is_file()):
        conversion = _CONVERT.format("datasets", f"mkdir -p {target} && ", shlex.quote(_SAVED), f"{quoted} {target}")
        yield "a Hugging Face dataset, saved to disk as Arrow", conversion, beside, _label_names(place)
    tables = [place] if place.is_file() else sorted([*place.glob("*.parquet"), *place.glob("*.xlsx")])
    for ending, function, engine in _TABLES:
        if of_ending := [path for path in tables if path.suffix.lower() == ending]:
            program = f"import pandas, sys; [pandas.{function}(path){_WRITTEN} for path in sys.argv[1:]]"
            conversion = _CONVERT.format(f"pandas {engine}", "", shlex.quote(program), shlex.join(map(str, of_ending)))
            yield f"a table as {ending}", conversion, place if place.is_dir() else place.with_suffix(".jsonl"), []
    if place.is_file() and place.suffix.lower() not in (*(ending for ending, *_ in _TABLES), *_PACKED, ".gz") and _is_text(place):
        begin = place.read_bytes()[:1000].lstrip()
        renamed = place.with_name(place.name + (".jsonl" if begin[:1] in (b"{", b"[") else ".txt" if b"\t" in begin else ".csv"))
        yield "a text without one of the known endings", f"cp {quoted} {shlex.quote(str(renamed))}", renamed, []
    for ending in (ending for ending in _PACKED if place.is_file() and place.name.lower().endswith(ending)):
        conversion = _PACKED[ending].format(quoted, target)
        yield f"packed as {ending}", conversion, place.with_suffix("") if ending in _OF_ONE_FILE else beside, []


def _is_text(path: Path) -> bool:
    """Return whether a file may hold rows: letters, and no document with a format of its own."""
    begin = path.read_bytes()[:1000]
    return b"\0" not in begin and bool(begin.strip()) and not begin.lstrip().startswith((b"<", b"%PDF", b"#!"))


def _label_names(saved: Path) -> list[str]:
    """Return --labels with the names of a saved dataset, whose rows only have numbers."""
    for path in sorted(saved.glob("**/dataset_info.json")):
        features = json.loads(path.read_text("utf-8")).get("features") or {}
        names = [feature["names"] for feature in features.values() if isinstance(feature, dict) and "names" in feature]
        if len(names) == 1:
            return ["--labels", *map(str, names[0])]
    return []
