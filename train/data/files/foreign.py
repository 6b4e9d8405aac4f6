"""What is a corpus but no file of rows: Excel's tables, archives, files without an ending.

Each is refused by what it is, with the command that makes rows of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from slipway.contract import readers
from slipway.errors import CorpusError

_CONVERT = "python3 -m venv convert && convert/bin/pip install --quiet pandas openpyxl && convert/bin/python -c {} {}"
_AS_JSONL = (
    "import pandas, sys; [pandas.read_excel(path).to_json(path.rsplit('.', 1)[0] + '.jsonl', orient='records',"
    " lines=True, force_ascii=False) for path in sys.argv[1:]]"
)
_FROM_DIRECTORIES = (  # train/unsup of IMDB has texts without a label
    "import json, pathlib, sys; source, target = map(pathlib.Path, sys.argv[1:]); target.mkdir(exist_ok=True);"
    " line = lambda file: json.dumps({'text': file.read_text('utf-8'), 'label': file.parent.name}) + chr(10);"
    " files = [file for file in sorted(source.glob('*/*/*.txt')) if file.parent.name != 'unsup'];"
    " [(target / f'{split}.jsonl').write_text(''.join(line(file) for file in files if file.parent.parent.name == split))"
    " for split in {file.parent.parent.name for file in files}]"
)
_PACKED = {
    ".zip": "unzip {} -d {}",
    ".tar": "mkdir -p {1} && tar -xf {0} -C {1}",
    ".tar.gz": "mkdir -p {1} && tar -xf {0} -C {1}",
    ".tgz": "mkdir -p {1} && tar -xf {0} -C {1}",
    ".bz2": "bunzip2 --keep {}",
    ".xz": "unxz --keep {}",
}
_SHOWN = 5  # classes
_OF_ONE_FILE = (".bz2", ".xz")


def refuse(place: Path, command: str) -> None:
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
    classes = sorted({file.parent.name for file in place.glob("train/*/*.txt")} - {"unsup"}) if place.is_dir() else []
    if len(classes) > 1:
        conversion = f"python3 -c {shlex.quote(_FROM_DIRECTORIES)} {quoted} {target}"
        yield f"a directory of texts for each class, {', '.join(classes[:_SHOWN])}", conversion, beside
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
