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
_GZIP = b"\x1f\x8b"
_NO_TEXTS = {  # by how they begin: what they are, and what to do
    b"PK\x03\x04": ("a .zip, or a table of Excel", "unpack it, or save the table as .csv, and name what is made of it."),
    b"%PDF": ("a PDF", "save its rows as .csv, and name that file."),
}
_UNMARKED = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")  # UTF-32 also looks like UTF-16 with NULs
_SAMPLE = 64 * 1024  # bytes by which an encoding without a mark is told
_WESTERN = ("windows-1252", "latin-1")  # the second one decodes every byte
# Chinese, Japanese and Korean of two bytes a character; Cyrillic and Greek
_OTHERS = ("gb18030", "big5", "shift_jis", "euc-kr", "euc-jp", "windows-1251", "windows-1253")
_RULE = "the file is UTF-8, or --encoding names what it is"
_AROUND = 20  # bytes shown on each side of an odd one


def decoded(path: Path, encoding: str = "") -> str:
    """Return the text of a file without its byte order mark. Raises Unreadable.

    `encoding` is that of a file which is not UTF-8.
    """
    return text_of(unpacked(path), encoding)


def text_of(data: bytes, encoding: str = "") -> str:
    """Return the text of a file's bytes, as `decoded` does."""
    for begin, (what, advice) in _NO_TEXTS.items():
        if data.startswith(begin):
            raise Unreadable(1, "a file of text", what, advice=advice)
    wide = wide_name(data)
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
    if _is_of_several_bytes(data):
        names = [name for name in (*_OTHERS, _western(data)) if _decodes(data, name)]
        readings = [f"{name} ({_line_at(data, error.start, name)})" for name in names]
        value = f"{byte}; most such bytes come side by side; it may be {' or '.join(readings)}"
        return Unreadable(line, _RULE, value, ("--encoding", "NAME"))
    if other := _western(data):
        reads = f"{byte}; as {other} it reads {_around(data, error.start, other)}"
        return Unreadable(line, _RULE, reads, ("--encoding", other))
    return Unreadable(line, _RULE, byte)


def unpacked(path: Path) -> bytes:
    """Return the bytes of a file, unpacked if it is gzipped, whatever it is called."""
    data = path.read_bytes()
    if path.suffix.lower() != ".gz" and not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise Unreadable(1, "a .gz is one whole gzip file", str(error)) from error


def wide_name(data: bytes) -> str:
    """Return the name of the wide encoding that a file is in, or nothing.

    Without a mark it is told by its line ends: in UTF-16 and UTF-32 each has NUL beside it. A file
    of one line is told by ASCII, of which most of it consists then.
    """
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return name
    sample = data[:_SAMPLE]
    if b"\0" not in sample:
        return ""
    texts = {name: sample.decode(name, "replace").replace("\0", "\ufffd") for name in _UNMARKED}
    plain = {name: sum(map(str.isascii, text)) for name, text in texts.items()}
    name = max(plain, key=lambda name: plain[name])
    lines, line_ends = texts[name].count("\n"), sample.count(b"\n")
    is_wide = 2 * lines > line_ends if line_ends else 2 * plain[name] > len(texts[name])
    return name if is_wide else ""


def _western(data: bytes) -> str:
    """Return the one-byte encoding that bytes may be in; nothing for UTF-8 with a broken byte."""
    whole = sum(not character.isascii() for character in data.decode("utf-8", "ignore"))
    broken = data.decode("utf-8", "replace").count("\ufffd")
    if whole >= broken:
        return ""
    return next((name for name in _WESTERN if _decodes(data, name)), "")


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_of_several_bytes(data: bytes) -> bool:
    """Return whether most bytes above ASCII come three or more side by side, and not as UTF-8.

    They do where a character has two bytes, and in Cyrillic and Greek; two do in a German word.
    """
    if not _western(data):
        return False
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    return 2 * sum(length for length in runs if length > 2) > sum(runs)


def _line_at(data: bytes, at: int, encoding: str) -> str:
    """Return the beginning of the line at an offset as it reads in an encoding."""
    line = data[data.rfind(b"\n", 0, at) + 1 :].split(b"\n", 1)[0]
    return repr(line.decode(encoding, "replace").strip()[:_AROUND])


def _around(data: bytes, at: int, encoding: str) -> str:
    """Return the words around an offset as they read in an encoding of one byte a character."""
    begin = max(0, at - _AROUND)
    before, after = data[begin:at].decode(encoding), data[at : at + _AROUND].decode(encoding)
    return repr(re.split(r"[\r\n]", before)[-1] + re.split(r"[\r\n]", after)[0])
