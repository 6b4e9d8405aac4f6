"""The tables of tables.md, written from the cases that the tests send.

python -m tests.serving.backend.bad_input.bad_input_page     writes them anew
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.serving.backend.bad_input import bad_grpc, bad_http, bad_requests
from tests.serving.backend.bad_input.bad_input import Case

PAGE = Path(__file__).with_name("tables.md")
TABLES = bad_requests.CASES | bad_http.CASES | bad_grpc.CASES
_MARKED = re.compile(r"(?<=<!-- tables -->\n).*(?=<!-- end -->)", re.DOTALL)


def main() -> int:
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
    return 0


def with_tables(page: str) -> str:
    return _MARKED.sub(lambda _: "\n".join(_lines()), page)


def _lines() -> Iterable[str]:
    """A table for each heading; what both protocols answer alike is one row."""
    for heading, cases in TABLES.items():
        yield from (f"### {heading}", "", "| what | HTTP | gRPC | what comes back |", "|---|---|---|---|")
        for (what, message), same in groupby(cases, lambda case: (case.what, case.message)):
            yield _row(what, message, list(same))
        yield ""


def _row(what: str, message: str, same: list[Case]) -> str:
    status = {case.protocol: case.status for case in same}
    return f"| {what} | {status.get('http', '')} | {status.get('grpc', '')} | {f'`{message}`' if message else ''} |"


if __name__ == "__main__":
    raise SystemExit(main())
