from __future__ import annotations

import torch
from torch import nn

from corecur.learners.image_budget import multiply_adds, recipe_for_time, shape_of, trial_step
from corecur.learners.image_recipe import choose_recipe

IMAGES = torch.randint(0, 256, (600, 16, 16, 3), dtype=torch.uint8)
CLASSES = ("cat", "dog")


def default_work() -> int:
    return multiply_adds(choose_recipe(samples=600, shape=(16, 16, 3), classes=CLASSES), (16, 16, 3), 2)


def test_more_time_never_means_a_smaller_network_or_none_at_all() -> None:
    recipes = [recipe_for_time(IMAGES, CLASSES, s, speed=500.0, overrides={}) for s in (0.01, 1, 30, 600, 1e5)]
    work = [multiply_adds(recipe, (16, 16, 3), 2) for recipe in recipes]
    assert work == sorted(work) and all(recipe.epochs >= 1 for recipe in recipes)
    assert recipes[-1].epochs > recipes[0].epochs


def test_what_the_user_fixed_stays() -> None:
    recipe = recipe_for_time(IMAGES, CLASSES, 60.0, speed=500.0, overrides={"widths": (4, 8), "flip": "none"})
    assert recipe.widths == (4, 8) and recipe.flip == "none"


def test_with_hardly_any_time_it_is_the_articles_network_where_that_fits() -> None:
    tiny = IMAGES[:, :8, :8]
    assert recipe_for_time(IMAGES, CLASSES, 0.01, speed=500.0, overrides={}).model == "textbook"
    assert recipe_for_time(tiny, CLASSES, 0.01, speed=500.0, overrides={}).model == "blocks"
    asked = recipe_for_time(IMAGES, CLASSES, 0.01, speed=500.0, overrides={"learning_rate": 0.001})
    assert (asked.model, asked.learning_rate) == ("textbook", 0.001)


def test_multiply_adds_are_those_of_the_convolutions() -> None:
    recipe = choose_recipe(
        samples=600, shape=(8, 8, 1), classes=CLASSES, overrides={"widths": (4, 8), "pools": 1, "depth": 1}
    )
    network = recipe.build_network((8, 8, 1), 2)
    counted = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        counted += output[0, ..., 0].numel() * module.weight.numel()  # places × kernel

    for module in network.modules():
        if type(module).__name__ in ("Conv2D", "Dense"):
            module.register_forward_hook(count)
    network(torch.rand(1, 8, 8, 1))
    assert multiply_adds(recipe, (8, 8, 1), 2) == counted


def test_the_trial_changes_no_generator_of_the_training() -> None:
    recipe = choose_recipe(samples=600, shape=(16, 16, 3), classes=CLASSES, overrides={"widths": (4, 8)})
    step = trial_step(IMAGES, 2, recipe, device=torch.device("cpu"), precision=torch.float32)
    for _ in range(2):
        step()


def test_shapes() -> None:
    assert shape_of(IMAGES) == (16, 16, 3)
