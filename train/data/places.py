"""Where a corpus lies, and which of its files is which split.

A place is a file, or a directory with a file for training and, if they exist, for validation and
test, as publishers call them: train.csv, dev.tsv, snli_1.0_test.jsonl. A directory may also be one
that `datasets` of Hugging Face wrote, or a repository of its hub, whose files are below data/. What
holds no such file is refused by what it is.
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
_STATE = "state.json"  # of a dataset of Hugging Face that was saved to disk
_CONVERT = "python3 -m venv convert && convert/bin/pip install --quiet pandas openpyxl && convert/bin/python -c {} {}"
_AS_JSONL = (
    "import pandas, sys; [pandas.read_excel(path).to_json(path.rsplit('.', 1)[0] + '.jsonl', orient='records',"
    " lines=True, force_ascii=False) for path in sys.argv[1:]]"
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
    if _is_saved(place):
        return {"train": _saved_rows(place)}
    names = _names(place)
    if not _of_split(names, "train") and place.is_dir() and (place / "data").is_dir():
        return files(place / "data", origin, command)
    of_split = {split: _of_split(names, split) for split in _WORDS}
    _refuse_two_splits(place, of_split, origin, command)
    twice = [_entry(path).name for paths in of_split.values() if len(paths) > 1 for path in paths]
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
            entry = _entry(path)
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
    others = [str(part) for paths in of_split.values() for path in paths[1:] for part in _parts(path)]
    moved = f"mkdir -p {shlex.quote(str(aside))} && mv {shlex.join([*others, str(aside)])}"
    return f"{moved} && {command} --corpus {shlex.quote(str(place))}"


def _names(place: Path) -> dict[Path, str]:
    """Return the files of a directory that hold rows, with the small name that tells the split."""
    names = {}
    for path in sorted(place.iterdir()) if place.is_dir() else []:
        if _is_saved(path):
            names[_saved_rows(path)] = path.name.lower()
        elif path.is_file() and readers.suffix(path) in readers.SUFFIXES and readers.parts(path)[0] == path:
            names[path] = path.name.lower()
    return names


def _of_split(names: dict[Path, str], split: str) -> list[Path]:
    """Return the files that a split's name is the name of, or else a word in it."""
    stems = {path: name.removesuffix(".gz").removesuffix(readers.suffix(path)) for path, name in names.items()}
    whole = [path for path, stem in stems.items() if stem in _WORDS[split]]
    return whole or [path for path, name in names.items() if set(_WORDS[split]) & set(re.split("[^a-z]+", name))]


def _entry(path: Path) -> Path:
    """Return a split's file, or the directory of a saved dataset that it is of."""
    return path.parent if _is_saved(path.parent) else path


def _parts(path: Path) -> list[Path]:
    """Return what has to be moved with a split's file."""
    return [_entry(path)] if _entry(path) != path else readers.parts(path)


def _is_saved(place: Path) -> bool:
    """Return whether a directory holds a dataset that `datasets` saved, or one split of several."""
    state = place / _STATE
    return state.is_file() and "_data_files" in state.read_text("utf-8", errors="replace")


def _saved_rows(place: Path) -> Path:
    """Return the first file of the rows of a saved dataset. Raises CorpusError."""
    try:
        state = json.loads((place / _STATE).read_text("utf-8"))
        listed = [str(file["filename"]) for file in state["_data_files"]]
        first = place / listed[0]
        here = sorted(path.name for path in readers.parts(first)) if first.is_file() else []
        if state.get("_indices_files") or state.get("_indices_data_files"):  # they name the rows that are meant
            value = "rows that are chosen by another file, as old versions wrote them"
        elif here == sorted(listed):
            return first
        else:
            value = f"{', '.join(here) or 'none'} of {', '.join(listed)}"
    except (ValueError, LookupError, TypeError) as error:
        value = f"{type(error).__name__}: {error}"
    raise CorpusError(
        f"the saved dataset {place.name} cannot be read",
        expected=f"a {_STATE} that names the files of all its rows",
        found=value,
        where=str(place / _STATE),
        fix=f"save it again with `datasets`: dataset.flatten_indices().save_to_disk({str(place)!r})",
    )


def _refuse_foreign(place: Path, command: str) -> None:
    """Raise CorpusError for what is no text file but a corpus, with the commands that read it."""
    if not place.exists():
        return
    for what, conversion, where in _foreign(place):
        raise CorpusError(
            f"{place.name} is {what}, which is not read here",
            expected=f"files that end in {', '.join(readers.SUFFIXES)}, gzipped or not",
            found=what,
            where=str(place),
            fix=f"{conversion} && {command} {shlex.join(['--corpus', str(where)])}",
        )


def _foreign(place: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield what a place is, the command that converts it, and where that writes."""
    beside = place.with_name(f"{place.name}-rows")
    quoted, target = shlex.quote(str(place)), shlex.quote(str(beside))
    tables = [place] if place.is_file() else sorted(place.glob("*.xlsx"))
    if tables and tables[0].suffix.lower() == ".xlsx":
        conversion = _CONVERT.format(shlex.quote(_AS_JSONL), shlex.join(map(str, tables)))
        yield "a table as .xlsx", conversion, place if place.is_dir() else place.with_suffix(".jsonl")
    if place.is_file() and place.suffix.lower() not in (".xlsx", *_PACKED, ".gz") and _is_text(place):
        begin = place.read_bytes()[:1000].lstrip()
        renamed = place.with_name(place.name + (".jsonl" if begin[:1] in (b"{", b"[") else ".txt" if b"\t" in begin else ".csv"))
        yield "a text without one of the known endings", f"cp {quoted} {shlex.quote(str(renamed))}", renamed
    for ending in (ending for ending in _PACKED if place.is_file() and place.name.lower().endswith(ending)):
        conversion = _PACKED[ending].format(quoted, target)
        yield f"packed as {ending}", conversion, place.with_suffix("") if ending in _OF_ONE_FILE else beside


def _is_text(path: Path) -> bool:
    """Return whether a file may hold rows: letters, and no document with a format of its own."""
    begin = path.read_bytes()[:1000]
    return b"\0" not in begin and bool(begin.strip()) and not begin.lstrip().startswith((b"<", b"%PDF", b"#!"))
