from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from corecur.data.batches import Batch
from corecur.data.text.text_preparation import fit_preparation
from corecur.data.text.token_arrays import TokenArrays
from corecur.learners.text_inputs import (
    InSteps,
    TextPreprocess,
    each_once,
    fit_text_inputs,
    frequent_keys,
    opening_keys,
    pair_keys,
)

TEXTS = ["walking walked home again", "walked home", "talking talked", "home again home again"]

rows_of_tokens = st.lists(st.lists(st.integers(2, 6), max_size=6), min_size=1, max_size=5)


def fitted(**settings: object) -> TextPreprocess:
    return fit_text_inputs(fit_preparation(TEXTS), TEXTS, **settings)  # type: ignore[arg-type]


@given(rows_of_tokens)
@settings(max_examples=50, deadline=None)
def test_pairs_are_neighbours_within_a_text(rows: list[list[int]]) -> None:
    keys = pair_keys(TokenArrays.of(rows), 10).tolist()
    expected = []
    for row in rows:
        expected += [10 * a + b for a, b in zip(row, row[1:], strict=False)] + [-1] * bool(row)
    assert keys == expected
    texts = Counter(key for row in rows for key in {10 * a + b for a, b in zip(row, row[1:], strict=False)})
    often = sorted(key for key, count in texts.items() if count >= 2)
    words = TokenArrays.of(rows)
    assert list(frequent_keys(words, pair_keys(words, 10), min_texts=2, most=100)) == often
    few = frequent_keys(words, pair_keys(words, 10), min_texts=1, most=2)
    assert len(few) == min(2, len(texts))
    assert sum(texts[key] for key in few) == sum(count for _, count in texts.most_common(2))


@given(rows_of_tokens)
@settings(max_examples=50, deadline=None)
def test_openings_are_the_first_words_of_a_text(rows: list[list[int]]) -> None:
    keys = opening_keys(TokenArrays.of(rows), 10).tolist()
    expected = []
    for row in rows:
        expected += [int("".join(map(str, row[: place + 1]))) if place < 3 else -1 for place in range(len(row))]
    assert keys == expected


@given(rows_of_tokens)
@settings(max_examples=50, deadline=None)
def test_a_text_holds_a_token_once(rows: list[list[int]]) -> None:
    found = each_once(TokenArrays.of(rows), above=2, below=6)
    for number, row in enumerate(rows):
        kept = found.row(number).tolist()
        assert len(kept) == len(row)
        assert sorted(token for token in kept if token) == sorted({token for token in row if 2 < token < 6})


def test_what_the_network_is_told_of_each_token() -> None:
    preprocess = fitted(min_texts=2)
    vocabulary = preprocess.preparation.vocabulary
    inputs = preprocess.arrays([["home", "again", "home", "walks", "talking"]])
    words, beginnings, endings, terms, pairs = inputs
    assert list(preprocess.sizes) == ["words", "beginnings", "endings", "terms", "pairs"]  # two texts open differently
    assert words.flat.tolist() == [*vocabulary.encode(["home", "again", "home"]), 1, *vocabulary.encode(["talking"])]
    assert beginnings.flat[3] == preprocess.beginnings.encode(["walk"])[0] > 1  # a word never seen, known in part
    assert endings.flat[4] == preprocess.endings.encode(["ing"])[0] > 1
    assert terms.flat.tolist() == [*vocabulary.encode(["home", "again"]), 0, 0, 0]  # once, and in two texts or more
    assert preprocess.term(int(terms.flat[1])) == "again" and preprocess.term(int(pairs.flat[0])) == "home again"
    assert pairs.flat[0] >= preprocess.sizes["terms"] and pairs.flat[1:].tolist() == [0, 0, 0, 0]
    assert all(int(array.flat.max()) < size for array, size in zip((words, terms, pairs), (99, 99, 99), strict=True))


