"""The options of client, linter and doctor; those that several commands share; types of their
values.
"""

from __future__ import annotations

import argparse
import codecs
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slipway.contract.records import DEADLINE, MAX_BATCH, RETRIES

REPOSITORY = Path("model_repository")
_LAST_PORT = 65535


def run(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """Add RUN, the run's directory."""
    parser.add_argument("run", type=Path, metavar="RUN", nargs=nargs, help="the run's directory, for example runs/demo")


def repository(parser: argparse.ArgumentParser) -> None:
    """Add --repository, where versions are published."""
    parser.add_argument(
        "--repository",
        type=Path,
        default=REPOSITORY,
        help="where versions are published; default: %(default)s",
    )


def port(parser: argparse.ArgumentParser, default: int = 8000) -> None:
    """Add --port: HTTP's; gRPC and metrics are the next two."""
    parser.add_argument("--port", type=_port, default=default, help="HTTP; gRPC and metrics are the next two; default: %(default)s")


def addresses(parser: Any, default: str) -> None:
    """Add --address, of a server anywhere, to a parser or a group of its options."""
    text = f"host:port, http://…, grpc://…; over TLS https://, grpcs://; may be repeated; default: {default}"
    parser.add_argument("--address", action="append", default=[], metavar="URL", help=text)


def connection(parser: Any) -> None:
    """Add the options of a client's connection, to a parser or a group of its options."""
    parser.add_argument("--deadline", type=positive, default=DEADLINE, help="seconds for a request and its retries")
    parser.add_argument("--retries", type=count(1000, 0), default=RETRIES, help="of a request, when the server is unavailable")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="sent with each request; ps shows it")
    parser.add_argument("--headers", type=Path, help="a file of lines `Name: value`, such as a key that ps must not show")
    parser.add_argument("--tls", action="store_true", help="trust who signs certificates for this machine's programs")
    parser.add_argument("--authorities", type=Path, help="TLS, trusting the certificates in this PEM file instead")
    parser.add_argument("--certificate", type=Path, help="TLS, with this certificate of the client")
    parser.add_argument("--key", type=Path, help="of that certificate")


def columns(group: Any) -> None:
    """Add the options of files with labelled rows, to a parser or a group of its options."""
    group.add_argument("--encoding", type=_encoding, default="", help="of files that are not UTF-8, such as windows-1252")
    text = "name of the text column, or its number where there is no header; two: a pair"
    group.add_argument("--text", nargs="*", default=[], help=text)
    group.add_argument("--label", default="", help="name or number of the label column")
    missing = "labels that stand for none, such as -; rows with them are left out"
    group.add_argument("--missing-label", nargs="*", default=[], help=missing)


def _encoding(given: str) -> str:
    try:
        codecs.lookup(given or "utf-8")
    except LookupError:
        raise argparse.ArgumentTypeError(f"{given} is no encoding that Python knows") from None
    return given


def count(most: int, least: int = 1) -> Callable[[str], int]:
    """Return a type for argparse: a whole number from `least` to `most`."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a number from {least} to {most}, found {text}")
        return int(text)

    return number


def positive(text: str) -> float:
    """Read a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
    return value


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, found {text}")
    return value


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _LAST_PORT - 2:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to {_LAST_PORT - 2}, found {text}")
    return int(text)


def lint_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="the repository, for example runs/demo/model_repository")
    parser.add_argument(
        "--format",
        choices=("text", "json", "sarif"),
        default="text",
        help="sarif: for code hosts and editors; default: %(default)s",
    )
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")


def classify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", default="-", help="texts, as UTF-8, or Parquet; - or nothing: standard input")
    parser.add_argument(
        "--format",
        choices=("text", "jsonl", "csv", "tsv", "parquet"),
        help="default: as the file's name ends; text is one text a line",
    )
    parser.add_argument(
        "--text", action="append", default=[], metavar="NAME", help="the text's column, or field in JSONL; twice: of a pair"
    )
    parser.add_argument("--no-header", action="store_true", help="a table begins with a text; its columns are called 1, 2 …")
    parser.add_argument("--no-quotes", action="store_true", help='in TSV " is a character like others')
    parser.add_argument("--output", type=Path, help="default: standard output; .jsonl, .csv, .tsv, .parquet, else as the input is")
    parser.add_argument("--resume", action="store_true", help="go on with --output where it was interrupted")
    parser.add_argument("--protocol", choices=("http", "grpc"), help="default: as --address says, else http")
    parser.add_argument("--address", help="host:port, http://…, grpc://…; default: where `slipway serve` listens")
    parser.add_argument(
        "--batch", type=int, choices=range(1, MAX_BATCH + 1), default=MAX_BATCH, metavar="N", help="texts a request"
    )
    parser.add_argument("--in-flight", type=int, choices=range(1, 65), default=4, metavar="N", help="requests at a time, up to 64")
    connection(parser)


def ask_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="+", help="a text; several are answered one by one; a tagger's is split at white space")
    parser.add_argument("--second", help="the second text, of a model of text pairs")
    port(parser)
    addresses(parser, "where `slipway serve` listens")
    connection(parser)


def doctor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strict", action="store_true", help="beside a GPU, count what set-up provides for it as needed")
