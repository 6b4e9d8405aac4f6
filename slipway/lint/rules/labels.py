"""Rules on label_filename: a file that names an output's elements in Triton's classifications.

Triton reads it line by line, up to each \\n, and answers `score:number:name`; without a name,
`score:number`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from slipway.lint.models import CONFIG, Finding, ModelDirectory, RuleResult, type_name

_RANKED = {"FP32", "FP64", *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))}
_BOM = b"\xef\xbb\xbf"


def check_labels(model: ModelDirectory) -> Iterator[RuleResult]:
    named = [tensor for tensor in model.config.output if tensor.label_filename]
    for tensor in named:
        file, at = tensor.label_filename, f"output[{tensor.name}].label_filename"
        path = model.path(file)
        if not path.is_file() or file.endswith("/"):
            expected = f"{model.name}/{file}, beside {CONFIG}"
            yield model.error("labels", at, expected, "a directory: Triton ends" if path.is_dir() else "no such file")
            continue
        if not path.resolve().is_relative_to(model.directory.resolve()):
            yield model.outside("labels", at, file, "Triton 26.x")
        if (kind := type_name(tensor.data_type)) not in (*_RANKED, "INVALID"):
            expected = "an output of FP32, FP64 or whole numbers: Triton refuses to rank others"
            yield model.warning("labels", at, expected, f"TYPE_{kind}")
        yield from _names(model, tensor, at, path.read_bytes())
    for name, times in Counter(tensor.name for tensor in named).items():
        if times > 1:
            yield model.error("labels", "output", f"one label_filename for the output {name}", str(times))


def _names(model: ModelDirectory, tensor: Any, at: str, data: bytes) -> Iterator[RuleResult]:
    """Compare the lines with the output's elements, and report the first that is not the name."""
    lines, dims = data.removesuffix(b"\n").split(b"\n") if data else [], list(tensor.dims)
    wanted = 0 if -1 in dims else math.prod(dims)
    while len(lines) > wanted and not lines[-1]:  # nobody sees them
        lines.pop()
    if -1 in dims:
        yield model.unchecked(f"labels of {tensor.name}", f"dims {dims} do not say how many there are")
    elif len(lines) != wanted:
        found = f"{len(lines)} lines in {tensor.label_filename}"
        yield model.warning("labels", at, f"{wanted} labels, as dims {dims} say", found)
    yield from _first_fault(model, tensor.label_filename, lines)


def _first_fault(model: ModelDirectory, file: str, lines: list[bytes]) -> Iterator[Finding]:
    for number, line in enumerate(lines, 1):
        if fault := _fault(line):
            yield model.finding("warning", "labels", f"{file}:{number}", *fault)
            return


def _fault(line: bytes) -> tuple[str, str] | None:
    """Return what is expected of a line and was found in it, if Triton answers another name."""
    if not line:
        return "a label: Triton answers with the number alone", "an empty line"
    if line.startswith(_BOM):
        return "text without a byte order mark in front: it becomes a part of the label", "EF BB BF"
    if line.endswith(b"\r"):
        return "lines that end in 0A alone: the rest becomes a part of the label", "0D 0A"
    if b"\0" in line:
        return "text: the label ends in front of a zero byte", "byte 00"
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        return "UTF-8: over HTTP the answer is no JSON otherwise", f"byte {line[error.start]:02X}"
    return None
