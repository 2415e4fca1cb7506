from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corecur.engine.muon import MuonOptimizer
from corecur.errors import ConfigError
from corecur.learners.image_recipe import (
    ImageRecipe,
    batch_size_for,
    check_settings,
    choose_recipe,
    default_epochs,
    is_handed,
)

SHAPES = [(1, 1, 1), (1, 1, 3), (4, 4, 1), (8, 8, 1), (28, 28, 1), (32, 32, 3), (96, 96, 3), (500, 20, 3), (20, 500, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("classes", [2, 1000])
@pytest.mark.parametrize("samples", [10, 60_000])
def test_a_recipe_and_a_network_for_every_size(shape: tuple[int, int, int], classes: int, samples: int) -> None:
    recipe = choose_recipe(samples=samples, shape=shape, classes=[f"class {k}" for k in range(classes)])
    assert 1 <= recipe.batch_size <= samples and recipe.epochs >= 1
    assert recipe.crop < min(shape[:2]) or recipe.crop <= 1
    with torch.device("meta"):
        network = recipe.build_network(shape, classes)
    assert network.output_symbols[0].shape == (None, classes)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 3), (60, 7, 3)], ids=str)
def test_such_a_network_answers(shape: tuple[int, int, int]) -> None:
    recipe = choose_recipe(samples=10, shape=shape, classes=["a", "b"])
    network = recipe.build_network(shape, 2).eval()
    answers = network(torch.rand(3, *shape))
    torch.testing.assert_close(answers.sum(1), torch.ones(3))


def test_colour_pictures_are_mirrored_unless_the_classes_say_no() -> None:
    shape = (32, 32, 3)
    assert choose_recipe(samples=1000, shape=shape, classes=["cat", "dog"]).flip == "horizontal"
    assert choose_recipe(samples=1000, shape=shape, classes=["0", "10"]).flip == "none"
    assert choose_recipe(samples=1000, shape=(32, 32, 1), classes=["cat", "dog"]).flip == "none"
    assert is_handed(["Left", "Straight"]) and is_handed(["a", "b"]) and not is_handed(["plane", "bird"])


def test_settings_take_the_place_of_the_recipe() -> None:
    recipe = choose_recipe(
        samples=1000, shape=(8, 8, 1), classes=["a", "b"], overrides={"epochs": 3, "rotate": "5", "widths": ("8", "16")}
    )
    assert recipe.epochs == 3 and recipe.rotate == 5.0 and recipe.widths == (8, 16)
    assert recipe.augmentation.rotate == 5.0


@given(st.integers(1, 10**6), st.floats(1, 200))
def test_batches_are_powers_of_two_or_everything(samples: int, epochs: float) -> None:
    batch = batch_size_for(samples, epochs)
    assert batch == samples <= 16 or (batch <= 512 and batch & (batch - 1) == 0 and batch <= samples)


@given(st.integers(1, 10**6))
def test_more_samples_need_fewer_epochs(samples: int) -> None:
    assert 4 <= default_epochs(samples * 2) <= default_epochs(samples) <= 100


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epoch": 3}, "did you mean 'epochs'?"),
        ({"labelsmoothing": 0.1}, "did you mean 'label_smoothing'?"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"epochs": "many"}, "'many'"),
        ({"mixup": -1}, "greater than or equal to 0"),
        ({"flip": "diagonal"}, "'both'"),
        ({"widths": ()}, "'widths'"),
        ({"widths": ("8", "wide")}, "'widths'"),
        ({"model": "resnet"}, "blocks"),
        ({"learning_rate": float("nan")}, "'learning_rate'"),
    ],
)
def test_wrong_settings(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_settings(settings)
    assert said in str(refused.value)


def test_the_optimiser_moves_every_weight_once() -> None:
    for name in ("muon", "sgd", "adamw"):
        recipe = ImageRecipe(optimizer=name, widths=(8, 16), pools=1)
        network = recipe.build_network((8, 8, 1), 3)
        optimizer = recipe.optimizer_for(network)
        moved = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert sorted(moved) == sorted(id(p) for p in network.parameters() if p.requires_grad)
        assert isinstance(optimizer, MuonOptimizer) == (name == "muon")
