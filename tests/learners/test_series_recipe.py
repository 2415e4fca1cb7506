from __future__ import annotations

import pytest

from corecur.errors import ConfigError
from corecur.learners.series_recipe import SeriesRecipe, choose_series


@pytest.mark.parametrize("samples", [2, 5, 36, 270, 900, 7352, 100_000])
@pytest.mark.parametrize("steps", [1, 24, 150, 1460, 20_000])
def test_every_size_of_data_has_a_recipe(samples: int, steps: int) -> None:
    recipe = choose_series(samples=samples, steps=steps)
    assert recipe.batch_size <= samples
    assert recipe.epochs * max(1, samples // recipe.batch_size) >= 600
    assert steps / recipe.shrink <= 1024
    assert recipe.reach % 1 == 0 and 9 <= recipe.reach <= 39


def test_settings_given_stay() -> None:
    recipe = choose_series(samples=100, steps=3000, overrides={"epochs": 7, "shrink": 1, "model": "resnet", "reach": 5})
    assert (recipe.epochs, recipe.shrink, recipe.model, recipe.reach) == (7, 1, "resnet", 5)


def test_networks_are_joined() -> None:
    assert SeriesRecipe(model="fcn + lstm-fcn").networks == ("fcn", "lstm-fcn")
    with pytest.raises(ConfigError, match="did you mean"):
        choose_series(samples=10, steps=10, overrides={"model": "fcn+lstm-fnc"})


def test_names_of_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="filters"):
        choose_series(samples=10, steps=10, overrides={"filter": 8})
