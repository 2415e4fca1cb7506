from __future__ import annotations

import pytest
import torch

from corecur.errors import ConfigError
from corecur.learners.text_classifier import TextClassifier
from corecur.learners.text_networks import build_text_network
from corecur.learners.text_recipe import TextRecipe, choose_text_recipe

SHORT = ["a good film indeed .", "a bad play it was ."] * 50


def test_few_texts_are_read_more_often_in_smaller_batches() -> None:
    epochs = [choose_text_recipe(SHORT * times).epochs for times in (1, 10, 100, 1000)]
    assert epochs == sorted(epochs, reverse=True) and epochs[0] == 30 and epochs[-1] == 3
    batches = [choose_text_recipe(SHORT * times).batch_size for times in (1, 15, 100)]
    assert batches == [16, 32, 64]


def test_long_texts_are_pooled_and_vote_with_more_caution() -> None:
    short, long = choose_text_recipe(SHORT), choose_text_recipe([text * 200 for text in SHORT])
    assert (short.pool, short.vote_texts) == (1, 1)
    assert long.pool > 4 and long.vote_texts == 3 and long.vote_dropout > short.vote_dropout
    given = choose_text_recipe([text * 200 for text in SHORT], overrides={"pool": 2, "epochs": "4"})
    assert (given.pool, given.epochs) == (2, 4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "grru"}, "did you mean 'gru'"),
        ({"tokens": "wurds"}, "did you mean 'words'"),
        ({"epochs": 0}, "'epochs' is wrong"),
        ({"word_dropout": 1.5}, "'word_dropout' is wrong"),
        ({"wordropout": 0.5}, "did you mean 'word_dropout'"),
        ({"windows": ()}, "'windows' is wrong"),
    ],
)
def test_wrong_settings_are_named_before_any_work(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TextClassifier(**settings)


@pytest.mark.parametrize("tokens", ["words", "characters", "chinese-characters", "bpe"])
def test_every_kind_of_token_can_be_asked_for(tokens: str) -> None:
    preprocess = TextRecipe(tokens=tokens, longest=50).prepare(SHORT)
    assert preprocess.preparation.tokenizer.kind == tokens
    assert len(preprocess.preparation.tokens(["a good play"])[0]) >= 3


def test_case_is_kept_where_asked() -> None:
    assert "Good" in TextRecipe(lower=False).prepare(["Good film", "Good play"]).preparation.vocabulary
    assert "good" in TextRecipe().prepare(["Good film", "Good play"]).preparation.vocabulary


def test_votes_move_faster_than_the_rest() -> None:
    recipe = TextRecipe(units=4, embedding=4)
    network = build_text_network({"words": 9, "terms": 5}, 2, recipe, votes=torch.zeros(5, 2)).learning
    optimizer = recipe.optimizer_for(network)
    first, second = optimizer.param_groups
    assert second["lr"] == 3 * first["lr"] == 3 * recipe.learning_rate
    assert {p.shape for p in second["params"]} == {torch.Size([5, 2]), torch.Size([2])}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
