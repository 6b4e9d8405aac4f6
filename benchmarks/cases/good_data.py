"""The good answers to the cases of labelled data: what is read of them, or why they are refused.

They come from what the script beside each case wrote: how many rows, of which labels, and a row
that shows whether the right columns were read.
"""

from __future__ import annotations

from dataclasses import dataclass

from slipway.errors import CorpusError


@dataclass(frozen=True)
class Good:
    """A good answer to a corpus."""

    status: int
    parts: tuple[str, ...]  # each has to be in the answer
    never: str = ""  # this must not be
    fixed: Good | None = None  # to the command that the refusal proposes

    def matches(self, status: int, text: str) -> bool:
        return status == self.status and all(part in text for part in self.parts) and not (self.never and self.never in text)


def _read(task: str, labels: str, rows: int, *parts: str, never: str = "") -> Good:
    """Return the answer of `rows` in all splits, with all `labels` in their order."""
    return Good(0, (f"{task}, {len(labels.split(', '))} labels: {labels}; {rows} rows: ", *parts), never)


def _text(labels: str, rows: int, *parts: str, never: str = "") -> Good:
    return _read("single_text", labels, rows, *parts, never=never)


def _pair(labels: str, rows: int, *parts: str) -> Good:
    return _read("text_pair", labels, rows, *parts)


def _tags(labels: str, rows: int, *parts: str, never: str = "") -> Good:
    return _read("tagging", labels, rows, *parts, never=never)


def _refused(*parts: str, fixed: Good | None = None) -> Good:
    return Good(CorpusError.exit_code, parts, fixed=fixed)


_DEV = ", 20 validation, "  # and the unlabelled file is no split
_BOAT = "field water bread bread boat → 1"
_SNLI = "inside plays eats two eats red | sleeps outside runs a outside eats → "
_TWICE = "60 rows repeat a text of their split; equal texts are in one split"
_ONE_CLASS = "the test rows are all of"

