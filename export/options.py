"""The options of the commands of export. Nothing heavy is imported here: `--help` reads this file
alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from slipway import options
from slipway.contract.variants import VARIANTS


def import_savedmodel_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    parser.add_argument("--saved-model", type=Path, required=True, help="directory with saved_model.pb")
    parser.add_argument("--vocab", type=Path, required=True, help="vocab.txt, a word piece a line")
    parser.add_argument("--labels", type=Path, required=True, help="labels.txt, a label a line, in the order of the logits")
    parser.add_argument("--golden", type=Path, required=True, help="labelled rows: .csv, .tsv, .jsonl, or .conll")
    parser.add_argument("--unlabelled", type=Path, help="more texts, without labels: .txt with one a line, .csv, .tsv, .jsonl")
    parser.add_argument("--max-seq-len", type=int, default=128, help="tokens after which a text is cut")


def export_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    parser.add_argument("--variant", choices=list(VARIANTS), action="append", help="only this one; may be repeated")
    parser.add_argument("--compare-only", action="store_true", help="convert nothing: compare again what lies there")


def check_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    parser.add_argument("--rebuild", action="store_true", help="convert and compare everything again; as long as the export")
