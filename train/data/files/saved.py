"""Datasets that `datasets` of Hugging Face saved to disk, whole or one split of several."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from slipway.contract import readers
from slipway.errors import CorpusError

_STATE = "state.json"


def is_here(place: Path) -> bool:
    """Return whether a directory holds a dataset that `datasets` saved, or one split of several."""
    state = place / _STATE
    return state.is_file() and "_data_files" in state.read_text("utf-8", errors="replace")


def rows(place: Path, command: str) -> Path:
    """Return the first file of the rows of a saved dataset. Raises CorpusError."""
    fix = f"save it again with `datasets`: dataset.flatten_indices().save_to_disk({str(place)!r})"
    try:
        state = json.loads((place / _STATE).read_text("utf-8"))
        listed = [str(file["filename"]) for file in state["_data_files"]]
        first = place / listed[0]
        missing = [name for name in listed if not (place / name).is_file()]
        here = [] if missing else sorted(path.name for path in readers.parts(first))
        if state.get("_indices_files") or state.get("_indices_data_files"):  # they name the rows that are meant
            value = "rows that are chosen by another file, as old versions wrote them"
        elif missing:
            value = f"{', '.join(missing)} of {len(listed)} files not there"
            fix = f"copy {'it' if len(missing) == 1 else 'them'} to {shlex.quote(str(place))}, then run: {command}"
        elif here == sorted(listed):
            return first
        else:
            value = f"{', '.join(here)} of {', '.join(listed)}"
    except (ValueError, LookupError, TypeError) as error:
        value = f"{type(error).__name__}: {error}"
    raise CorpusError(
        f"the saved dataset {place.name} cannot be read",
        expected=f"a {_STATE} that names the files of all its rows, beside these",
        found=value,
        where=str(place / _STATE),
        fix=fix,
    )
