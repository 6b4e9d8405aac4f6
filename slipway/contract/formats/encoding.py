"""The text of a file: unpacked if it is gzipped, and decoded.

An encoding is never guessed and taken: a file that is not UTF-8 is refused with the option that
reads it, and with how its first odd word would read then. A file that is UTF-8 is read as that,
whatever the option says, since of several files of a corpus some may be.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from pathlib import Path

from slipway.contract.formats.rows import Unreadable

_MARKS = {  # UTF-32's begins as UTF-16's does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WESTERN = ("windows-1252", "latin-1")  # the second one decodes every byte
_RULE = "the file is UTF-8, or --encoding names what it is"
_AROUND = 20  # bytes shown on each side of an odd one


def decoded(path: Path, encoding: str = "") -> str:
    """Return the text of a file without its byte order mark. Raises Unreadable.

    `encoding` is that of a file which is not UTF-8.
    """
    data = _unpacked(path)
    wide = _wide(data)
    if wide and not encoding:
        raise Unreadable(1, _RULE, f"{wide.upper()}: it begins with the bytes {data[:4].hex(' ')}", ("--encoding", wide))
    try:
        return data.decode(encoding if wide else "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if not encoding or wide:
            raise _odd_byte(data, error, encoding) from error
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _odd_byte(data, error, encoding) from error


def _odd_byte(data: bytes, error: UnicodeDecodeError, encoding: str) -> Unreadable:
    line = data.count(b"\n", 0, error.start) + 1
    byte = f"byte 0x{data[error.start]:02x} at offset {error.start}"
    if encoding:
        return Unreadable(line, f"the file is {encoding}, as --encoding says, or UTF-8", byte)
    if other := _western(data):
        reads = f"{byte}; as {other} it reads {_around(data, error.start, other)}"
        return Unreadable(line, _RULE, reads, ("--encoding", other))
    return Unreadable(line, _RULE, byte)


def _unpacked(path: Path) -> bytes:
    if path.suffix.lower() != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise Unreadable(1, "a .gz is one whole gzip file", str(error)) from error


def _wide(data: bytes) -> str:
    """Return the name of the wide encoding that a file begins in, or nothing."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return name
    return "utf-16-be" if data[:1] == b"\0" else "utf-16-le" if data[1:2] == b"\0" else ""


def _western(data: bytes) -> str:
    """Return the one-byte encoding that bytes may be in; nothing for UTF-8 with a broken byte."""
    whole = sum(not character.isascii() for character in data.decode("utf-8", "ignore"))
    broken = data.decode("utf-8", "replace").count("\ufffd")
    if whole >= broken:
        return ""
    for name in _WESTERN:
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return ""


def _around(data: bytes, at: int, encoding: str) -> str:
    """Return the words around an offset as they read in an encoding of one byte a character."""
    begin = max(0, at - _AROUND)
    before, after = data[begin:at].decode(encoding), data[at : at + _AROUND].decode(encoding)
    return repr(re.split(r"[\r\n]", before)[-1] + re.split(r"[\r\n]", after)[0])
