"""The options of the commands of export. Nothing heavy is imported here: `--help` reads this file
alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from slipway import options
from slipway.contract.variants import VARIANTS

OUTPUT_KINDS = ("logits", "probabilities", "log-probabilities", "sigmoid", "logit", "multi-label")


def import_savedmodel_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    parser.add_argument("--saved-model", type=Path, required=True, help="directory with saved_model.pb, or above one")
    parser.add_argument("--vocab", type=Path, help="vocab.txt, a word piece a line; default: the one beside the model")
    labels = "labels.txt, a label a line, in the order of the logits; default: the one beside the model, or config.json"
    parser.add_argument("--labels", type=Path, help=labels)
    parser.add_argument("--golden", type=Path, required=True, help="labelled rows: .csv, .tsv, .jsonl, .conll, .parquet, .arrow")
    options.columns(parser)
    parser.add_argument("--force", action="store_true", help="replace the finished bundle of RUN")
    parser.add_argument("--unlabelled", type=Path, help="more texts, without labels: .txt with one a line, .csv, .tsv, .jsonl")
    parser.add_argument("--max-seq-len", type=int, default=128, help="tokens after which a text is cut")
    found_out = parser.add_argument_group("what is found out, and may be given")
    given = argparse.BooleanOptionalAction
    found_out.add_argument("--lower-case", action=given, default=None, help="texts in lower case, as the model was trained")
    found_out.add_argument("--strip-accents", action=given, default=None, help="letters without their accents")
    found_out.add_argument("--added-tokens", metavar="A,B", help="word pieces that a text may hold as they are: [E1],[E2]")
    found_out.add_argument("--signature", metavar="NAME", help="the SavedModel's signature")
    found_out.add_argument("--inputs", metavar="ids=A,mask=B,types=C", help="the names of its inputs")
    found_out.add_argument("--output", metavar="NAME", help="the output of several")
    found_out.add_argument("--output-kind", choices=OUTPUT_KINDS, help="what its numbers mean")


def export_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    parser.add_argument("--variant", choices=list(VARIANTS), action="append", help="only this one; may be repeated")
    parser.add_argument("--compare-only", action="store_true", help="convert nothing: compare again what lies there")


def check_options(parser: argparse.ArgumentParser) -> None:
    options.run(parser)
    parser.add_argument("--rebuild", action="store_true", help="convert and compare everything again; as long as the export")