CORPORA = {
    "d01-polarity/amazon": _text("1, 2", 150, "warm kind bo book great kind kind toy box → 2", ", 30 test"),
    "d01-polarity/dbpedia-without-classes": _text(
        ", ".join(map(str, range(1, 15))), 150, "coat toy kin box lamp bright lamp lovely great → 3", ", 30 test"
    ),
    "d01-polarity/kaggle-ag-news": _text("1, 2, 3, 4", 150, "book bright  toy lamp box bright great warm → 4", ", 30 test"),
    "d01-polarity/sentiment140": _text("0, 4", 150, "\nlovely coat lovely toy coat bright → 4", ", 30 test"),
    "d01-polarity/yelp": _text("1, 2", 150, "\nbroken awful dull toy book lamp → 1", ", 30 test"),
    "d02-glue/cola": _text("0, 1", 110, "\nin wait a wait for slow small but film → 1", _DEV),
    "d02-glue/mrpc": _pair("0, 1", 110, '\n"but who a is | honest film who small wait at in small is but → 1', _DEV, "test.tsv"),
    "d02-glue/qnli": _pair(
        "entailment, not_entailment",
        110,
        '\npeople a who small who trains wait town? | "the who wait but town a but a but honest" , he said → entailment',
        _DEV,
        "test.tsv",
    ),
    "d02-glue/sst2": _text("0, 1", 110, "\ntown wait in a people  → 1", _DEV, "test.tsv"),
    "d03-snli/by-name.jsonl": _refused(
        "'-' 6 times", fixed=_pair("contradiction, entailment, neutral", 294, f"{_SNLI}contradiction")
    ),
    "d03-snli/by-number.csv": _refused("'-1' 6 times", fixed=_pair("0, 1, 2", 294, f"{_SNLI}2")),
    "d03-snli/empty.csv": _refused("''", fixed=_pair("contradiction, entailment, neutral", 294, f"{_SNLI}contradiction")),
    "d04-labels/array.json": _text("0, 1", 100, _BOAT),
    "d04-labels/array.jsonl": _text("0, 1", 100, _BOAT),
    "d04-labels/capital.csv": _refused("capital.csv:102", "3 columns", fixed=_text("0, 1", 101, _BOAT, "\n1.0 → 1")),
    # Which spelling is kept is Slipway's choice.
    "d04-labels/case.csv": _refused(
        *("'Positive' 25 times", "'positive' 25 times", "'NEGATIVE' 25 times", "'negative' 25 times"),
        fixed=Good(0, ("single_text, 2 labels: ", "; 100 rows: ")),
    ),
    "d04-labels/floats-and-ints.csv": _text("0, 1", 100, _BOAT),
    "d04-labels/floats.csv": _text("0, 1", 100, _BOAT),
    "d04-labels/floats.jsonl": _text("0, 1", 100, _BOAT),
    "d04-labels/index.csv": _text("0, 1", 100, f"\n{_BOAT}"),
    "d04-labels/jigsaw.csv": _refused("several labels", "toxic", "insult", fixed=_text("0, 1", 100, f"\n{_BOAT}")),
    "d04-labels/joined.csv": _refused("toxic|insult", fixed=_text("none, toxic, toxic|insult", 100)),
    "d04-labels/nan.csv": _refused("'nan' 5 times", fixed=_text("0, 1", 95, _BOAT)),
    "d04-labels/semicolon.csv": _text("0, 1", 100, f"\n{_BOAT}"),
    "d04-labels/true-false.jsonl": _text("false, true", 100, "field water bread bread boat → true"),
    "d06-duplicates/leak": _refused("20 of 20 test rows", "train.csv:2", fixed=_text("a, b", 60, ", 20 test")),
    "d06-duplicates/long-tail.csv": Good(0, ("single_text, 30 labels: c001, ", "; 400 rows: ", "no test row has the labels c")),
    "d06-duplicates/rare.csv": _text("a, b, c, d", 123, _TWICE, "no test row has the labels c"),
    "d06-duplicates/sorted.csv": _text("a, b", 120, _TWICE, never=_ONE_CLASS),
    "d06-duplicates/twice.csv": _text("a, b", 120, _TWICE, never=_ONE_CLASS),
    "d06-duplicates/two-labels.csv": _text("a, b", 120, "60 texts come with more than one label"),
    "d07-conll/blank-tag": _refused("an empty tag", fixed=_tags("B-X, O", 60, "\nmarket/O went/O Peter/B-X ")),
    "d07-conll/comments": _tags("B-X, O", 60, never="sent_id"),
    "d07-conll/conllu": _refused("CoNLL-U", fixed=_tags("Entity=X, _", 60, "Peter/Entity=X the/_ ", never="sent_id")),
    "d07-conll/germeval": _refused("GermEval", fixed=_tags("B-X, O", 60, "fish/O the/O ", never="wiki")),
    "d07-conll/iob1": _tags("I-X, O", 60, never="DOCSTART"),
    "d07-conll/iob2-docstart-without-empty-line": _tags("B-X, I-X, O", 120, never="DOCSTART"),
    "d07-conll/latin-1": _refused("windows-1252", "'Köln B-X'", fixed=_tags("B-X, O", 60, "\nKöln/B-X Köln/B-X with/O ")),
    "d07-conll/multiconer": _tags("B-X, O", 60, "\nOslo/B-X fish/O ", never="domain"),
    "d07-conll/no-break-space-in-word": _tags("B-X, O", 60, "\n10\u00a0000/O Oslo/B-X bread/O "),
    "d07-conll/no-break-space-word": _refused(r"'\xa0'", "train.conll:1"),
    "d07-conll/no-sentence-breaks": _refused("one sentence of 700 words"),
    "d07-conll/tab-docstart": _tags("B-X, O", 60, never="DOCSTART"),
    "d07-conll/tagged-first": _refused("the tag comes first", fixed=_tags("B-X, O", 60, "\nthe/O Peter/B-X with/O ")),
    "d07-conll/trailing-space": _tags("B-X, O", 60, "\nand/O market/O and/O "),
    "d07-conll/two-spaces": _tags("B-X, O", 60, "\nfish/O with/O to/O "),
    "d07-conll/weibo": _refused(
        "its place in its word", "'北0'", fixed=_tags("B-LOC.NAM, O", 60, "北/B-LOC.NAM 京/B-LOC.NAM 上/O")
    ),
    "d07-conll/wnut": _tags("B-X, O", 60, "\nthe/O Oslo/B-X Peter/B-X "),
    "d07-conll/zero-width-word": _tags("B-X, O", 60, "60 words have no character that is read"),
}
