"""The options of the commands of serving. Nothing heavy is imported: `--help` reads this file."""

from __future__ import annotations

import argparse
from pathlib import Path

from slipway import options
from slipway.contract.variants import VARIANTS

MOST_CHANGED = 0.2  # of the answers, in a promotion that accepts no more


def build_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    parser.add_argument("--target", choices=("embedded", "ngc"), default="embedded", help="which Triton is to serve it")
    parser.add_argument("--engine", choices=list(VARIANTS), help="variant behind text_classifier; default: the fastest as measured")
    parser.add_argument(
        "--without", choices=list(VARIANTS), action="append", default=[], help="leave this variant out; may be repeated"
    )
    parser.add_argument(
        "--instances",
        type=options.count(1024),
        default=0,
        help="processes of text_classifier; default: one a core, up to 4; `slipway tune` finds them",
    )
    parser.add_argument("--threads", type=options.count(1024), default=0, help="of each; default: all cores, divided among them")
    parser.add_argument(
        "--priorities", type=options.count(1024), default=0, help="levels a request may name, 1 first; default: none"
    )


def serve_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser, nargs="?")
    parser.add_argument(
        "--published",
        type=Path,
        nargs="?",
        const=options.REPOSITORY,
        metavar="REPOSITORY",
        help="instead of RUN: where versions were published; without a value: %(const)s",
    )
    parser.add_argument(
        "--no-standby",
        dest="standby",
        action="store_false",
        help="with --published: do not keep the version before loaded; it takes its memory, and a rollback then takes a load",
    )
    parser.add_argument(
        "--direct", action="store_true", help="Triton itself at the ports, without the front that refuses what would wait too long"
    )
    parser.add_argument("--page", action="store_true", help="with RUN: a page to try the model, on the port 3 above HTTP's")
    options.port(parser)


def verify_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    elsewhere = parser.add_argument_group("a server that runs already, on this machine or elsewhere")
    options.addresses(elsewhere, "the embedded Triton, started for this")
    elsewhere.add_argument("--target", choices=("embedded", "ngc"), help="which of RUN's repositories it serves, if both are there")
    options.connection(elsewhere)


def tune_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    parser.add_argument("--p99-ms", type=options.positive, required=True, help="what 99 of 100 texts have to be answered within")
    parser.add_argument("--rate", type=options.positive, default=0.0, help="texts/s to be held; default: the cheapest a text")
    parser.add_argument(
        "--minutes", type=options.positive, default=4, help="no configuration is begun that would end later; default: 4"
    )
    parser.add_argument("--engines", nargs="+", choices=list(VARIANTS), default=[], help="default: of every precision the fastest")
    parser.add_argument("--window-ms", type=int, default=700, help="length of each of perf_analyzer's windows, three or more")
    parser.add_argument("--texts", type=int, default=1000, help="golden texts sent in turn")


def bench_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    parser.add_argument("--setting", choices=("quick", "full"), default="quick", help="how much is measured; default: quick")
    parser.add_argument("--subjects", nargs="+", default=[], help="only these beside text_classifier; default: all")
    parser.add_argument("--rounds", type=options.count(100_000), help="how often every load is repeated; 5 for verdicts")
    parser.add_argument("--concurrency", type=options.count(100_000), nargs="+", help="clients in the closed loops")
    parser.add_argument("--window-ms", type=options.count(100_000), help="the shortest of perf_analyzer's windows, three a round")
    parser.add_argument("--texts", type=options.count(100_000), help="golden texts sent in turn")
    parser.add_argument("--p99-ms", type=options.positive, default=100.0, help="what 99 of 100 texts have to be answered within")
    parser.add_argument("--price-per-hour", type=options.positive, help="of the server, for the cost of a million texts")
    parser.add_argument("--currency", default="USD", help="of that price")
    elsewhere = parser.add_argument_group("a server that runs already, here or elsewhere; it is sent all that it can take")
    options.addresses(elsewhere, "one of the benchmark's own, with every variant and two baselines")
    options.connection(elsewhere)


def report_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)


def compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", type=Path, help="a run's directory, for example runs/a")
    parser.add_argument("b", type=Path, help="another's, of the same corpus")


def status_options(parser: argparse.ArgumentParser) -> None:
    options.repository(parser)
    parser.add_argument("--repair", action="store_true", help="first make the server serve the active version, and nothing else")


def rollback_options(parser: argparse.ArgumentParser) -> None:
    options.repository(parser)


def publish_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    options.repository(parser)


def promote_options(parser: argparse.ArgumentParser) -> None:
    options.repository(parser)
    parser.add_argument("--version", type=int, help="default: the newest, unless it was rolled back")
    parser.add_argument(
        "--p99-limit", type=float, default=1.25, help="times the served version's p99; refused when beyond it for certain"
    )
    parser.add_argument("--pairs", type=int, default=300, help="questions to both versions of each model, to compare p99 on")
    parser.add_argument(
        "--accept-loss", type=options.share, default=0.0, help="accuracy that the version may lose, as 0.02; default: none"
    )
    parser.add_argument(
        "--accept-changes",
        type=options.share,
        default=MOST_CHANGED,
        help="share of the answers that it may change; default: %(default)s",
    )
    parser.add_argument("--reason", default="", help="why it may, for the audit; needed for more than the defaults")
