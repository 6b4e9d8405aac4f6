"""Classify texts on a running server, over HTTP and over gRPC.

python -m serving.ask "Oil prices fall as OPEC raises output"
"""

from __future__ import annotations

import argparse
import time

from serving import client
from serving.triton import HOST, Ports
from train import errors, terminal
from train.errors import ServerError


def main() -> int:
    arguments = _parse()
    for text in arguments.text:
        if not text.strip():
            raise ServerError(
                "there is no text to classify",
                expected="at least one character that is not white space",
                found=repr(text),
                where="the argument TEXT",
                mend='make ask TEXT="Oil prices fall as OPEC raises output"',
            )
    columns = ("over", "label", "probability", "tokens", "ms", "text")
    table = terminal.table("", *columns, left=("over", "label", "text"))
    for protocol, port in (("http", arguments.port), ("grpc", arguments.port + 1)):
        with client.connect(f"{HOST}:{port}", protocol) as server:
            for text in arguments.text:
                started = time.perf_counter()
                [answer] = server.classify([text])
                milliseconds = (time.perf_counter() - started) * 1000
                shown = (text[:57] + "…") if len(text) > 58 else text
                cut = " (truncated)" if answer.truncated else ""
                row = (f"{answer.probability:.3f}", f"{answer.tokens}{cut}", f"{milliseconds:.1f}", shown)
                table.add_row(protocol, answer.label, *row)
    terminal.console().print(table)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("text", nargs="+", help="a text; several are answered one by one")
    parser.add_argument("--port", type=int, default=Ports.http, help="HTTP; gRPC is the next one")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
