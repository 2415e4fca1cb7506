from __future__ import annotations

from typing import Any

import pytest
import torch

from corecur.errors import ConfigError, DataError
from corecur.learners.generator_recipe import GeneratorRecipe, choose_generator, recipe_for_speed, with_probabilities

WORDS = "to be or not to be that is the question "


@pytest.mark.parametrize("characters", [16, 100, 1000, 30_000, 400_000, 6_000_000])
def test_every_size_of_text_gets_rows_that_fit(characters: int) -> None:
    text = (WORDS * (characters // len(WORDS) + 1))[:characters]
    recipe = choose_generator([text], overrides={})
    tokens = characters if recipe.level == "char" else characters // 5
    assert recipe.batch_size * 2 + recipe.bptt_steps <= tokens
    assert recipe.level == ("word" if characters >= 5_000_000 else "char")
    assert 1 <= recipe.epochs <= 60


def test_what_is_asked_for_is_kept() -> None:
    asked: dict[str, Any] = {"level": "bpe", "units": "96", "epochs": "7", "bptt_steps": "20", "dropout": 0.0}
    recipe = choose_generator([WORDS * 1000], overrides=asked)
    assert (recipe.level, recipe.units, recipe.epochs, recipe.bptt_steps, recipe.dropout) == ("bpe", 96, 7, 20, 0.0)
    assert recipe.vocabulary == 4000


def test_small_and_chinese_texts_have_settings_of_their_own() -> None:
    small, large = (choose_generator([WORDS * times], overrides={}) for times in (500, 30_000))
    assert small.units < large.units and small.epochs > large.epochs
    chinese = choose_generator(["床前明月光，疑是地上霜。" * 2000], overrides={})
    assert chinese.level == "char" and chinese.min_count == 2


def test_refusals() -> None:
    with pytest.raises(DataError, match="too short to learn from"):
        choose_generator(["abc"], overrides={})
    with pytest.raises(ConfigError, match="'level' is wrong"):
        choose_generator([WORDS], overrides={"level": "letters"})


@pytest.mark.parametrize(
    ("settings", "tied"),
    [({}, True), ({"embedding": 8}, True), ({"tie": False}, False), ({"layers": 2, "model": "gru"}, True)],
)
def test_networks_answer_with_probabilities(settings: dict[str, Any], tied: bool) -> None:
    network = GeneratorRecipe(**{"units": 8, "embedding": 6} | settings).build_network(11)
    tokens = torch.randint(0, 11, (2, 5))
    network.eval()
    logits, found = network(tokens), with_probabilities(network)(tokens)
    assert found.shape == (2, 5, 11)
    torch.testing.assert_close(found, logits.softmax(-1))
    of_vocabulary = [name for name, value in network.named_parameters() if value.dim() == 2 and 11 in value.shape]
    assert len(of_vocabulary) == (1 if tied else 2)


def test_dropout_has_one_pattern_for_all_steps() -> None:
    network = GeneratorRecipe(units=64, embedding=64, input_dropout=0.0, dropout=0.5).build_network(5)
    locked = next(m for name, m in network.named_modules() if type(m).__name__ == "SpatialDropout1D" and m.rate == 0.5)
    seen: list[torch.Tensor] = []
    locked.register_forward_hook(lambda _module, _args, output: seen.append(output))
    network.train()(torch.randint(0, 5, (3, 7)))
    zero = seen[0] == 0
    assert (zero == zero[:, :1]).all() and 0.3 < zero.float().mean() < 0.7 and not torch.equal(zero[0], zero[1])


def test_less_time_takes_fewer_units() -> None:
    recipe = GeneratorRecipe()
    units = [recipe_for_speed(recipe, {}, tokens=1_000_000, affordable=a).units for a in (1e7, 2e6, 2e5, 1.0)]
    assert units == sorted(units, reverse=True) and units[0] == 512 and units[-1] == 64
    assert recipe_for_speed(recipe, {"units": 512}, tokens=1_000_000, affordable=1.0).units == 512
