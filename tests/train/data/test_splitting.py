from __future__ import annotations

import random

import pytest

from slipway.contract.readers import Row
from train.data.splitting import key, leaked_rows, parts_of_texts, sample, split_off, split_off_texts

LABELS = [0] * 50 + [1] * 20 + [2] * 2 + [3]


def test_a_sample_of_equal_classes_has_equal_shares() -> None:
    labels = [number % 4 for number in range(400)]
    chosen = [labels[row] for row in sample(labels, 100, seed=1)]
    assert [chosen.count(label) for label in range(4)] == [25, 25, 25, 25]


def test_the_same_seed_samples_the_same_rows() -> None:
    assert sample(LABELS, 50, seed=3) == sample(LABELS, 50, seed=3)


def test_sentences_are_sampled_too() -> None:
    assert len(set(sample([[0]] * 10, 4, seed=1))) == 4


def test_a_sample_has_rare_classes_as_rarely() -> None:
    labels = [int(number % 20 == 0) for number in range(1000)]
    chosen = [labels[row] for row in sample(labels, 100, seed=1)]
    assert (chosen.count(0), chosen.count(1)) == (95, 5)


def test_every_row_is_on_exactly_one_side() -> None:
    kept, held_out = split_off(LABELS, 0.1, seed=1)
    assert sorted(kept + held_out) == list(range(len(LABELS)))


def test_each_class_gives_its_share_and_the_last_row_of_a_class_stays() -> None:
    kept, held_out = split_off(LABELS, 0.1, seed=1)
    assert [sum(LABELS[row] == label for row in held_out) for label in range(4)] == [5, 2, 1, 0]
    assert {LABELS[row] for row in kept} == {0, 1, 2, 3}


def test_the_same_seed_holds_out_the_same_rows_and_another_one_others() -> None:
    assert split_off(LABELS, 0.2, seed=3) == split_off(LABELS, 0.2, seed=3)
    assert split_off(LABELS, 0.2, seed=3) != split_off(LABELS, 0.2, seed=4)


def test_a_share_of_zero_holds_out_nothing() -> None:
    assert split_off(LABELS, 0.0, seed=1) == (list(range(len(LABELS))), [])


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("seed", range(5))
def test_no_class_of_two_rows_or_more_is_missing_on_either_side(share: float, seed: int) -> None:
    for side in split_off(LABELS, share, seed):
        assert {LABELS[row] for row in side} >= {0, 1, 2}


@pytest.mark.parametrize("seed", range(20))
def test_no_tag_leaves_the_kept_sentences(seed: int) -> None:
    source = random.Random(seed)
    tags = [[0, *source.sample(range(1, 12), source.randint(0, 4))] for _ in range(30)]
    kept, held_out = split_off(tags, 0.3, seed)
    assert held_out
    assert {tag for row in kept for tag in tags[row]} == {tag for sentence in tags for tag in sentence}


def test_sentences_with_a_rare_tag_are_on_both_sides() -> None:
    tags = [[0, 1] if row % 10 == 0 else [0] for row in range(100)]
    _, held_out = split_off(tags, 0.2, seed=1)
    assert [sum(tag in tags[row] for row in held_out) for tag in (0, 1)] == [20, 2]


def test_texts_are_equal_but_for_case_and_white_space() -> None:
    assert key("Oil  prices\tfall ") == key("oil prices fall")
    assert key(("Oil", "up")) != key(("Oilup", ""))


def test_rows_of_different_texts_are_split_as_their_labels_are() -> None:
    rows = [(f"text {number}", label) for number, label in enumerate(LABELS)]
    assert split_off_texts(rows, 0.2, seed=3) == split_off(LABELS, 0.2, seed=3)


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_equal_texts_are_on_one_side_and_no_class_is_missing_there(seed: int) -> None:
    rows = [(f"text {number % 25}", LABELS[number]) for number in range(len(LABELS))]
    kept, held_out = split_off_texts(rows, 0.3, seed)
    assert sorted(kept + held_out) == list(range(len(LABELS)))
    assert not {rows[row][0] for row in kept} & {rows[row][0] for row in held_out}
    assert {rows[row][1] for row in kept} == set(LABELS)


def test_rows_of_one_line_are_counted_as_leaks_each() -> None:
    rows = [Row(1, f"text {number}", "A") for number in range(3)]
    leaks = leaked_rows({"train": rows[:2], "validation": rows[1:], "test": rows})
    assert [(leak.row.text, leak.of) for leak in leaks["test"]] == [
        ("text 0", "train"),
        ("text 1", "train"),
        ("text 2", "validation"),
    ]
    assert [leak.row.text for leak in leaks["validation"]] == ["text 1"]


@pytest.mark.parametrize(
    ("text", "halves"),
    [
        ("Ein Satz über Öl", {"Ein Satz", "über Öl"}),
        ("東京大学は本郷にある", {"東京大学は", "本郷にある"}),
        (("kurz gesagt", "ein langer zweiter Text"), {("kurz", "ein langer"), ("gesagt", "zweiter Text")}),
        ("a", set()),
        ("\u200b x", set()),  # nothing that is read is left of the first half
        (("a", "b c"), set()),
    ],
)
def test_a_text_is_cut_between_two_words_or_at_its_middle(text: object, halves: set[object]) -> None:
    assert set(parts_of_texts([text], 9, seed=1)) == halves


def test_no_part_is_a_text_or_comes_twice() -> None:
    texts = ["gut so", "Gut", "so war es", "so war"]
    parts = parts_of_texts(texts, 12, seed=1)
    keys = {key(part) for part in parts}
    assert len(keys) == len(parts) > 3
    assert not keys & {key(text) for text in texts}


def test_no_part_is_one_of_the_others_and_as_many_are_made_all_the_same() -> None:
    texts = [(f"a{number}", f"b{number}") for number in range(20)]
    held_out = parts_of_texts(texts, 100, seed=1)
    parts = parts_of_texts(texts, 100, seed=1, others=held_out)
    assert len(parts) == 100
    assert not set(parts) & set(held_out)


def test_halves_come_first() -> None:
    assert set(parts_of_texts(["gut so", "Gut", "so war es", "so war"], 3, seed=1)) == {"so", "war", "es"}


@pytest.mark.parametrize(
    ("texts", "crossed"),
    [
        (["Ja", "Nein"], {"Ja Nein", "Nein Ja"}),
        (["東京大学は本郷にある", "北海道大学札幌にある"], {"東京大学は札幌にある", "北海道大学本郷にある"}),
        ([("wer", "er"), ("was", "das")], {("wer", "das"), ("was", "er")}),
    ],
)
def test_where_halves_do_not_reach_those_of_two_texts_are_put_together(texts: list[object], crossed: set[object]) -> None:
    assert set(parts_of_texts(texts, 99, seed=1)) >= crossed


def test_600_short_texts_that_repeat_give_as_many_as_the_gate_takes() -> None:
    words = [f"wort{number}" for number in range(10)]
    texts = [f"{first} {second}" for first in words for second in words] * 6
    assert len(parts_of_texts([f"{text} {text[::-1]}" for text in texts], 1400, seed=1)) == 1400


def test_many_equal_words_come_to_an_end() -> None:
    assert parts_of_texts(["ja"] * 10_000, 9, seed=1) == []


def test_no_more_parts_are_made_than_are_wanted_and_a_seed_chooses_them() -> None:
    texts = [f"text {number} of many" for number in range(50)]
    chosen = [parts_of_texts(texts, 7, seed) for seed in (1, 1, 2)]
    assert [len(parts) for parts in chosen] == [7, 7, 7]
    assert chosen[0] == chosen[1] != chosen[2]
