"""Search spaces: what is written, what is taken, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.errors import ConfigError
from corecur.learners.image_recipe import ImageRecipe
from corecur.learners.tasks import TASKS
from corecur.tuning.default_spaces import AIMS, SPACES, UNFIT
from corecur.tuning.search_space import Choice, Range, Space, grid_points, parse_space, read_space


def parsed(**wanted: Any) -> Space:
    return parse_space(wanted, ImageRecipe, defaults=SPACES["image-classification"])


def test_ranges_of_many_powers_are_logarithmic_and_those_of_whole_settings_whole() -> None:
    space = parsed(learning_rate="1e-4..1e-2", momentum="0.3..0.9", epochs="2..30", crop="0..4")
    assert space["learning_rate"] == Range(low=1e-4, high=1e-2, log=True)
    assert space["momentum"] == Range(low=0.3, high=0.9)
    assert space["epochs"] == Range(low=2, high=30, whole=True, log=True)
    assert space["crop"] == Range(low=0, high=4, whole=True)


def test_choices_have_the_type_of_the_setting() -> None:
    space = parsed(widths="8x16,16x32", optimizer="sgd,adamw", batch_size="32", test_time_views="true,false")
    assert space["widths"] == Choice(values=((8, 16), (16, 32)))
    assert space["optimizer"] == Choice(values=("sgd", "adamw"))
    assert space["batch_size"] == Choice(values=(32,))
    assert space["test_time_views"] == Choice(values=(True, False))


def test_a_name_alone_takes_the_usual_values() -> None:
    assert parsed(learning_rate=None)["learning_rate"] == Range(low=0.01, high=0.5, log=True)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "the search space is empty"),
        ({"learning_rat": "1..2"}, "did you mean 'learning_rate'"),
        ({"learning_rate": "1e-2..1e-4"}, "reversed"),
        ({"learning_rate": "0.1..0.1"}, "the same"),
        ({"learning_rate": "0.1..nothing"}, "is wrong"),
        ({"learning_rate": "-1..1"}, "is wrong"),
        ({"learning_rate": ""}, "no values"),
        ({"batch_size": []}, "no values"),
        ({"batch_size": "16,,32"}, "no values"),
        ({"optimizer": "adamw..sgd"}, "no number"),
        ({"optimizer": "adam"}, "is wrong"),
        ({"widths": None}, "no usual values"),
        ({"momentum": {"low": 0, "high": 0.9, "log": True}}, "no logarithmic scale"),
        ({"momentum": {"low": 0}}, "no range"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_what_to_do(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parsed(**wanted)


def test_a_setting_that_changes_the_question_is_refused() -> None:
    recipe = TASKS["forecasting"].learner.recipe_model
    with pytest.raises(ConfigError, match="changes what the validation measures"):
        parse_space({"horizon": "4,8"}, recipe, defaults=SPACES["forecasting"], unfit=UNFIT["forecasting"])


@pytest.mark.parametrize("task", list(TASKS))
def test_every_task_has_a_space_whose_first_setting_is_the_learning_rate(task: str) -> None:
    recipe = TASKS[task].learner.recipe_model
    space = parse_space(dict.fromkeys(SPACES[task]), recipe, defaults=SPACES[task])
    assert next(iter(space)) == "learning_rate"
    assert task in AIMS
    assert not set(space) & set(UNFIT.get(task, ()))
    assert set(UNFIT.get(task, ())) <= recipe.model_fields.keys()
    for name, kind in space.items():  # the ends are settings that the recipe takes
        for value in kind.points(2) if isinstance(kind, Range) else kind.values:
            recipe(**{name: value})


@given(st.floats(1e-6, 1.0), st.floats(1.5, 1e5), st.integers(2, 30), st.booleans())
def test_points_of_a_range_lie_in_it_rise_and_reach_both_ends(low: float, factor: float, count: int, log: bool) -> None:
    kind = Range(low=low, high=low * factor, log=log)
    points = kind.points(count)
    assert all(kind.holds(point) for point in points)
    assert points == sorted(points)
    assert math.isclose(points[0], low, rel_tol=1e-2) and math.isclose(points[-1], low * factor, rel_tol=1e-2)


@given(st.integers(0, 50), st.integers(1, 500), st.integers(2, 60))
def test_whole_points_come_once(low: int, more: int, count: int) -> None:
    points = Range(low=low, high=low + more, whole=True).points(count)
    assert len(points) == len(set(points)) and all(isinstance(point, int) for point in points)


def test_the_grid_has_every_combination_once() -> None:
    space: Space = {"a": Range(low=1, high=3, whole=True), "b": Choice(values=("x", "y")), "c": Choice(values=(1.0,))}
    points = grid_points(space, 3)
    assert len(points) == 6 == len({tuple(point.items()) for point in points})
    assert [point["a"] for point in points[:3]] == [1, 2, 3]  # the first setting changes fastest
    with pytest.raises(ConfigError, match="too many points"):
        grid_points({str(n): Range(low=0, high=1) for n in range(9)}, 5)


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_space_is_read_from_a_small_file(tmp_path: Path, suffix: str) -> None:
    wanted = {"learning_rate": "1e-3..1e-1", "widths": [[8, 16], [16, 32]], "momentum": {"low": 0.5, "high": 0.9}}
    lines = "learning_rate: 1e-3..1e-1\nwidths: [[8, 16], [16, 32]]\nmomentum: {low: 0.5, high: 0.9}\n"
    file = tmp_path / f"space.{suffix}"
    file.write_text(json.dumps(wanted) if suffix == "json" else lines)
    assert parsed(**read_space(file)) == parsed(
        learning_rate="1e-3..1e-1", widths="8x16,16x32", momentum="0.5..0.9"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"{}", "empty"),
        (b"- a\n- b", "no list of settings"),
        (b"a: [1", "no YAML"),
        (b"\xff\xfe\x00", "no YAML"),
        (b"!!python/object/apply:os.system ['true']", "no YAML"),
    ],
)
def test_a_file_that_is_no_space_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_space(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_space(tmp_path / "none.yaml")