def test_what_the_network_is_told_of_the_first_words() -> None:
    preprocess = fitted(min_texts=1)
    words, *_, pairs, openings = preprocess.arrays([["home", "again", "walked", "again"], ["again", "home"], []])
    home, again = (preprocess.preparation.vocabulary.encode([word])[0] for word in ("home", "again"))
    first = preprocess.sizes["pairs"]
    assert first + len(preprocess.openings) == preprocess.sizes["openings"]
    assert preprocess.openings[openings.flat[0] - first] == home
    assert preprocess.openings[openings.flat[1] - first] == home * len(preprocess.preparation.vocabulary) + again
    assert openings.flat[2:].tolist() == [0, 0, 0, 0] and openings.lengths.tolist() == [4, 2, 0]  # no text begins so
    said = [preprocess.term(int(number)) for number in (openings.flat[0], openings.flat[1], pairs.flat[0])]
    assert said == ["home …", "home again …", "home again"]
    three = preprocess.openings.index(max(preprocess.openings))
    assert len(preprocess.term(first + three).split()) == 4


def test_parts_and_bags_can_be_left_out() -> None:
    assert list(fitted(parts=False, min_texts=1).sizes) == ["words", "terms", "pairs", "openings"]
    assert list(fitted(parts=False, min_texts=1, openings=False).sizes) == ["words", "terms", "pairs"]
    assert list(fitted(bags=False).sizes) == ["words", "beginnings", "endings"]
    assert list(fitted(parts=False, bags=False).sizes) == ["words"]
    assert "pairs" not in fitted(most_pairs=0).sizes
    assert "beginnings" not in fit_text_inputs(fit_preparation(["好 坏"]), ["好 坏"]).sizes


def test_long_texts_are_cut_in_the_middle() -> None:
    preparation = fit_preparation(["a b c d e f"], longest=4, tail=2)
    preprocess = fit_text_inputs(preparation, ["a b c d e f"], parts=False, bags=False)
    (words,) = preprocess.arrays([list("abcdef"), list("ab")])
    assert preparation.vocabulary.decode(words.row(0)) == preprocess.kept(list("abcdef")) == list("abef")
    assert preprocess.kept(list("ab")) == ["a", "b"]


def test_texts_without_tokens_have_rows_without_numbers() -> None:
    for array in fitted().arrays([[], ["home"], []]):
        assert array.lengths.tolist() == [0, 1, 0]


def test_a_saved_preprocessing_is_closed_and_checked() -> None:
    preprocess = fitted(min_texts=1)
    saved = preprocess.model_dump(mode="json")
    assert TextPreprocess.model_validate(saved) == preprocess
    of_keys = ({name: keys} for name in ("pairs", "openings") for keys in ([5, 5], [-1], [10**9]))
    for wrong in (*of_keys, {"terms": 10**6}, {"more": 1}, {"task": "x"}):
        with pytest.raises(ValidationError):
            TextPreprocess.model_validate(saved | wrong)


def test_forgotten_words_depend_on_seed_epoch_and_sample_alone() -> None:
    words, index = torch.randint(2, 50, (40, 30)), torch.arange(40)
    words[:, 25:] = 0
    forget = InSteps(1, 0.25, 7)
    whole, rest = forget(Batch((words, words), None, None, index), 3).inputs
    assert torch.equal(rest, words) and bool((whole[:, 25:] == 0).all())
    share = float((whole == 1).sum() / (words != 0).sum())
    assert 0.2 < share < 0.3
    assert torch.equal(forget(Batch(words[5:9], None, None, index[5:9]), 3).inputs, whole[5:9])
    assert not torch.equal(forget(Batch(words, None, None, index), 4).inputs, whole)
    assert torch.equal(InSteps(1, 0.0, 7)(Batch(words, None, None, index), 3).inputs, words)


def test_a_batch_has_whole_steps() -> None:
    words = torch.randint(2, 9, (3, 7))
    one, two = InSteps(4)(Batch((words, words)), 0).inputs
    assert one.shape == two.shape == (3, 8) and bool((one[:, 7] == 0).all()) and torch.equal(two[:, :7], words)
    assert InSteps(7)(Batch(words), 0).inputs is words
