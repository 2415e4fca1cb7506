from __future__ import annotations

import pytest
from pydantic import ValidationError

from corecur.data.text.cleaning import TextCleaning
from corecur.data.text.subword_tokenizer import train_subwords
from corecur.data.text.text_preparation import TextPreparation, fit_preparation, token_findings
from corecur.data.text.tokenizer import Tokenizer
from corecur.data.text.tokenizers import TOKENIZERS

TEXTS = ["A good film, isn't it?", "A dull one…", "很好看 very"]


@pytest.mark.parametrize("kind", list(TOKENIZERS))
def test_every_tokeniser_survives_json(kind: str) -> None:
    tokenizer: Tokenizer = train_subwords(TEXTS, size=300) if kind == "bpe" else TOKENIZERS[kind]()
    prepare = fit_preparation(TEXTS, tokenizer=tokenizer, cleaning=TextCleaning(lower=True), longest=9, tail=2)
    again = TextPreparation.model_validate_json(prepare.model_dump_json())
    assert again == prepare
    assert again(["a new film", ""]).flat.tolist() == prepare(["a new film", ""]).flat.tolist()
    assert prepare(TEXTS).unknown_share == 0
    assert int(prepare(TEXTS).lengths.max()) <= 9


def test_a_kind_in_a_file_chooses_among_the_known_ones() -> None:
    saved = fit_preparation(TEXTS).model_dump()
    with pytest.raises(ValidationError):
        TextPreparation.model_validate(saved | {"tokenizer": {"kind": "os.system"}})
    with pytest.raises(ValidationError):
        TextPreparation.model_validate(saved | {"more": 1})


def test_only_training_texts_count() -> None:
    prepare = fit_preparation(["a b b c"], min_count=2)
    assert prepare.vocabulary.tokens == ("b",)
    arrays = prepare(["x y", "", "b z b b b b b b b b"])
    assert list(map(str, token_findings(arrays, split="test", names=("p", "q", "r")))) == [
        "2 test texts have no known token (the first: p).",
        "25.0 % of the test tokens are not in the vocabulary.",
    ]
    assert token_findings(prepare(["b"]), split="test", names=("p",)) == []


def test_10_mb_without_a_space_are_one_token() -> None:
    assert len(fit_preparation(["x" * 10_000_000]).vocabulary) == 3
