from __future__ import annotations

import torch

from corecur.data.batches import Batch
from corecur.learners.tagger_inputs import SpellOut, TaggerPreprocess, doubts, fit_tagger_inputs, outline

SENTENCES = [["The", "cat", "sat", "in", "2019"], ["the", "dog"], ["a", "cat"]]


def test_words_without_case_and_digits_characters_with_them() -> None:
    inputs = fit_tagger_inputs(SENTENCES)
    assert inputs.numbers([["THE", "2020", "cow"]]).flat.tolist() == [
        inputs.words.encode(["the"])[0], inputs.words.encode(["0000"])[0], 1
    ]  # fmt: skip
    rows, table = inputs.spelled([["The", "the", "The"]])
    assert rows.flat.tolist() == [1, 2, 1] and not table[0].any()
    assert inputs.letters.decode(table[1]) == ["T", "h", "e"] and inputs.letters.decode(table[2]) == ["t", "h", "e"]


def test_outlines_that_two_words_have_are_known() -> None:
    inputs = fit_tagger_inputs(SENTENCES)
    assert inputs.outlines is not None and inputs.outlines.tokens == ("x",)  # "The" and "2019" stand alone
    (found,) = inputs.outlined([["dog", "Dog", "DOG"], ["a"]])
    assert found.flat.tolist() == [2, 1, 1, 2] and found.lengths.tolist() == [3, 1]
    without = fit_tagger_inputs(SENTENCES, outlines=False)
    assert without.outlined([["dog"]]) == () and list(without.sizes) == ["words", "characters"]


def test_an_outline_is_short() -> None:
    assert outline("Aa1!" * 1000) == "Xx0!Xx0!" and outline("") == "" and outline("漢字\n\n") == "x\n"


def test_of_a_long_word_both_ends_stay() -> None:
    inputs = TaggerPreprocess(**(fit_tagger_inputs([["abcdefghij"]]).model_dump() | {"longest_word": 5}))
    _, table = inputs.spelled([["abcdefghij", "abc"]])
    assert "".join(inputs.letters.decode(table[1])) == "abcij" and "".join(inputs.letters.decode(table[2])) == "abc"


def test_rare_words_are_doubted_by_their_counts() -> None:
    inputs = fit_tagger_inputs(SENTENCES)
    shares = doubts(SENTENCES, inputs.words, strength=1.0)
    assert shares[inputs.words.encode(["cat"])[0]] == 1 / 3 and shares[inputs.words.encode(["dog"])[0]] == 1 / 2
    rows, table = inputs.spelled([["cat"] * 3000])
    words = inputs.numbers([["cat"] * 3000])
    batch = Batch((words.padded()[0], rows.padded()[0]), None, None, torch.tensor([0]))
    given = SpellOut(table, doubt=shares, seed=3)(batch, 0)
    more = SpellOut(table)(batch._replace(inputs=(*batch.inputs, batch.inputs[0])), 0).inputs
    assert len(more) == 3 and more[2] is batch.inputs[0]
    unknown = float((given.inputs[0] == 1).double().mean())
    assert abs(unknown - 1 / 3) < 0.05
    again, other = (SpellOut(table, doubt=shares, seed=3)(batch, epoch).inputs[0] for epoch in (0, 1))
    assert torch.equal(given.inputs[0], again) and not torch.equal(again, other)
    assert torch.equal(SpellOut(table)(batch, 0).inputs[0], batch.inputs[0])
